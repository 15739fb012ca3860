"""A run is planned stage by stage: totals, verdicts, and what can't be told."""

from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from plans import GIB, plan_of
from tiny_stages import BASE, CORPUS, tune

from reasoning.core.errors import InputError
from reasoning.core.mesh import MeshShape
from reasoning.pipeline.run import Run
from reasoning.planning.compiling import Compiler
from reasoning.planning.plan import Assumed, Planner, bytes_by_kind
from reasoning.planning.topology import libtpu_is_installed, topology_devices
from reasoning.training.state import TrainState

needs_libtpu = pytest.mark.skipif(not libtpu_is_installed(), reason="libtpu is not installed: make tpu-aot adds it")


def planner(topology: str, folder: Path, told: list[str]) -> Planner:
    compiler = Compiler(topology, folder, told.append)
    return Planner(topology, topology_devices(topology), compiler, Assumed(), lambda progress: None)


def test_what_lies_beside_a_program_counts_and_what_does_not_fit_is_named():
    assert plan_of(13.0).too_large == () and plan_of(13.0).programs[1].memory == 15 * GIB
    assert [one.name for one in plan_of(14.0).too_large] == ["update"]
    assert [one.name for one in plan_of(0.0, "RESOURCE_EXHAUSTED").too_large] == ["update"]


def test_chip_hours_are_those_of_all_chips_stage_by_stage():
    plan = plan_of(4.0)
    assert plan.chip_hours() == plan.chip_hours("zero") == pytest.approx(2 * 12 / 3600)
    assert plan.chip_hours("another") == 0


def test_arguments_are_told_by_the_fields_that_hold_them():
    row, step = (jax.ShapeDtypeStruct(shape, jnp.int32) for shape in ((4, 8), ()))
    state = TrainState(step, {"layers": row, "head": row}, {"moments": row}, step)
    assert bytes_by_kind((state, {"base": row}, row)) == {
        "step": 4, "skipped": 4, "params": 256, "optimizer": 128, "base": 128, "argument 2": 128,
    }  # fmt: skip
    assert bytes_by_kind(({"embedding": row, "stack_0": {"up": row}}, {"tokens": row})) == {
        "params": 256,
        "tokens": 128,
    }


@needs_libtpu
def test_a_mesh_that_does_not_fit_and_a_run_without_programs_are_refused(tmp_path: Path):
    with pytest.raises(InputError, match="mesh .data -1, fsdp 3"):
        planner("v5e-4", tmp_path, []).plan(Run((BASE,), mesh=MeshShape(fsdp=3)))
    with pytest.raises(InputError, match="nothing to plan"):
        planner("v5e-4", tmp_path, []).plan(Run((CORPUS,)))


@pytest.mark.slow
@needs_libtpu
def test_equal_programs_of_two_stages_and_of_a_second_plan_are_compiled_once(tmp_path: Path):
    told: list[str] = []
    run = Run((tune(), tune(name="again")), kernels="chunked")  # Mosaic's would take most of the time
    plan = planner("v5e-1", tmp_path, told).plan(run)
    assert told == ["base: batch", "base: update"]  # those of the base are the same but for what they start from
    assert [one.stage for one in plan.programs] == ["base", "base", "sft", "sft", "again", "again"]
    again = planner("v5e-1", tmp_path, told).plan(run)
    assert again.programs == plan.programs and told == ["base: batch", "base: update"]
    assert plan.too_large == () and plan.chips == 1 and plan.versions["libtpu"]
