"""What doesn't fit is compiled again with one setting changed; what is told has been found so."""

from dataclasses import replace
from pathlib import Path

import jax
import pytest
from tiny_stages import BASE, tune

from reasoning.core.mesh import MeshShape
from reasoning.pipeline.run import Run
from reasoning.planning.changes import with_stage
from reasoning.planning.chips import CHIPS
from reasoning.planning.compiling import Compiler
from reasoning.planning.plan import Assumed, Planner
from reasoning.planning.trying import helped


def planner_with(usable: float, monkeypatch: pytest.MonkeyPatch, folder: Path) -> Planner:
    """Plans for two devices of this machine as if they were chips with so much memory."""
    chip = replace(CHIPS["v5e"], usable=usable)
    monkeypatch.setattr(Planner, "chip", lambda self: ("TPU v5 lite", chip))
    return Planner("cpu", jax.devices()[:2], Compiler("cpu", folder, lambda name: None), Assumed(), lambda told: None)


@pytest.mark.slow
def test_changes_that_help_are_those_that_take_less_when_a_run_has_them(monkeypatch, tmp_path: Path):
    run = Run((tune(batch=32, start=BASE),), mesh=MeshShape(data=2))
    peak = max(one.memory for one in planner_with(1e9, monkeypatch, tmp_path).plan(run).programs)
    planner = planner_with(peak - 1, monkeypatch, tmp_path)
    plan = planner.plan(run)
    assert plan.too_large and {one.memory for one in plan.too_large} == {peak}
    told = helped(planner, run, plan)
    assert [each.one.stage for each in told] == list(dict.fromkeys(one.stage for one in plan.too_large))
    tried = {one.words: one for one in told[-1].tried}
    assert 1 <= len(tried) <= 3 and all(one.memory < peak for one in tried.values())
    assert [one.fits for one in told[-1].tried] == sorted((one.fits for one in tried.values()), reverse=True)
    stage = told[-1].one.stage
    words = f"{stage}.microbatches = 4"
    again = planner.plan(with_stage(run, stage, {"microbatches": 4}))
    found = max(one.memory for one in again.programs if one.stage == stage and one.name == told[-1].one.name)
    assert tried[words].memory == found
