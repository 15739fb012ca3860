"""What a run took beside what its plan had predicted."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from reasoning.core.files import is_number
from reasoning.planning.held import PLAN, read_plan
from reasoning.report.document import NOTHING, Block, Cell, Grid, Paragraph
from reasoning.report.plan import duration, gib
from reasoning.report.stages import Row

_FIRST = 1
"""Steps that are left out, since they compile."""


def beside_plan(folder: Path, timings: Mapping[str, Sequence[Row]]) -> tuple[Block, ...]:
    """A table of stages with the least time of a step by the plan and the median that was measured; nothing without a
    plan in the run's folder. ``timings`` are the stages' rows.
    """
    if not (folder / PLAN).exists():
        return ()
    plan = read_plan(folder / PLAN)
    columns = ("stage", "a step at least", "a step, median", "times as long")
    learning = {one["stage"]: None for one in plan["programs"] if one["program"] == "update"}
    rows = tuple(_row(stage, plan["programs"], _seconds(timings.get(stage, ()))) for stage in learning)
    fullest = max(plan["programs"], key=lambda one: one["memory"])
    peak = plan.get("measured", {}).get("peak")
    found = "the devices don't tell what they held" if peak is None else f"the fullest device held {gib(peak)} GiB"
    told = f"Planned for {plan['topology']}: {gib(fullest['memory'])} GiB of a device at the fullest; {found}."
    return Paragraph(told), Grid("Steps beside the plan", columns, rows)


def _row(stage: str, programs: Sequence[Mapping[str, Any]], seconds: Sequence[float]) -> tuple[Cell, ...]:
    own = [one for one in programs if one["stage"] == stage]
    steps = own[0]["calls"]  # a stage's first program is called once a step
    least = sum(one["calls"] * one["roofline"]["seconds"] for one in own) / steps
    if not seconds:
        return Cell(stage), Cell(duration(least)), NOTHING, NOTHING
    taken = median(seconds)
    return Cell(stage), Cell(duration(least)), Cell(duration(taken)), Cell(f"{taken / least:.2g}" if least else "–")


def _seconds(timings: Sequence[Row]) -> list[float]:
    """The times of a stage's steps, but for those that compile."""
    return [row["seconds"] for row in timings if is_number(row.get("seconds"))][_FIRST:]
