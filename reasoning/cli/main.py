"""The command line: finds the command, and turns what went wrong into one line and an exit status."""

import difflib
import gc
import importlib
import io
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from types import FrameType, ModuleType
from typing import NoReturn

from reasoning.cli.distributed import COORDINATOR, abandon
from reasoning.core.errors import DISK_ERRORS, InputError, is_of_memory
from reasoning.core.signals import send_again
from reasoning.core.text import abridged
from reasoning.report.console import complain, say

_SHOWN_CHARACTERS = 300

COMMANDS = {
    "run": ("run an experiment file, or go on where it was cut off", "experiments/r1_tiny.gin clipped.clip_high=0.2"),
    "sweep": (
        "run an experiment with settings changed, over seeds, and compare",
        "experiments/sweeps/r1_zero_clip.gin",
    ),
    "plan": ("say what a run takes on a pod, before there is one", "experiments/r1_tiny.gin --on v5e-4"),
    "report": ("show what a run has found so far", "runs/r1_tiny"),
    "show": ("read what a stage sampled and how it was rewarded", "runs/r1_tiny/zero --worst"),
    "view": ("look into a run in the browser, down to the tokens", "runs/r1_tiny"),
    "scaling": ("show which way of answering is worth its tokens", "runs/r1_tiny/exam"),
    "regrade": (
        "grade stored replies anew, and see what changes",
        "runs/r1_tiny/zero --rewards rewards.accuracy.lenient",
    ),
    "watch": ("look on while a run goes", "runs/r1_tiny"),
    "replay": ("do a step again, such as the one that ended a run", "runs/r1_tiny"),
    "ask": ("put a question to a model", 'runs/r1_tiny/zero "3+4-5+1?" --vote 16'),
    "numerics": ("check that what samples is what learns", "runs/r1_tiny zero"),
    "convert": ("bring in a pretrained model, or export one", "hf models/Qwen2.5-0.5B checkpoints/qwen2.5-0.5b"),
    "doctor": ("check this machine and its libraries", ""),
}
"""What each command is for, and what follows its name in an example.

``main(arguments) -> exit status`` of the module ``reasoning.cli.<command>`` does it, loaded when it is asked for.
"""

_USAGE = """\
usage: reasoning COMMAND …

Turns a base language model into a reasoning model, and shows its work. Begin with

  reasoning run experiments/r1_tiny.gin

It trains a tiny model through the whole DeepSeek-R1 workflow on two CPU cores, in minutes, and ends with a table. Stop
it whenever you like: the same command goes on, and ends with the same bits. What comes out lies in runs/r1_tiny: report
shows the numbers, show the samples behind them, and ask puts your own questions to its models. An experiment file names
stages (base, zero, exam, …) and their settings; change one behind the file's name, as in clipped.clip_high=0.2, and
only what depends on it is computed anew.

commands ('reasoning COMMAND --help' says more):
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns the exit status.

    0: done. 1: an error of the program's own, with traceback. 2: bad input, full disk or memory, in one clear message.
    128 + signal: asked to stop, and work was saved. As the program itself (without ``arguments``) it then ends the
    process, since a library's call that was left to itself (``core.signals``) may not survive Python's own end.
    """
    if arguments is None:
        _read_names_as_utf8()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # A terminal shows what it can, whatever its locale.
    code = _status(list(sys.argv[1:]), own=True) if arguments is None else _status(list(arguments), own=False)
    if arguments is None and code > 128 and COORDINATOR not in os.environ:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return code


def _read_names_as_utf8() -> None:
    """Begins the process anew in Python's UTF-8 mode where the locale would have names of files in another encoding.

    Experiment files and records are UTF-8, and what they name must be what the command line names. Only Python's start
    can choose this; what the terminal is given stays in its own encoding.
    """
    if sys.getfilesystemencoding() != "utf-8" and sys.executable:
        own = os.environ | {"PYTHONIOENCODING": f"{getattr(sys.stdout, 'encoding', None) or 'utf-8'}:replace"}
        os.execve(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]], own)


def _status(words: list[str], own: bool) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        lines = [
            f"  {name:8} {summary}" + (f"\n{'':11}reasoning {name} {example}" if example else "")
            for name, (summary, example) in COMMANDS.items()
        ]
        say(_USAGE + "\n".join(lines))
        return 0
    try:
        with _signals_raise():
            with _collected_later() if own else nullcontext():
                command = _command(words[0])
            return command.main(words[1:])
    except KeyboardInterrupt as interrupt:
        stopped = signal.SIGTERM in interrupt.args
        complain("stopped by SIGTERM" if stopped else "interrupted")
        code = 128 + (signal.SIGTERM if stopped else signal.SIGINT)
        abandon(code)
        return code
    except Exception as error:
        message = _message(error)
        if message is not None:
            # Notes of several lines are those of libraries, about their own frames.
            notes = [note for note in getattr(error, "__notes__", ()) if "\n" not in note]
            complain("\n".join([f"error: {message}", *notes]))
            abandon(2)
            return 2
        if COORDINATOR in os.environ:
            complain(traceback.format_exc())
            abandon(1)
        raise


@contextmanager
def _collected_later() -> Iterator[None]:
    """Within it nothing is searched for unused cycles, nor is what it leaves ever after.

    What imports make stays, and looking through it again and again is a fifth of a short command (docs/LOG.md).
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


@contextmanager
def _signals_raise() -> Iterator[None]:
    """Within it SIGTERM ends a command as Ctrl-C does, so that what is half made is cleared away.

    A job of several processes replaces the handler by JAX's own (``Preemption``).
    """
    usual = {signal.SIGTERM: signal.SIG_DFL, signal.SIGINT: signal.default_int_handler}
    in_main = threading.current_thread() is threading.main_thread()
    ours = {number: handler for number, handler in usual.items() if in_main and signal.getsignal(number) == handler}
    left = threading.Event()

    def interrupt(number: int, frame: FrameType | None) -> NoReturn:
        send_again(number, left.is_set)
        raise KeyboardInterrupt(number)

    for number in ours:
        signal.signal(number, interrupt)
    try:
        yield
    finally:
        left.set()
        for number, handler in ours.items():
            signal.signal(number, handler)


def _message(error: Exception) -> str | None:
    """What to tell the user where the fault isn't the program's: in the input, or in a disk or memory that is full."""
    if isinstance(error, InputError):
        return str(error)
    if isinstance(error, OSError) and error.errno in DISK_ERRORS:
        what = error.filename or "a file"
        return f"{what} can't be written: {error.strerror}; free space and run the same command again"
    if is_of_memory(error):
        reason = abridged(" ".join(str(error).split()), _SHOWN_CHARACTERS)
        return f"there is not enough memory ({reason}); make smaller what is held at once: a batch, a count, the model"
    return None


def _command(name: str) -> ModuleType:
    if name not in COMMANDS:
        near = difflib.get_close_matches(name, COMMANDS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(COMMANDS)}"
        raise InputError(f"there is no command {name!r}; {hint}")
    return importlib.import_module(f"reasoning.cli.{name}")
