"""Rounds of what isn't a run in one process: sweeps, and runs of two processes."""

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from small_project import Project, new_project
from small_sweep import SweepProject

from faults.cases import Case, chosen_event, sort_of
from faults.inside import Plan
from faults.rounds import Result
from faults.world import Ended, World, ended, start

_SOON = 30.0
"""Within this a dead or stopped worker is named, and a dead launcher's workers are gone."""

_EACH = "sweep.each = {'zero.rate': (0.9,), 'width': (2,)}\nsweep.seeds = 2\n"


def _note(result: Result, end: Ended) -> None:
    result.told += [line[:300] for line in end.told()][:6]
    if "Traceback" in end.error:
        result.broken.append(f"a traceback: {end.error[-300:]}")
    if end.code is None:
        result.broken.append("hung")


def _command(world: World, plan: Plan, *words: str) -> Ended:
    return ended(start(["faults.inside", plan.words(), *words], world.cache))


def _killed(result: Result, world: World, case: Case, events: list[str], watched: Path, words: Sequence[str]) -> None:
    number = chosen_event(case, events)
    sort = sort_of(events[number - 1])
    nth = sum(sort_of(event) == sort for event in events[:number])
    end = _command(world, Plan(str(watched), sort=sort, at=nth, fault="SIGKILL"), *words)
    result.where, result.met = f"{sort} ({nth})", end.code == -signal.SIGKILL
    _note(result, end)
    if not result.met and end.code != 0:
        result.broken.append(f"ended with {end.code}: {end.error[-300:]}")


def _swept(world: World, case: Case, folder: Path) -> Result:
    """A sweep of two seeds and three arms is killed at a change, and goes on."""
    (folder / "project").mkdir()
    project, result = SweepProject(folder / "project"), Result("")
    project.write(_EACH + "run.cpu_devices = 1\n")
    project.out = folder / "whole"
    log = folder / "changes.log"
    end = _command(world, Plan(str(project.out), log=str(log)), *project.arguments())
    expected = {**project.tables(), **_records(project.out)}
    events = log.read_text().splitlines()
    project.out = folder / "killed"
    _killed(result, world, case, events, project.out, project.arguments())
    end = _command(world, Plan(str(project.out)), *project.arguments())
    _note(result, end)
    if end.code != 0 or {**project.tables(), **_records(project.out)} != expected:
        result.broken.append(f"differs from an uninterrupted sweep (exit status {end.code})")
    result.broken += [f"left over: {path}" for path in project.out.rglob("*.partial*")]
    return result


def _records(out: Path) -> dict[str, object]:
    records = {path.parent.name: json.loads(path.read_text()) for path in out.glob("artifacts/*/artifact.json")}
    return {name: (record["results"], record["array_hash"], record["files"]) for name, record in records.items()}


# -- two processes ---------------------------------------------------------------------------------------------------


def _pair(world: World, project: Project, out: Path) -> "subprocess.Popen[str]":
    words = ("launch", "multiprocess", "--processes", "2", "--devices", "1", str(project.file), "--out", str(out))
    return start([*words, "run.cpu_devices=2"], world.folder / "cache")


def _workers(launcher: int) -> list[int]:
    children = Path(f"/proc/{launcher}/task/{launcher}/children")
    return [int(number) for number in children.read_text().split()]


def _at_work(process: "subprocess.Popen[str]", out: Path, steps: int) -> bool:
    """Waits until so many steps are on record; whether they came before the end."""
    while process.poll() is None:
        rows = [path.read_bytes().count(b"\n") for path in out.glob("artifacts/.*.partial/metrics.jsonl")]
        if sum(rows) >= steps or len(list(out.glob("artifacts/base-*"))) and sum(rows) >= max(1, steps - 4):
            return True
        time.sleep(0.01)
    return False


def _together(act: Callable[["subprocess.Popen[str]", Case, Result], None]) -> Callable[[World, Case, Path], Result]:
    """A run of two processes to which something happens, and which then goes on to the bits of an untouched one."""

    def play(world: World, case: Case, folder: Path) -> Result:
        home = folder / "project"
        home.mkdir()
        project, result, out = new_project(home), Result(""), folder / "out"
        process = _pair(world, project, out)
        step = 1 + int(case.moment * 6)
        result.where, result.met = f"step {step} of base and zero", _at_work(process, out, step)
        if result.met:
            act(process, case, result)
        else:
            ended(process)
        end = ended(_pair(world, project, out))
        _note(result, end)
        whole = folder / "whole"
        other = ended(_pair(world, project, whole))
        same = _records(out) == _records(whole)  # Arrays of two processes no third one reads without being told how.
        if end.code != 0 or other.code != 0 or not same:
            result.broken.append(f"differs from an untouched run (exit status {end.code}, {other.code})")
        result.broken += [f"left over: {path.name}" for path in out.rglob("*.partial*")]
        return result

    return play


def _kill_worker(process: "subprocess.Popen[str]", case: Case, result: Result) -> None:
    victim = case.number % 2
    os.kill(_workers(process.pid)[victim], signal.SIGKILL)
    begun = time.monotonic()
    end = ended(process)
    result.told += end.told()[:6]
    if f"process {victim} was killed by SIGKILL" not in end.error:
        result.broken.append(f"process {victim} wasn't named: {end.error[-300:]}")
    if time.monotonic() - begun > _SOON or not end.code:
        result.broken.append(f"ended with {end.code} after {time.monotonic() - begun:.0f} s")


def _stop_worker(process: "subprocess.Popen[str]", case: Case, result: Result) -> None:
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


def _kill_launcher(process: "subprocess.Popen[str]", case: Case, result: Result) -> None:
    workers = _workers(process.pid)
    process.kill()
    ended(process)
    give_up = time.monotonic() + _SOON
    while any(_lives(worker) for worker in workers):
        if time.monotonic() > give_up:
            result.broken.append("workers outlive their launcher")
            for worker in filter(_lives, workers):
                os.kill(worker, signal.SIGKILL)
            return
        time.sleep(0.05)


def _lives(number: int) -> bool:
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


JOBS: dict[str, Callable[[World, Case, Path], Result]] = {
    "kill in a sweep": _swept,
    "worker killed": _together(_kill_worker),
    "worker stopped": _together(_stop_worker),
    "launcher killed": _together(_kill_launcher),
}
"""What each fault does, by its name."""
