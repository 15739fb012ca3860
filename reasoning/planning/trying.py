"""What doesn't fit, compiled again with one setting changed: the changes that help most, as they were found to."""

from dataclasses import dataclass

from reasoning.core.errors import InputError
from reasoning.pipeline.graph import build_graph
from reasoning.pipeline.run import Run
from reasoning.planning.changes import helping_changes
from reasoning.planning.plan import Plan, Planned, Planner

_TOLD = 3


@dataclass(frozen=True)
class Tried:
    """What one change makes of a program: HBM of a device in all, and whether that is there."""

    words: str
    memory: float
    fits: bool


@dataclass(frozen=True)
class Helped:
    """A program that doesn't fit and the changes that help it most, best first; none where none helps."""

    one: Planned
    tried: tuple[Tried, ...]


def helped(planner: Planner, run: Run, plan: Plan) -> tuple[Helped, ...]:
    """For the fullest program of each stage that holds one that doesn't fit."""
    fullest: dict[str, Planned] = {}
    for one in plan.too_large:
        if one.stage not in fullest or one.memory > fullest[one.stage].memory:
            fullest[one.stage] = one
    return tuple(Helped(one, _best(planner, run, plan, one)) for one in fullest.values())


def _best(planner: Planner, run: Run, plan: Plan, one: Planned) -> tuple[Tried, ...]:
    stage = build_graph(run.stages)[one.stage].stage
    tried: list[Tried] = []
    for change in helping_changes(run, stage, plan.mesh):
        try:
            new = _again(planner, change.run(), one)
        except InputError:  # rows that can't be dealt out so, say: a change that a run would refuse
            continue
        if new is not None and new.found.memory and (not one.found.memory or new.memory < one.memory):
            fits = not new.found.refusal and new.memory <= plan.capacity
            tried.append(Tried(change.words, new.memory, fits))
    return tuple(sorted(tried, key=lambda each: (not each.fits, each.memory))[:_TOLD])


def _again(planner: Planner, run: Run, one: Planned) -> Planned | None:
    """The program of the same stage and name in another run, compiled; None where that has none."""
    place = planner.place(run, lambda note: None)
    for told in planner.told(run, place, one.stage):
        if told.program.name == one.name:
            return planner.planned(told, place.mesh)
    return None
