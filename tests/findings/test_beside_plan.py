"""It is known what steps took beside what was predicted."""

from pathlib import Path

import pytest
from plans import GIB, plan_of

from reasoning.core.files import write_json
from reasoning.findings.beside_plan import beside_plan
from reasoning.planning.held import PLAN
from reasoning.planning.record import plan_record


def test_nothing_is_said_without_a_plan(tmp_path: Path):
    assert beside_plan(tmp_path, {}) is None


def test_steps_are_told_beside_their_least_time_without_those_that_compile(tmp_path: Path):
    record = plan_record(plan_of(4.0), 0.0)
    probe = record["programs"][0] | {"program": "probe: sample", "calls": 2}
    record["programs"].append(probe)
    write_json(tmp_path / PLAN, record | {"measured": {"peak": 5 * GIB}})
    times = enumerate((90.0, 2.2, 2.4, 2.6), 1)
    rows = [{"step": step, "seconds": seconds} for step, seconds in times]
    beside = beside_plan(tmp_path, {"zero-2": (), "zero": rows})
    assert beside is not None and (beside.planned, beside.peak) == (6 * GIB, 5 * GIB)
    # Ten steps: 10 samplings of 1 s and 20 updates of 0.1 s; a step without a probe is what is measured.
    [step] = beside.steps
    assert (step.stage, step.taken) == ("zero", 2.4) and step.least == pytest.approx(1.2)
