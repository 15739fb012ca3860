"""One round: something happens to a run, the same command is given again, and what was promised is looked at."""

import random
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from miniature import first_step_shown, graph, learning_stages, saved_steps

from faults import rot
from faults.cases import WAYS, Case, chosen_event, sort_of
from faults.inside import Plan
from faults.world import PATIENCE, Ended, World, ancestors, ended

_SIGNAL_SECONDS = 60.0
"""Within this a process that is asked to stop has saved and ended, here where a step takes a fraction of a second."""

_ATTEMPTS = 4
_ADVICE = re.compile(r"move (?:the folder )?(/\S+) away|(/\S+?):.*; remove it")
_REFUSAL = 2


@dataclass
class Result:
    """What became of a round: where the fault came, whether it came at all, what is broken, what was told of it."""

    where: str
    met: bool = True
    broken: list[str] = field(default_factory=list)
    told: list[str] = field(default_factory=list)


@dataclass
class Round:
    """A case in a folder of its own: the run in ``out`` that is attacked, and the stages that it must complete."""

    world: World
    case: Case
    folder: Path
    stage: str
    result: Result
    cache: Path
    out: Path = Path()

    @property
    def stages(self) -> list[str]:
        return [*ancestors(self.stage), self.stage]

    def begin(self, plan: Plan | None, *more: str) -> "subprocess.Popen[str]":
        """The command, which meets a fault where there is a plan."""
        return self.world.run(self.out, self.stages, plan, self.cache, *more)

    def attacked(self, **fault: object) -> Ended:
        """The command, with a fault at the case's place in what it changes."""
        events = self.world.events[self.stage]
        number = chosen_event(self.case, events)
        sort = sort_of(events[number - 1])
        nth = sum(sort_of(event) == sort for event in events[:number])
        self.result.where = f"{sort} ({nth})"
        return ended(self.begin(Plan(str(self.out), sort=sort, at=nth, **fault)))

    def complete(self) -> None:
        """Gives the same command until the run is complete, does what it says where it refuses, and compares.

        Whatever a kill interrupted goes on from the newest whole checkpoint, so no step that it holds is done again.
        """
        saved = self._saved()
        for _ in range(_ATTEMPTS):
            end = ended(self.begin(None))
            self.note(end)
            if saved and end.code == 0 and self.case.kind.startswith(("kill", "SIG")):
                first = first_step_shown(end.out, self.stage)
                if first is not None and first != saved + 1:
                    self.result.broken.append(f"went on with step {first}, where step {saved} was saved")
            if end.code == 0:
                break
            if end.code != _REFUSAL or not self._follow(end):
                self.result.broken.append(f"the same command ended with {end.code}: {_last(end)}")
                return
        self.result.broken += [f"differs: {name}" for name in self.world.differences(self.out, self.stages)[:5]]
        left = [str(path.relative_to(self.out)) for path in self.out.rglob("*.partial*")]
        self.result.broken += [f"left over: {name}" for name in left[:3]]

    def note(self, end: Ended) -> None:
        """Keeps what a process told, and complains of what nobody should be shown."""
        self.result.told += [line[:300] for line in end.told()][:6]
        if "Traceback" in end.error:
            self.result.broken.append(f"a traceback: {_last(end)}")
        if end.code is None:
            self.result.broken.append("hung")

    def _saved(self) -> int:
        partial = self.world.partial(self.out, self.stage)
        steps = saved_steps(partial) if partial else []
        return steps[-1] if steps else 0

    def _follow(self, end: Ended) -> bool:
        """Does what a refusal asks for: moves a folder away, or removes a file. Whether it asked for such a thing."""
        for found in _ADVICE.finditer(end.error):
            path = Path(next(filter(None, found.groups())).rstrip(":;,"))
            if path.exists() and self.out in path.parents:
                if path.is_dir():
                    shutil.move(path, self.folder / f"away.{time.monotonic_ns()}")
                else:
                    path.unlink()
                return True
        return False


def _last(end: Ended) -> str:
    lines = [line for line in end.error.splitlines() if line.strip()]
    return lines[-1][:300] if lines else "nothing was said"


# -- what happens while a run works ----------------------------------------------------------------------------------


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
        round.result.broken.append(f"ended with {end.code} before it was killed: {_last(end)}")
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
            round.result.broken.append(f"{name} ended with {end.code}: {_last(end)}")
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
        if end.code not in (0, _REFUSAL):
            round.result.broken.append(f"ended with {end.code}: {_last(end)}")
        if end.code == _REFUSAL and not re.search(r"space|Read-only|right to write|No space", end.error):
            round.result.broken.append(f"said nothing of the disk: {_last(end)}")
        round.complete()

    return act


