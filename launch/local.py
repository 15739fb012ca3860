"""Runs on this machine: one process, or several, found again by a record in the folder of their results."""

import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from launch.background import begin, end, log_of, remember, remember_end, state
from launch.commands import show
from reasoning.core.errors import InputError
from reasoning.report.console import say

_RECORD, _LOG = "launch.json", "launch.log"
_PATIENCE = 120.0


def command_of(experiment: str) -> tuple[str, ...]:
    """What runs an experiment here; the cells of a sweep go one after the other and share what is the same."""
    path = Path(experiment)
    if not path.is_file():
        raise InputError(f"there is no experiment file {experiment}")
    sweeps = re.search(r"^\s*sweep\s*=", path.read_text(encoding="utf-8"), re.MULTILINE)
    return (sys.executable, "-m", "reasoning", "sweep" if sweeps else "run")


def out_of(experiment: str, words: Sequence[str]) -> Path:
    """The folder of the results, as ``reasoning run`` takes it from the words behind the experiment's file."""
    for word, following in zip(words, [*words[1:], ""], strict=True):
        if word == "--out" and following:
            return Path(following)
        if word.startswith("--out="):
            return Path(word.removeprefix("--out="))
    return Path("runs") / Path(experiment).stem


def become(command: Sequence[str], out: Path | None) -> NoReturn:
    """Become ``command``: its output, signals and exit code are the caller's own, with no parent in between.

    What ``status`` and ``stop`` need to know lies in ``out``; None: nowhere.
    """
    if out is not None:
        _note(out)
    sys.stdout.flush()
    sys.stderr.flush()
    os.execvp(command[0], list(command))


def noted(out: Path, work: Callable[[], int]) -> int:
    """Does the work in this process, recorded in ``out`` from its beginning to its end; its exit status."""
    _note(out)
    code = work()
    remember_end(out / _RECORD, code)
    return code


def detach(command: Sequence[str], out: Path) -> int:
    """Starts a launch of its own behind this terminal; 0."""
    record = out / _RECORD
    if record.is_file() and state(record).startswith("running"):
        raise InputError(f"a run in {out} is {state(record)}; wait for it, or stop it, or give another --out")
    out.mkdir(parents=True, exist_ok=True)
    begin(record, out / _LOG, command)
    say(f"{state(record)}; {out / _LOG} has what it says; 'python -m launch {command[3]} status | logs | stop {out}'")
    return 0


def act(action: str, out: Path) -> int:
    """``status``, ``logs`` or ``stop`` of a run on this machine; the exit status."""
    record = out / _RECORD
    if not record.is_file():
        raise InputError(f"nothing was launched in {out} on this machine; give the folder of the run's results")
    if action == "status":
        say(f"{out}: {state(record)}")
        return 0
    if action == "logs":
        return _follow(record)
    if end(record, _PATIENCE, group=False):
        say(f"{out}: {state(record)}; the same launch goes on")
        return 0
    raise InputError(f"{out}: still {state(record)} after {_PATIENCE:.0f} s; it may be saving, or hang; ask again")


def _follow(record: Path) -> int:
    log = log_of(record)
    if log is None:
        raise InputError("that run writes to the terminal that started it; --detach gives a run a log")
    if not state(record).startswith("running"):
        return show(("cat", log))
    return show(("tail", "--lines=+1", "--follow=name", log))


def _note(out: Path) -> None:
    """Records this process, also as what it is about to become; the log is the one that it was begun with."""
    log = out / _LOG
    into_log = log.is_file() and os.path.samestat(os.fstat(sys.stdout.fileno()), log.stat())
    remember(out / _RECORD, os.getpid(), log if into_log else None)
