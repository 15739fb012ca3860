"""The command line: finds the command, and turns what went wrong into one line and an exit status."""

import difflib
import importlib
import os
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass

from reasoning.cli.distributed import COORDINATOR, abandon
from reasoning.core.errors import InputError


@dataclass(frozen=True)
class Command:
    """A command: the module whose ``main(arguments) -> exit status`` it is, loaded when it is asked for."""

    module: str
    summary: str


COMMANDS = {
    "run": Command("reasoning.cli.run", "run an experiment file, or go on where it was cut off"),
    "report": Command("reasoning.cli.report_command", "show what a run has found so far"),
    "doctor": Command("reasoning.cli.doctor_command", "check this machine and its libraries"),
}

USAGE = """\
usage: reasoning COMMAND …

Turns a base language model into a reasoning model. Start with
  reasoning run experiments/r1_zero_tiny.gin

commands ('reasoning COMMAND --help' says more):
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns the exit status.

    0: done. 1: an error of the program's own, with traceback. 2: bad input, with one clear message. 128 + signal: asked
    to stop, and work was saved.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or words[0] in ("-h", "--help", "help"):
        print(USAGE + "\n".join(f"  {name:8} {command.summary}" for name, command in COMMANDS.items()))
        return 0
    try:
        return importlib.import_module(_command(words[0]).module).main(words[1:])
    except InputError as error:
        print("\n".join([f"error: {error}", *getattr(error, "__notes__", ())]), file=sys.stderr)
        abandon(2)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        abandon(130)
        return 130
    except Exception:
        if COORDINATOR in os.environ:
            traceback.print_exc()
            abandon(1)
        raise


def _command(name: str) -> Command:
    if name not in COMMANDS:
        near = difflib.get_close_matches(name, COMMANDS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(COMMANDS)}"
        raise InputError(f"there is no command {name!r}; {hint}")
    return COMMANDS[name]
