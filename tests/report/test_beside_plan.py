"""A report says what steps took beside what was predicted."""

from pathlib import Path

from plans import GIB, plan_of

from reasoning.core.files import write_json
from reasoning.planning.held import PLAN
from reasoning.planning.record import plan_record
from reasoning.report.beside_plan import beside_plan
from reasoning.report.document import Grid, Paragraph


def test_nothing_is_said_without_a_plan(tmp_path: Path):
    assert beside_plan(tmp_path, {}) == ()


def test_steps_are_told_beside_their_least_time_without_those_that_compile(tmp_path: Path):
    write_json(tmp_path / PLAN, plan_record(plan_of(4.0), 0.0) | {"measured": {"peak": 5 * GIB}})
    times = enumerate((90.0, 2.2, 2.4, 2.6), 1)
    rows = [{"step": step, "seconds": seconds} for step, seconds in times]
    told, grid = beside_plan(tmp_path, {"zero-2": (), "zero": rows})
    assert isinstance(told, Paragraph) and "6.00 GiB" in told.text and "held 5.00 GiB" in told.text
    assert isinstance(grid, Grid)
    # Ten steps: 10 samplings of 1 s and 20 updates of 0.1 s.
    assert [cell.text for cell in grid.rows[0]] == ["zero", "1.2 s", "2.4 s", "2"]
