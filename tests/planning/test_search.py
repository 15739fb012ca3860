"""Settings are pruned by what must lie on a device, and ranked by what was compiled."""

from dataclasses import replace
from math import prod
from pathlib import Path

import jax
import pytest
from tiny_stages import BASE, MODEL, tune

from reasoning.core.errors import InputError
from reasoning.core.mesh import MeshShape
from reasoning.core.program import Program, device_bytes
from reasoning.pipeline.graph import build_graph
from reasoning.pipeline.run import Run
from reasoning.planning import search as search_module
from reasoning.planning.changes import rebuilt
from reasoning.planning.chips import CHIPS
from reasoning.planning.compiling import Compiled, Compiler
from reasoning.planning.plan import Assumed, Planner
from reasoning.planning.search import Choice, Ranked, choices_of, meshes_of, search

LARGE = replace(BASE, model=replace(MODEL, width=256, mlp_width=1024), batch=8)
RUN = Run((replace(tune(), start=LARGE),), mesh=MeshShape(data=4))
COMPILED: list[Program] = []


@pytest.fixture
def planner(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Planner:
    """Plans for four devices of this machine; programs take what their arguments do, an update 1 ms a microbatch."""

    def compiled(self: Compiler, program: Program, mesh: object, elsewhere: object, source: str) -> Compiled:
        COMPILED.append(program)
        size = float(device_bytes(program.arguments))
        return Compiled(memory=size, arguments=size, largest=(), hbm=size)

    COMPILED.clear()
    monkeypatch.setattr(Compiler, "compile", compiled)
    monkeypatch.setattr(Planner, "chip", lambda self: ("TPU v5 lite", CHIPS["v5e"]))
    return Planner("cpu", jax.devices()[:4], Compiler("cpu", tmp_path, print), Assumed(), lambda told: None)


def test_meshes_have_all_devices_and_keep_the_axes_that_are_not_searched():
    meshes = list(meshes_of(16, MeshShape(context=2)))
    assert all(prod(mesh.values()) == 16 and mesh["context"] == 2 for mesh in meshes)
    shapes = {(mesh["data"], mesh["fsdp"], mesh["tensor"]) for mesh in meshes}
    assert len(shapes) == len(meshes) and (1, 8, 1) in shapes and (2, 1, 4) in shapes


def test_choices_are_runs_that_devices_can_share(planner: Planner):
    choices = choices_of(planner, RUN)
    assert choices and [one.seconds for one in choices] == sorted(one.seconds for one in choices)
    for choice in choices:
        parts = choice.mesh["data"] * choice.mesh["fsdp"]
        tuned = build_graph(choice.run.stages)["sft"].stage
        assert tuned.microbatches * choice.rows * parts == 8
        assert build_graph(choice.run.stages)["base"].stage.model.remat == choice.remat
    assert {choice.remat for choice in choices} == {"none", "dots", "block", "offload"}
    assert max(choice.mesh["tensor"] for choice in choices) == 2  # the model has two heads


def test_what_can_not_lie_on_a_device_is_not_compiled(planner: Planner, monkeypatch):
    whole = max(choices_of(planner, RUN), key=lambda choice: choice.mesh["data"])
    [copied] = {choice.mesh["data"] for choice in choices_of(planner, RUN) if choice.mesh == whole.mesh}
    assert copied == 4
    place = planner.place(whole.run, print)
    held = max(
        device_bytes(each.arguments) for stage in planner.stages(whole.run) for each in planner.programs(stage, place)
    )
    monkeypatch.setattr(Planner, "chip", lambda self: ("TPU v5 lite", replace(CHIPS["v5e"], usable=0.7 * held)))
    assert {choice.mesh["data"] for choice in choices_of(planner, RUN)} == {1, 2}
    monkeypatch.setattr(Planner, "chip", lambda self: ("TPU v5 lite", replace(CHIPS["v5e"], usable=1000.0)))
    with pytest.raises(InputError, match="no mesh, microbatch and remat leave room"):
        search(planner, RUN, 2)
    assert COMPILED == []


def test_the_fastest_that_fits_comes_first(planner: Planner):
    ranked = search(planner, RUN, 6)
    assert len(ranked) == 7 and all(one.fits for one in ranked)
    assert [one.seconds for one in ranked] == sorted(one.seconds for one in ranked)
    assert [one.name for one in COMPILED[:2]] == ["base: update", "sft: update"]  # the likeliest not to fit


def test_the_file_s_own_settings_are_ranked_beside_what_is_found(planner: Planner):
    split = rebuilt(RUN, lambda each: replace(each, microbatches=2) if getattr(each, "name", "") == "sft" else each)
    ranked = search(planner, split, 3)
    [own] = [one for one in ranked if one.choice.own]
    whole = planner.plan(split)
    assert own.seconds == sum(one.seconds for one in whole.programs)
    assert own.memory == max(one.memory for one in whole.programs)
    assert (own.choice.mesh["data"], own.choice.rows, own.choice.remat) == (4, 2, "none") and len(ranked) == 4


def test_settings_that_the_file_has_are_compiled_once(planner: Planner):
    fastest = choices_of(planner, RUN)[0].run
    ranked = search(planner, fastest, 2)
    assert [one.choice.own for one in ranked if one.choice.run == fastest] == [True] and len(ranked) == 3


def test_what_does_not_fit_says_how_much_more_the_others_take(planner: Planner, monkeypatch):
    # Five times what the estimate says is left for backward, as a compiler may find.
    choices = choices_of(planner, RUN)

    def compiled(planner: Planner, choice: Choice) -> Ranked:
        memory = choice.held + 5 * choice.saved
        return Ranked(choice, memory <= capacity, memory, choice.seconds, memory, choice.seconds)

    by_need = sorted(choice.held + 5 * choice.saved for choice in choices if choice.remat == "none")
    capacity = by_need[len(by_need) // 2]
    monkeypatch.setattr(search_module, "_compiled", compiled)
    monkeypatch.setattr(Planner, "chip", lambda self: ("TPU v5 lite", replace(CHIPS["v5e"], usable=capacity)))
    ranked = search(planner, RUN, 8)
    [own] = [one.choice for one in ranked if one.choice.own]
    fitting = [one for one in ranked if one.fits and one.choice is not own]
    others = [each for each in choices if (each.mesh, each.rows, each.remat) != (own.mesh, own.rows, own.remat)]
    expected = [each for each in others if each.held + 5 * each.saved <= capacity][:8]
    assert [one.choice.seconds for one in fitting] == [each.seconds for each in expected]
    # One miss of a remat tells of all that need as much or more.
    assert 0 < len(ranked) - len(fitting) <= 4 < sum(each.held + 5 * each.saved > capacity for each in choices)


def test_what_takes_longer_than_estimated_makes_room_for_other_meshes(planner: Planner, monkeypatch):
    choices = choices_of(planner, RUN)
    first = choices[0].mesh["tensor"]

    def compiled(planner: Planner, choice: Choice) -> Ranked:
        seconds = choice.seconds * (100.0 if choice.mesh["tensor"] == first else 1.0)
        return Ranked(choice, True, choice.held, seconds, choice.held, seconds)

    monkeypatch.setattr(search_module, "_compiled", compiled)
    ranked = search(planner, RUN, 4)
    assert [one.choice.mesh["tensor"] == first for one in ranked] == [False] * 4 + [True]  # the run's own
