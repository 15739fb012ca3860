"""Rounds of what isn't a run of the miniature: sweeps, conversions, packed corpora, runs of two processes or jobs."""

import signal
import time
from collections.abc import Callable
from pathlib import Path

from small_project import Project, new_project
from small_sweep import SweepProject

from faults.cases import Case
from faults.commands import attacked, command, left_over, note, records
from faults.conversions import CONVERSIONS
from faults.crews import CREWS
from faults.inside import Plan
from faults.pairs import PAIRS
from faults.round import Result
from faults.stores import lost_machine
from faults.world import Ended, World, ended

_EACH = "sweep.each = {'zero.rate': (0.9,), 'width': (2,)}\nsweep.seeds = 2\n"

_DOCUMENTS = 60_000
"""So many take seconds to pack."""

_ANSWER = 8.0
"""Within this packing is left, on a machine that others share."""


def _swept(world: World, case: Case, folder: Path) -> Result:
    """A sweep of two seeds and three arms is killed at a change, and goes on."""
    (folder / "project").mkdir()
    project, result = SweepProject(folder / "project", 1), Result("")
    project.write(_EACH)
    project.out = folder / "whole"
    log = folder / "changes.log"
    end = command(world, Plan(str(project.out), log=str(log)), *project.arguments())
    expected = {**project.tables(), **records(project.out)}
    events = log.read_text().splitlines()
    project.out = folder / "killed"
    attacked(result, world, case, events, project.out, project.arguments(), "SIGKILL")
    end = command(world, Plan(str(project.out)), *project.arguments())
    note(result, end)
    if end.code != 0 or {**project.tables(), **records(project.out)} != expected:
        result.broken.append(f"differs from an uninterrupted sweep (exit status {end.code})")
    result.broken += left_over(project.out)
    return result


def _packing(world: World, block: int) -> tuple[Project, tuple[str, ...]]:
    """An experiment with a large corpus, packed once without a fault, and the words that pack it."""
    more = ("--only", "corpus", f"documents.count={_DOCUMENTS}", f"corpus.block={block}")
    with world.home(f"packing-{block}") as home:
        project = new_project(home, 2)
        if not (home / "done").exists():
            end = command(world, Plan(str(project.out)), *project.arguments(*more))
            if end.code != 0:
                raise RuntimeError(f"packing failed without a fault: {end.error[-3000:]}")
            (home / "done").touch()
    return project, more


def _asked_while_packing(world: World, case: Case, folder: Path) -> Result:
    """SIGTERM comes while documents are packed, all at once or in blocks."""
    project, more = _packing(world, 5000 * (case.number % 2))
    out, result = folder / "out", Result(f"{'in blocks' if case.number % 2 else 'at once'}, at {case.moment:.0%}")
    words = ["reasoning", "run", str(project.file), "--out", str(out), *more]
    process = world.start(words)
    while process.poll() is None and not list(out.glob("artifacts/.corpus-*.partial/*/*array_record*")):
        time.sleep(0.005)
    time.sleep(2 * case.moment)
    begun = time.monotonic()
    process.send_signal(signal.SIGTERM)
    end, took = ended(process), time.monotonic() - begun
    _check_answer(result, end, took)
    end = ended(world.start(words))
    note(result, end)
    if end.code != 0 or records(out) != records(project.out):
        result.broken.append(f"differs from an untouched corpus (exit status {end.code})")
    result.broken += left_over(out)
    return result


def _check_answer(result: Result, end: Ended, took: float) -> None:
    note(result, end)
    result.met = end.code == 128 + signal.SIGTERM
    if end.code not in (0, 128 + signal.SIGTERM):
        result.broken.append(f"SIGTERM ended with {end.code}: {end.error[-300:]}")
    if result.met and "stopped by SIGTERM" not in end.error:
        result.broken.append("SIGTERM ended the run without a word")
    if took > _ANSWER:
        result.broken.append(f"SIGTERM was answered after {took:.1f} s")


JOBS: dict[str, Callable[[World, Case, Path], Result]] = {
    "kill in a sweep": _swept,
    "SIGTERM while data is packed": _asked_while_packing,
    "machine lost, with a copy in a store": lost_machine,
    **CONVERSIONS,
    **CREWS,
    **PAIRS,
}
"""What each fault does, by its name."""
