"""What happens to files between two runs: bits flip, ends are lost, files go."""

import random
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from miniature import graph

from faults import rot
from faults.cases import WAYS, sort_of
from faults.inside import Plan
from faults.round import Round
from faults.world import ended

_ROWS = ".array_record"


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
        # What was sampled isn't sampled again: the run says that it goes on without the table.
        table = round.result.where.partition(" ")[0]
        told = any(table in line and "the run goes on without it" in line for line in round.result.told)
        if table.endswith(".parquet") and told:
            lost = f"{round.stage}/rollouts/{table}"
            _forgive(round, f"{round.stage}/artifact.json", lost, f"{lost}.damaged")

    return act


def _forgive(round: Round, *names: str) -> None:
    """Takes back that these differ, where nothing else is broken."""
    if {f"differs: {name}" for name in names}.issuperset(round.result.broken):
        round.result.broken.clear()


def rot_of_a_parent(round: Round) -> None:
    parents = graph()[round.stage].parent_names()
    parent = parents[round.case.number % len(parents)]
    folder = round.world.finished(round.out, parent)
    _damage(round, [path for path in folder.rglob("*") if "checkpoints" not in path.relative_to(folder).parts])
    # Rows have checksums that their readers verify: damage in what nobody read stays where it is.
    damaged = round.result.where.partition(" ")[0]
    if _ROWS in damaged:
        _forgive(round, f"{parent}/records/{damaged}")
    round.result.where = f"{parent}: {round.result.where}"


def rot_of_the_run(round: Round) -> None:
    round.note(round.attacked(fault="SIGKILL"))
    before = len(round.result.told)
    _damage(round, rot.of_run(round.out))
    name, _, how = round.result.where.partition(" ")
    told = any(name in line for line in round.result.told[before:])
    if name in rot.READ_AGAIN and how != "deleted" and not told:
        round.result.broken.append(f"said nothing of {name}")


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
