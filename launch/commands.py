"""Other programs' commands, one after the other, and what is said where one of them fails."""

import os
import shlex
import signal
import subprocess
from collections.abc import Sequence

from reasoning.core.errors import InputError
from reasoning.report.console import say

Command = tuple[str, ...]

_SHOWN_LINES = 5


def run_in_order(commands: Sequence[Command], left: str) -> None:
    """Runs commands, each after the one before has succeeded, and shows them.

    Raises InputError at the first that fails or is missing, with its own last lines, and ``left``: what may exist by
    then and how to be rid of it. Ctrl-C in between says ``left`` too.
    """
    for number, command in enumerate(commands, start=1):
        say(f"$ {shlex.join(command)}")
        try:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, encoding="utf-8")
        except FileNotFoundError:
            raise InputError(f"{command[0]} is not on this machine's PATH; install it and launch again") from None
        except KeyboardInterrupt:
            say(f"stopped in step {number} of {len(commands)}. {left}")
            raise
        if done.returncode:
            lines = "\n".join(f"  {line}" for line in done.stderr.splitlines()[-_SHOWN_LINES:])
            raise InputError(
                f"step {number} of {len(commands)}, {shlex.join(command)}, ended with exit status {done.returncode}"
                f"{':' if lines else ''}\n{lines}\n{left}"
            )


def show(commands: Sequence[Command]) -> int:
    """Runs commands side by side with this terminal; the first exit status that isn't 0.

    Ctrl-C ends the commands and leaves what they show, a job's log, alone.
    """
    code = 0
    for command in commands:
        try:
            code = code or subprocess.run(command, stdin=subprocess.DEVNULL).returncode
        except FileNotFoundError:
            raise InputError(f"{command[0]} is not on this machine's PATH; install it and try again") from None
        except KeyboardInterrupt:
            return 128 + signal.SIGINT
    return code


def as_script(commands: Sequence[Command], told: str) -> str:
    """Commands as a shell script that stops at the first failure."""
    return "\n".join(["#!/bin/bash", f"# {told}", "set -euo pipefail", *(shlex.join(each) for each in commands), ""])


def answer(command: Command, folder: str | os.PathLike[str] = ".") -> tuple[int, str]:
    """The exit status of a command and all that it says, both streams."""
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, encoding="utf-8", stdin=subprocess.DEVNULL)
    except FileNotFoundError:
        raise InputError(f"{command[0]} is not on this machine's PATH; install it and launch again") from None
    return done.returncode, done.stdout + done.stderr
