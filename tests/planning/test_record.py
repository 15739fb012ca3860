"""A plan as data says what the plan says."""

from dataclasses import replace

import pytest
from plans import GIB, plan_of

from reasoning.core.files import json_text
from reasoning.planning.record import mfu_bound, plan_record, tokens_per_second


def test_everything_is_told_and_can_be_written():
    record = plan_record(plan_of(4.0), price=3.0)
    assert record["fits"] and record["chips"] == 2 and record["mesh"] == {"data": 2}
    assert record["cost"] == 3 * record["chip_hours"] == 3 * 2 * (10 * 1.0 + 20 * 0.1) / 3600
    sample, update = record["programs"]
    assert sample["roofline"]["binds"] == "products" and sample["exchanged"][0]["axes"] == "fsdp"
    assert update["memory"] == 6 * GIB and update["program_memory"] == 4 * GIB
    assert json_text(record)


def test_rates_are_bounds_by_the_least_time():
    plan = plan_of(4.0)
    assert tokens_per_second(plan.programs[0]) == pytest.approx(4000)
    assert mfu_bound(plan, plan.programs[0]) == pytest.approx(0.5)  # the formula's work on two devices in a second


def test_what_a_program_leaves_out_does_not_lift_the_bound_above_what_devices_do():
    plan = plan_of(4.0)
    masked = replace(plan.programs[0], formula=5 * plan.programs[0].formula)
    assert mfu_bound(plan, masked) == 1.0
