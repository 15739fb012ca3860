"""Other programs' commands, one after the other, and what is said where one of them fails."""

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
            done = _ended(command, stderr=subprocess.PIPE)
        except KeyboardInterrupt:
            say(f"stopped in step {number} of {len(commands)}. {left}")
            raise
        if done.returncode:
            lines = "\n".join(f"  {line}" for line in done.stderr.splitlines()[-_SHOWN_LINES:])
            raise InputError(
                f"step {number} of {len(commands)}, {shlex.join(command)}, ended with exit status {done.returncode}"
                f"{':' if lines else ''}\n{lines}\n{left}"
            )


def show(command: Command) -> int:
    """Runs a command with this terminal; its exit status.

    Ctrl-C ends the command and leaves what it shows, a job's log, alone.
    """
    try:
        return _ended(command).returncode
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


def as_script(commands: Sequence[Command], told: str) -> str:
    """Commands as a shell script that stops at the first failure."""
    return "\n".join(["#!/bin/bash", f"# {told}", "set -euo pipefail", *(shlex.join(each) for each in commands), ""])


def answer(command: Command) -> tuple[int, str]:
    """The exit status of a command and all that it says, both streams."""
    done = _ended(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return done.returncode, done.stdout


def _ended(command: Command, stdout: int | None = None, stderr: int | None = None) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(command, stdin=subprocess.DEVNULL, encoding="utf-8", stdout=stdout, stderr=stderr)
    except FileNotFoundError:
        raise InputError(f"{command[0]} is not on this machine's PATH; install it and try again") from None
