"""Rounds of runs whose stages are done side by side: the command or one of its processes goes at any instant."""

import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

from outside import descendants
from small_project import Project, new_project

from faults.cases import Case
from faults.commands import left_over, note, records
from faults.processes import Process, outliving
from faults.round import REFUSAL, Result
from faults.world import PATIENCE, Ended, World, ended
from reasoning.core.errors import InputError
from reasoning.core.files import lock

_SIDES = """
other = base
other.batch = 4
last = zero
last.start = other
run.stages = (zero, last)
"""
"""After the corpus two stages can be done at the same time, twice in a row."""

_ANSWER = 60.0
"""Within this a command that is asked to stop has had all stages saved, and ended."""

Act = Callable[[Process, Case, Result, Path], None]


def _project(world: World) -> tuple[Project, float]:
    """The experiment of all these rounds, with an untouched run of it, and the seconds that one takes side by side."""
    with world.home("crew") as home:
        project, told = new_project(home, 2), home / "seconds"
        project.file.write_text(project.file.read_text() + _SIDES)
        if not told.exists():
            _untouched(world, project, project.out)  # compiles, too
            begun = time.monotonic()
            _untouched(world, project, home / "again", "--jobs", "2")
            if records(home / "again") != records(project.out):
                raise RuntimeError("side by side the uninterrupted run has other results")
            told.write_text(str(time.monotonic() - begun))
    return project, float(told.read_text())


def _untouched(world: World, project: Project, out: Path, *more: str) -> None:
    end = ended(_start(world, project, out, *more))
    if end.code != 0:
        raise RuntimeError(f"the uninterrupted run failed: {end.error[-3000:]}")


def _start(world: World, project: Project, out: Path, *more: str) -> Process:
    return world.start(["reasoning", "run", str(project.file), "--out", str(out), *more])


def _side_by_side(act: Act) -> Callable[[World, Case, Path], Result]:
    """A run with two jobs to which something happens, and which then goes on to the bits of an untouched one."""

    def play(world: World, case: Case, folder: Path) -> Result:
        (project, seconds), out = _project(world), folder / "out"
        result = Result(f"after {case.moment:.0%} of the run")
        process = _start(world, project, out, "--jobs", "2")
        result.met = not process.wait(case.moment * seconds)
        if result.met:
            act(process, case, result, out)
        else:
            ended(process)
        end = ended(_start(world, project, out, *(("--jobs", "2") if case.number % 2 else ())))
        note(result, end)
        if end.code != 0 or records(out) != records(project.out):
            result.broken.append(f"differs from an untouched run (exit status {end.code}: {end.error[-300:]})")
        result.broken += left_over(out)
        return result

    return play


def _command_killed(process: Process, case: Case, result: Result, out: Path) -> None:
    below = descendants(process.pid)
    process.kill()
    ended(process)
    if left := outliving(below):
        result.broken.append(f"outlive their command: {[below[number] for number in left]}")
        return
    try:
        if out.exists():
            with lock(out):
                pass
    except InputError as error:
        result.broken.append(f"nobody is left, and yet: {error}")


def _process_killed(process: Process, case: Case, result: Result, out: Path) -> None:
    """One of those that do stages, or of what starts them."""
    below = sorted(descendants(process.pid))
    if below:
        victim = below[int(case.place * len(below))]
        result.where += f", {below.index(victim) + 1} of {len(below)}"
        os.kill(victim, signal.SIGKILL)
    else:
        result.met = False
    end = _noted(process, result)
    if end.code == REFUSAL and not re.search(r"was killed by SIGKILL", end.error):
        result.broken.append(f"the process that was killed wasn't named: {end.error[-300:]}")
    if end.code not in (0, REFUSAL):
        result.broken.append(f"ended with {end.code}: {end.error[-300:]}")


def _asked(process: Process, case: Case, result: Result, out: Path) -> None:
    begun = time.monotonic()
    process.send_signal(signal.SIGTERM)
    end = _noted(process, result)
    # Until Python has begun a signal ends it as any other program.
    result.met = end.code in (128 + signal.SIGTERM, -signal.SIGTERM)
    if not result.met and end.code != 0:
        result.broken.append(f"SIGTERM ended with {end.code}: {end.error[-300:]}")
    if end.code == 128 + signal.SIGTERM and "stopped by SIGTERM" not in end.error:
        result.broken.append("SIGTERM ended the run without a word")
    if time.monotonic() - begun > _ANSWER:
        result.broken.append(f"SIGTERM was answered after {time.monotonic() - begun:.0f} s")


def _noted(process: Process, result: Result) -> Ended:
    end = ended(process, PATIENCE)
    note(result, end)
    return end


CREWS: dict[str, Callable[[World, Case, Path], Result]] = {
    "kill of a command with jobs": _side_by_side(_command_killed),
    "kill of one of its processes": _side_by_side(_process_killed),
    "SIGTERM to a command with jobs": _side_by_side(_asked),
}
"""What each fault of a run with ``--jobs 2`` does."""
