"""Rounds of runs of two processes: one, both or their launcher die, stand still, or are asked to stop."""

import os
import re
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from small_project import Project, new_project

from faults.cases import Case
from faults.commands import left_over, note, records
from faults.processes import Process, can_fork, outliving
from faults.round import Result
from faults.world import World, ended

_SOON = 30.0
"""Within this a dead or stopped worker is named."""

_ANSWER = 60.0
"""Within this two processes that are asked to stop have saved and ended."""

Act = Callable[[Process, Case, Result], None]


def _project(world: World) -> Project:
    """The experiment of all these rounds, and an untouched run of it."""
    with world.home("pair") as home:
        project = new_project(home, 2)
        if not (home / "done").exists():
            end = ended(_start(world, project, project.out))
            if end.code != 0:
                raise RuntimeError(f"the uninterrupted run of two processes failed: {end.error[-3000:]}")
            (home / "done").touch()
    return project


def _start(world: World, project: Project, out: Path) -> Process:
    words = ("multiprocess", "--processes", "2", "--devices", "1", str(project.file), "--out", str(out))
    anew = world.anew or not can_fork()
    return world.start(["launch" if anew else "faults.launched", *words, "run.cpu_devices=2"], anew=anew)


def _workers(launcher: int) -> list[int]:
    children = Path(f"/proc/{launcher}/task/{launcher}/children")
    return [int(number) for number in children.read_text().split()]


def _at_work(process: Process, out: Path, steps: int) -> bool:
    """Waits until so many steps are on record; whether they came before the end."""
    while process.poll() is None:
        rows = [path.read_bytes().count(b"\n") for path in out.glob("artifacts/.*.partial/metrics.jsonl")]
        if sum(rows) >= steps or len(list(out.glob("artifacts/base-*"))) and sum(rows) >= max(1, steps - 4):
            return True
        time.sleep(0.01)
    return False


def _together(act: Act) -> Callable[[World, Case, Path], Result]:
    """A run of two processes to which something happens, and which then goes on to the bits of an untouched one."""

    def play(world: World, case: Case, folder: Path) -> Result:
        project, result, out = _project(world), Result(""), folder / "out"
        process = _start(world, project, out)
        step = 1 + int(case.moment * 6)
        result.where, result.met = f"step {step} of base and zero", _at_work(process, out, step)
        if result.met:
            act(process, case, result)
        else:
            ended(process)
        end = ended(_start(world, project, out))
        note(result, end)
        # Arrays of two processes no third one reads without being told how; their hash is in the record.
        if end.code != 0 or records(out) != records(project.out):
            result.broken.append(f"differs from an untouched run (exit status {end.code})")
        result.broken += left_over(out)
        return result

    return play


def _kill_workers(victims: Callable[[Case], Sequence[int]]) -> Act:
    def act(process: Process, case: Case, result: Result) -> None:
        workers, chosen = _workers(process.pid), victims(case)
        for victim in chosen:
            os.kill(workers[victim], signal.SIGKILL)
        begun = time.monotonic()
        end = ended(process)
        result.told += end.told()[:6]
        named = [f"process {victim} was killed by SIGKILL" in end.error for victim in chosen]
        # The launcher may look between two deaths, and what it finds then is the fault.
        if not any(named):
            result.broken.append(f"processes {chosen} weren't named: {end.error[-300:]}")
        if time.monotonic() - begun > _SOON or not end.code:
            result.broken.append(f"ended with {end.code} after {time.monotonic() - begun:.0f} s")

    return act


def _stop_worker(process: Process, case: Case, result: Result) -> None:
    victim = _workers(process.pid)[case.number % 2]
    os.kill(victim, signal.SIGSTOP)
    time.sleep(2)
    os.kill(victim, signal.SIGCONT)
    end = ended(process)
    result.told += end.told()[:6]
    if not re.search(rf"process {case.number % 2} is stopped and the others wait for it; kill -CONT", end.error):
        result.broken.append(f"a stopped process wasn't named: {end.error[-300:]}")
    if end.code != 0:
        result.broken.append(f"ended with {end.code}, though it was let go on")


def _ask(whom: Callable[[Process, Case], int]) -> Act:
    """SIGTERM to the launcher, who passes it on, or to one process, which the others hear of."""

    def act(process: Process, case: Case, result: Result) -> None:
        begun = time.monotonic()
        os.kill(whom(process, case), signal.SIGTERM)
        end = ended(process)
        result.told += end.told()[:6]
        result.met = end.code != 0
        if end.code not in (0, 128 + signal.SIGTERM):
            result.broken.append(f"ended with {end.code}: {(end.out + end.error)[-500:]}")
        if end.code and "stopped by SIGTERM after saving" not in end.out + end.error:
            result.broken.append(f"ended without a word of it: {(end.out + end.error)[-300:]}")
        if time.monotonic() - begun > _ANSWER:
            result.broken.append(f"answered after {time.monotonic() - begun:.0f} s")

    return act


def _kill_launcher(process: Process, case: Case, result: Result) -> None:
    workers = _workers(process.pid)
    process.kill()
    ended(process)
    if outliving(workers):
        result.broken.append("workers outlive their launcher")


PAIRS: dict[str, Callable[[World, Case, Path], Result]] = {
    "worker killed": _together(_kill_workers(lambda case: (case.number % 2,))),
    "both workers killed": _together(_kill_workers(lambda case: (0, 1))),
    "worker stopped": _together(_stop_worker),
    "launcher killed": _together(_kill_launcher),
    "SIGTERM to the launcher": _together(_ask(lambda process, case: process.pid)),
    "SIGTERM to a worker": _together(_ask(lambda process, case: _workers(process.pid)[case.number % 2])),
}
"""What each fault of a run of two processes does."""
