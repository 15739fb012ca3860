"""What happens to a run while it works, and each fault's round."""

import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

from miniature import graph, learning_stages

from faults import decay, rot
from faults.cases import Case
from faults.inside import Plan
from faults.processes import Process
from faults.round import REFUSAL, Result, Round, last
from faults.world import PATIENCE, Ended, World, ended

_SIGNAL_SECONDS = 60.0
"""Within this a process that is asked to stop has saved and ended, here where a step takes a fraction of a second."""


def killed_at_a_change(round: Round) -> None:
    end = round.attacked(fault="SIGKILL")
    _check_death(round, end)


def killed_by_the_clock(round: Round) -> None:
    process = round.begin(None)
    begun = _wait_for_work(round, process)
    time.sleep(round.case.moment * round.world.seconds.get(round.stage, 1.0) if begun else 0)
    process.kill()
    round.result.where = f"after {round.case.moment:.0%} of the stage"
    _check_death(round, ended(process))


def _check_death(round: Round, end: Ended) -> None:
    round.note(end)
    round.result.met = end.code == -signal.SIGKILL
    if not round.result.met and end.code != 0:
        round.result.broken.append(f"ended with {end.code} before it was killed: {last(end)}")
    round.complete()


def asked_to_stop(name: str) -> Callable[[Round], None]:
    """A signal that asks to save and end."""
    status = 128 + signal.Signals[name]

    def act(round: Round) -> None:
        begun = time.monotonic()
        end = round.attacked(fault=name)
        took = time.monotonic() - begun
        round.note(end)
        round.result.met = end.code == status
        if end.code not in (0, status):
            round.result.broken.append(f"{name} ended with {end.code}: {last(end)}")
        if end.code == status and not any(word in end.error for word in ("stopped by", "interrupted")):
            round.result.broken.append(f"{name} ended the run without a word")
        if took > _SIGNAL_SECONDS + PATIENCE / 4:
            round.result.broken.append(f"{name} was answered after {took:.0f} s")
        round.complete()

    return act


def refused_by_the_disk(error: str) -> Callable[[Round], None]:
    """From one change on all writing fails."""

    def act(round: Round) -> None:
        end = round.attacked(fault=error)
        round.note(end)
        round.result.met = end.code != 0 or any("warning" in line for line in end.told())
        if end.code not in (0, REFUSAL):
            round.result.broken.append(f"ended with {end.code}: {last(end)}")
        if end.code == REFUSAL and not re.search(r"space|Read-only|right to write|No space", end.error):
            round.result.broken.append(f"said nothing of the disk: {last(end)}")
        round.complete()

    return act


def refused_inside_a_library(round: Round) -> None:
    """No file may grow beyond a size, which only whoever writes the file notices."""
    largest = int(10 ** (2 + 4.5 * round.case.moment))
    round.result.where = f"at {largest} bytes"
    end = ended(round.begin(Plan(str(round.out), largest=largest)))
    round.note(end)
    round.result.met = end.code != 0
    if end.code not in (0, REFUSAL):
        round.result.broken.append(f"ended with {end.code}: {last(end)}")
    round.complete()


def time_jumps(round: Round) -> None:
    end = ended(round.begin(Plan(str(round.out), clock=round.case.number + 1)))
    round.result.where = "throughout"
    round.note(end)
    if end.code != 0:
        round.result.broken.append(f"ended with {end.code}: {last(end)}")
    round.complete()


def stopped_for_a_while(round: Round) -> None:
    process = round.begin(None)
    _wait_for_work(round, process)
    time.sleep(round.case.moment * round.world.seconds.get(round.stage, 1.0) / 2)
    process.send_signal(signal.SIGSTOP)
    time.sleep(3)
    process.send_signal(signal.SIGCONT)
    round.result.where = "for 3 s"
    end = ended(process)
    round.note(end)
    if end.code != 0:
        round.result.broken.append(f"ended with {end.code}: {last(end)}")
    round.complete()


def two_in_one_folder(round: Round) -> None:
    first = round.begin(None)
    met = _wait_for_work(round, first)
    first.send_signal(signal.SIGSTOP)
    second = ended(round.begin(None)) if met else Ended(REFUSAL, "", f"in use by process {first.pid}")
    first.send_signal(signal.SIGCONT)
    round.note(second)
    round.result.where, round.result.met = "while it works", met
    if second.code != REFUSAL or f"in use by process {first.pid}" not in second.error:
        round.result.broken.append(f"the second run ended with {second.code}: {last(second)}")
    end = ended(first)
    if end.code != 0:
        round.result.broken.append(f"the first run ended with {end.code}: {last(end)}")
    round.complete()


def two_started_at_once(round: Round) -> None:
    both = [round.begin(None) for _ in range(2)]
    ends = [ended(process) for process in both]
    round.result.where = "from the start"
    for end, other in zip(ends, reversed(both), strict=True):
        round.note(end)
        refused = end.code == REFUSAL and f"in use by process {other.pid}" in end.error
        if end.code != 0 and not refused:
            round.result.broken.append(f"one of two ended with {end.code}: {last(end)}")
    if all(end.code for end in ends):
        round.result.broken.append("both were refused")
    round.result.met = any(end.code for end in ends)
    round.complete()


def _wait_for_work(round: Round, process: Process) -> bool:
    """Waits until the stage's folder is there; whether it came before the process ended."""
    give_up = time.monotonic() + PATIENCE
    while time.monotonic() < give_up and process.poll() is None:
        if round.world.partial(round.out, round.stage):
            return True
        time.sleep(0.002)
    return False


ACTS: dict[str, Callable[[Round], None]] = {
    "kill at a change": killed_at_a_change,
    "kill by the clock": killed_by_the_clock,
    "SIGTERM": asked_to_stop("SIGTERM"),
    "SIGINT": asked_to_stop("SIGINT"),
    "disk full": refused_by_the_disk("ENOSPC"),
    "disk full inside a library": refused_inside_a_library,
    "folder becomes read-only": refused_by_the_disk("EROFS"),
    "clock jumps": time_jumps,
    "stopped for a while": stopped_for_a_while,
    "two runs in one folder": two_in_one_folder,
    "two runs started at once": two_started_at_once,
    "rot in a checkpoint": decay.rot_while_nobody_works(rot.of_checkpoint),
    "rot in what a stage starts from": decay.rot_of_a_parent,
    "rot in what a stage has done": decay.rot_while_nobody_works(rot.of_work),
    "rot in the run's own files": decay.rot_of_the_run,
    "rot in the compilation cache": decay.rot_of_programs,
}
"""What each fault of a run in one process does."""


def perform(world: World, case: Case, folder: Path) -> Result:
    """Plays a round of a run's faults in an empty folder."""
    fit = [stage for stage in world.stages if _can_meet(case.kind, stage)]
    stage = case.stage if case.stage in fit else fit[case.number % len(fit)]
    round = Round(world, case, folder, stage, Result(""), world.cache)
    round.out = world.fresh(folder, stage)
    ACTS[case.kind](round)
    return round.result


def _can_meet(kind: str, stage: str) -> bool:
    """Whether a stage has what this kind of fault damages."""
    if kind == "rot in a checkpoint":
        return stage in learning_stages()
    return kind != "rot in what a stage starts from" or bool(graph()[stage].parent_names())
