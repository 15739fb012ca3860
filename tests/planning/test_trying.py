"""What doesn't fit is compiled again with one setting changed; what is told has been found so."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import pytest
from tiny_stages import BASE

from reasoning.core.mesh import MeshShape
from reasoning.core.program import Program, device_bytes
from reasoning.pipeline.run import Run
from reasoning.planning.changes import with_stage
from reasoning.planning.chips import CHIPS
from reasoning.planning.compiling import Compiled, Compiler
from reasoning.planning.plan import Assumed, Planner
from reasoning.planning.trying import helped

RUN = Run((replace(BASE, batch=32),), mesh=MeshShape(data=2))


def planner_with(usable: float, monkeypatch: pytest.MonkeyPatch, folder: Path) -> Planner:
    """Plans for two devices of this machine as if they were chips with so much memory.

    In place of a compiler, a program takes its arguments and all that it makes outside of loops.
    """

    def traced(self: Compiler, program: Program, mesh: object, elsewhere: object, source: str) -> Compiled:
        function: Any = program.function
        made = [out.aval for one in function.trace(*program.arguments).jaxpr.eqns for out in one.outvars]
        arguments = float(device_bytes(program.arguments))
        return Compiled(arguments + sum(each.size * each.dtype.itemsize for each in made), arguments, ())

    chip = replace(CHIPS["v5e"], usable=usable)
    monkeypatch.setattr(Planner, "chip", lambda self: ("TPU v5 lite", chip))
    monkeypatch.setattr(Compiler, "compile", traced)
    return Planner("cpu", jax.devices()[:2], Compiler("cpu", folder, print), Assumed(), lambda told: None)


def test_changes_that_help_are_those_that_take_less_when_a_run_has_them(monkeypatch, tmp_path: Path):
    peak = max(one.memory for one in planner_with(1e9, monkeypatch, tmp_path).plan(RUN).programs)
    planner = planner_with(peak - 1, monkeypatch, tmp_path)
    [told] = helped(planner, RUN, planner.plan(RUN))
    assert (told.one.name, told.one.memory, len(told.tried)) == ("update", peak, 3)
    assert all(one.fits and one.memory < peak for one in told.tried)
    assert [one.memory for one in told.tried] == sorted(one.memory for one in told.tried)
    [halved] = [one for one in told.tried if one.words == "base.microbatches = 2"]
    again = planner.plan(with_stage(RUN, "base", {"microbatches": 2}))
    assert halved.memory == max(one.memory for one in again.programs)


def test_changes_that_a_run_would_refuse_are_passed_over(monkeypatch, tmp_path: Path):
    planner = planner_with(1000.0, monkeypatch, tmp_path)
    odd = Run((replace(BASE, batch=2),), mesh=MeshShape(data=2))  # no microbatches can be made of a row a device
    [told] = helped(planner, odd, planner.plan(odd))
    assert told.tried and not any("microbatches" in one.words for one in told.tried)


def test_where_nothing_fits_even_changed_the_best_are_told_as_that(monkeypatch, tmp_path: Path):
    planner = planner_with(1000.0, monkeypatch, tmp_path)
    [told] = helped(planner, RUN, planner.plan(RUN))
    assert told.tried and not any(one.fits for one in told.tried)