def refused_inside_a_library(round: Round) -> None:
    """No file may grow beyond a size, which only whoever writes the file notices."""
    largest = int(10 ** (2 + 4.5 * round.case.moment))
    round.result.where = f"at {largest} bytes"
    end = ended(round.begin(Plan(str(round.out), largest=largest)))
    round.note(end)
    round.result.met = end.code != 0
    if end.code not in (0, _REFUSAL):
        round.result.broken.append(f"ended with {end.code}: {_last(end)}")
    round.complete()


def time_jumps(round: Round) -> None:
    end = ended(round.begin(Plan(str(round.out), clock=round.case.number + 1)))
    round.result.where = "throughout"
    round.note(end)
    if end.code != 0:
        round.result.broken.append(f"ended with {end.code}: {_last(end)}")
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
        round.result.broken.append(f"ended with {end.code}: {_last(end)}")
    round.complete()


def two_in_one_folder(round: Round) -> None:
    first = round.begin(None)
    met = _wait_for_work(round, first)
    first.send_signal(signal.SIGSTOP)
    second = ended(round.begin(None)) if met else Ended(_REFUSAL, "", f"in use by process {first.pid}")
    first.send_signal(signal.SIGCONT)
    round.note(second)
    round.result.where, round.result.met = "while it works", met
    if second.code != _REFUSAL or f"in use by process {first.pid}" not in second.error:
        round.result.broken.append(f"the second run ended with {second.code}: {_last(second)}")
    end = ended(first)
    if end.code != 0:
        round.result.broken.append(f"the first run ended with {end.code}: {_last(end)}")
    round.complete()


def two_started_at_once(round: Round) -> None:
    both = [round.begin(None) for _ in range(2)]
    ends = [ended(process) for process in both]
    round.result.where = "from the start"
    for end, other in zip(ends, reversed(both), strict=True):
        round.note(end)
        refused = end.code == _REFUSAL and f"in use by process {other.pid}" in end.error
        if end.code != 0 and not refused:
            round.result.broken.append(f"one of two ended with {end.code}: {_last(end)}")
    if all(end.code for end in ends):
        round.result.broken.append("both were refused")
    round.result.met = any(end.code for end in ends)
    round.complete()


def _wait_for_work(round: Round, process: "subprocess.Popen[str]") -> bool:
    """Waits until the stage's folder is there; whether it came before the process ended."""
    give_up = time.monotonic() + PATIENCE
    while time.monotonic() < give_up and process.poll() is None:
        if round.world.partial(round.out, round.stage):
            return True
        time.sleep(0.002)
    return False


# -- what happens to files between two runs --------------------------------------------------------------------------


def rot_while_nobody_works(which: Callable[[Path], Sequence[Path]]) -> Callable[[Round], None]:
    """A stage is killed late, and something of what it had done is no longer what it was."""

    def act(round: Round) -> None:
        events = round.world.events[round.stage]
        steps = [number for number, event in enumerate(events) if event.startswith("write ")]
        number = steps[len(steps) // 2 + int(round.case.moment * (len(steps) // 2 - 1))]
        late = sort_of(events[number])
        nth = sum(sort_of(event) == late for event in events[: number + 1])
        plan = Plan(str(round.out), sort=late, at=nth, fault="SIGKILL")
        round.note(ended(round.begin(plan, "run.checkpoint_every=1")))
        partial = round.world.partial(round.out, round.stage)
        _damage(round, which(partial) if partial else ())

    return act


def rot_of_a_parent(round: Round) -> None:
    parents = graph()[round.stage].parent_names()
    parent = parents[round.case.number % len(parents)]
    folder = round.world.finished(round.out, parent)
    _damage(round, [path for path in folder.rglob("*") if "checkpoints" not in path.relative_to(folder).parts])
    round.result.where = f"{parent}: {round.result.where}"


def rot_of_the_run(round: Round) -> None:
    round.note(round.attacked(fault="SIGKILL"))
    _damage(round, rot.of_run(round.out))


def rot_of_programs(round: Round) -> None:
    round.cache = round.folder / "cache"
    shutil.copytree(round.world.cache, round.cache)
    chance, entries = random.Random(round.case.number), sorted(round.cache.glob("*-cache"))
    for entry in chance.sample(entries, len(entries) // 4):  # One alone may not be asked for.
        rot.damage(replace(round.case, moment=chance.random(), way=chance.choice(WAYS)), [entry])
    round.result.where = f"{len(entries) // 4} of {len(entries)} programs"
    round.complete()


def _damage(round: Round, files: Sequence[Path]) -> None:
    _damage_only(round, files)
    round.complete()


def _damage_only(round: Round, files: Sequence[Path]) -> None:
    told = rot.damage(round.case, files)
    round.result.where, round.result.met = told or "nothing was there", bool(told)


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
    "rot in a checkpoint": rot_while_nobody_works(rot.of_checkpoint),
    "rot in what a stage starts from": rot_of_a_parent,
    "rot in what a stage has done": rot_while_nobody_works(rot.of_work),
    "rot in the run's own files": rot_of_the_run,
    "rot in the compilation cache": rot_of_programs,
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
