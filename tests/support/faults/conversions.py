"""Rounds of models that are brought in and exported: killed, asked to stop, or done twice at once."""

import signal
from collections.abc import Callable
from pathlib import Path

import gguf_file

from faults.cases import Case
from faults.commands import attacked, command, left_over, note
from faults.inside import Plan
from faults.round import Result
from faults.world import World, ended

_REFUSAL = 2


def _words(world: World, kind: str, out: Path) -> list[str]:
    """The command that brings in, or exports, a tiny Llama."""
    return ["convert", kind, str(world.folder / f"convert-{kind}" / "model.gguf"), str(out)]


def _untouched(world: World, kind: str) -> tuple[Path, list[str]]:
    """The folder that it makes: what the command leaves, and what it changes on the way, in order."""
    with world.home(f"convert-{kind}") as home:
        log, watched = home / "changes.log", home / "out"
        if not log.exists():
            gguf_file.write(home / "model.gguf")
            watched.mkdir(exist_ok=True)
            told = home / ".changes"
            end = command(world, Plan(str(watched), log=str(told)), *_words(world, kind, watched / "model"))
            if end.code != 0:
                raise RuntimeError(f"an untouched conversion failed: {end.error[-3000:]}")
            told.rename(log)
        return watched, log.read_text().splitlines()


def _attacked(kind: str, fault: str) -> Callable[[World, Case, Path], Result]:
    """The command gets a signal; the folder is whole or absent, and the same command makes it."""

    def play(world: World, case: Case, folder: Path) -> Result:
        expected, events = _untouched(world, kind)
        result, watched = Result(""), folder / "out"
        watched.mkdir()
        words = _words(world, kind, watched / "model")
        end = attacked(result, world, case, events, watched, words, fault)
        if fault == "SIGTERM" and result.met:
            result.broken += left_over(watched)
            if "stopped by SIGTERM" not in end.error:
                result.broken.append("SIGTERM ended it without a word")
        made = (watched / "model").exists()
        end = command(world, Plan(str(watched)), *words)
        note(result, end)
        # A folder that had its name before the signal came is finished, and isn't written again.
        if end.code != (_REFUSAL if made else 0) or (made and "exists already" not in end.error):
            result.broken.append(f"the same command ended with {end.code}: {end.error[-300:]}")
        _compare(result, world, expected, watched)
        return result

    return play


def _at_once(world: World, case: Case, folder: Path) -> Result:
    """Two commands write one folder: it is one's, whole, and the other is told."""
    kind = ("gguf", "export")[case.number % 2]
    expected, _ = _untouched(world, kind)
    result, watched = Result(kind), folder / "out"
    watched.mkdir()
    words = ["reasoning", *_words(world, kind, watched / "model")]
    both = [world.start(words) for _ in range(2)]
    ends = [ended(process) for process in both]
    for end in ends:
        note(result, end)
    codes = sorted(-1 if end.code is None else end.code for end in ends)
    if codes != [0, _REFUSAL] or not any("exists already" in end.error for end in ends):
        result.broken.append(f"two at once ended with {codes}: {ends[0].error[-200:]} {ends[1].error[-200:]}")
    _compare(result, world, expected, watched)
    return result


def _compare(result: Result, world: World, expected: Path, watched: Path) -> None:
    result.broken += [f"differs: {name}" for name in world.unlike(expected, watched)[:5]]
    result.broken += left_over(watched)


CONVERSIONS: dict[str, Callable[[World, Case, Path], Result]] = {
    "kill in a conversion": _attacked("gguf", signal.SIGKILL.name),
    "kill in an export": _attacked("export", signal.SIGKILL.name),
    "SIGTERM in a conversion": _attacked("gguf", signal.SIGTERM.name),
    "SIGTERM in an export": _attacked("export", signal.SIGTERM.name),
    "two conversions at once": _at_once,
}
"""What each fault of a conversion or an export does."""
