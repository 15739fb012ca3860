"""What a run took beside what its plan had predicted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from reasoning.core.files import is_number
from reasoning.findings.stages import Row
from reasoning.planning.held import PLAN, read_plan

_FIRST = 1
"""Steps that are left out, since they compile."""


@dataclass(frozen=True)
class StepTimes:
    """Seconds of a stage's step: the least by the plan, and the median that was measured, None before there are any."""

    stage: str
    least: float
    taken: float | None


@dataclass(frozen=True)
class BesidePlan:
    """Bytes of a device on ``topology`` at the fullest, by the plan and as measured, None where devices don't tell."""

    topology: str
    planned: float
    peak: float | None
    steps: tuple[StepTimes, ...]


def beside_plan(folder: Path, timings: Mapping[str, Sequence[Row]]) -> BesidePlan | None:
    """The plan in a run's folder beside ``timings``, the stages' rows; None without a plan."""
    if not (folder / PLAN).exists():
        return None
    plan = read_plan(folder / PLAN)
    learning = {one["stage"]: None for one in plan["programs"] if one["program"] == "update"}
    steps = tuple(_times(stage, plan["programs"], _seconds(timings.get(stage, ()))) for stage in learning)
    fullest = max(one["memory"] for one in plan["programs"])
    return BesidePlan(plan["topology"], fullest, plan.get("measured", {}).get("peak"), steps)


def _times(stage: str, programs: Sequence[Mapping[str, Any]], seconds: Sequence[float]) -> StepTimes:
    own = [one for one in programs if one["stage"] == stage]
    steps = own[0]["calls"]  # a stage's first program is called once a step
    each = [one for one in own if one["calls"] >= steps]  # those of probes and exams aren't
    least = sum(one["calls"] * one["roofline"]["seconds"] for one in each) / steps
    return StepTimes(stage, least, median(seconds) if seconds else None)


def _seconds(timings: Sequence[Row]) -> list[float]:
    """The times of a stage's steps, but for those that compile."""
    return [row["seconds"] for row in timings if is_number(row.get("seconds"))][_FIRST:]
