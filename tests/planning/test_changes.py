"""Runs with other settings: what changes, what stays shared, and which changes are worth a trial."""

from dataclasses import replace

import pytest
from tiny_stages import BASE, MODEL, OPTIMIZER, examine, quiz, reinforce, tune

from reasoning.core.errors import InputError
from reasoning.core.mesh import MeshShape
from reasoning.pipeline.graph import build_graph
from reasoning.pipeline.run import Run
from reasoning.planning.changes import helping_changes, rebuilt, with_fields, with_microbatches, with_stage
from reasoning.stages.sft import SFT

TUNED = tune()
RUN = Run((TUNED, reinforce(start=TUNED)))
MESH = {"data": 2, "fsdp": 4, "context": 1, "tensor": 1, "expert": 1}


def test_a_run_that_nothing_changes_is_the_very_same():
    assert rebuilt(RUN, lambda value: value) is RUN
    assert with_fields(RUN, {"no_such_field": 1}) is RUN


def test_what_stages_share_they_share_still():
    changed = with_fields(RUN, {"remat": "block"})
    tuned, zero = (build_graph(changed.stages)[name].stage for name in ("sft", "zero"))
    assert isinstance(tuned, SFT) and zero.start is tuned
    assert build_graph(changed.stages)["base"].stage == replace(BASE, model=replace(MODEL, remat="block"))


def test_one_stage_s_settings_are_not_another_s():
    graph = build_graph(with_stage(RUN, "zero", {"microbatches": 2}).stages)
    assert {name: getattr(node.stage, "microbatches", None) for name, node in graph.items()} == {
        "corpus": None, "examples": None, "base": 1, "sft": 1, "zero": 2,
    }  # fmt: skip


def test_a_record_refuses_what_it_always_refuses():
    with pytest.raises(InputError, match="vote|pass"):
        with_fields(Run((examine(BASE),)), {"samples": 1})


def test_microbatches_are_made_of_an_update_s_rows():
    graph = build_graph(with_microbatches(RUN, lambda rows: rows // 2).stages)
    assert [graph[name].stage.microbatches for name in ("base", "sft", "zero")] == [4, 4, 8]


def test_changes_that_may_help_are_all_other_runs():
    changes = {change.words: change.run() for change in helping_changes(RUN, RUN.stages[1], MESH)}
    assert list(changes) == [
        "zero.microbatches = 2", "zero.microbatches = 4", "remat = 'dots'", "remat = 'block'", "remat = 'offload'",
        "momentum_dtype = 'bfloat16'", "zero.slots = 32", "mesh: fsdp 8", "mesh: fsdp 4, tensor 2",
    ]  # fmt: skip
    assert all(run != RUN for run in changes.values())
    assert changes["mesh: fsdp 8"].mesh == MeshShape(data=1, fsdp=8)
    assert changes["momentum_dtype = 'bfloat16'"].stages[0].optimizer == replace(OPTIMIZER, momentum_dtype="bfloat16")


def test_an_exam_is_asked_in_fewer_slots_by_its_own_stage_alone():
    run = Run((reinforce(probe=quiz(slots=8), probe_every=2), examine(BASE, quiz=quiz(slots=8))))
    [change] = [each for each in helping_changes(run, run.stages[1], MESH) if "slots" in each.words]
    zero, exam = change.run().stages
    assert (exam.quiz.slots, zero.probe.slots) == (4, 8)
