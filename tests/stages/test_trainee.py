"""Stages that train by LoRA: only adapters change, the artifact is a whole model, and it resumes to the same bits."""

import json
import shutil
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import numpy as np
import pytest
import tiny_stages
from tiny_stages import BASE, MODEL, TRAIN, Surroundings, examine, reinforce, tune, work

from reasoning.core.artifact import Artifact
from reasoning.core.errors import InputError
from reasoning.core.mesh import MeshShape, build_mesh
from reasoning.models.lora import LoRA, merge_adapters
from reasoning.models.model import build_model, parameter_count
from reasoning.stages import Distill, OnPolicyDistill
from reasoning.stages.checkpoint import model_of, params_of, read_adapters, tokenizer_of
from reasoning.stages.trainee import sampler_of, trainee_of
from reasoning.training.policy_rows import every_group
from reasoning.training.preemption import Interrupted

LOW = LoRA(rank=2, alpha=4.0)
MESH = build_mesh(MeshShape(), jax.devices()[:1])


def params(artifact: Artifact) -> dict[str, Any]:
    return params_of(artifact, model_of(artifact, MESH), MESH)


def changed(before: Artifact, after: Artifact) -> set[str]:
    """Names of the matrices that differ."""
    compared = jax.tree.map(lambda one, other: not np.array_equal(one, other), params(before), params(after))
    return {path[-1].key for path, differs in jax.tree_util.tree_leaves_with_path(compared) if differs}


def test_sft_with_lora_learns(base, examples, tmp_path):
    optimizer = replace(tiny_stages.OPTIMIZER, learning_rate=3e-2)
    stage = tune(steps=24, optimizer=optimizer, lora=LoRA(rank=8, alpha=16.0))
    losses = [row["loss"] for row in work(stage, tmp_path, {"start": base, "data": examples}).metrics()]
    assert np.mean(losses[-3:]) < losses[0] - 0.3


def test_only_the_matrices_that_lora_adapts_change(base, examples, tmp_path):
    made = work(tune(lora=replace(LOW, targets=("query", "up"))), tmp_path, {"start": base, "data": examples})
    assert changed(base, made) == {"query", "up"}


@pytest.mark.slow
def test_what_was_learnt_has_the_rank_of_the_adapters_which_lie_beside_the_model(base, examples, tmp_path):
    made = work(tune(lora=LOW), tmp_path, {"start": base, "data": examples})
    lora, adapters = read_adapters(made.path, MESH)
    assert lora == LOW
    before, after = (np.asarray(params(one)["stack_0"]["block_0"]["mlp"]["up"][0]) for one in (base, made))
    sizes = np.linalg.svd(np.float64(after - before), compute_uv=False)
    assert sizes[1] > 1e-4 and sizes[2] < 1e-6
    pair = adapters["stack_0"]["block_0"]["mlp"]["up_lora"]
    np.testing.assert_allclose(after, before + 2.0 * np.asarray(pair["down"][0] @ pair["up"][0]), atol=1e-5)
    assert json.loads((made.path / "adapter.json").read_text())["base"] == base.path.name


def test_what_is_saved_while_training_is_tiny_and_a_stopped_run_goes_on_to_the_same_bits(base, examples, tmp_path):
    stage, inputs = tune(steps=6, lora=LOW), {"start": base, "data": examples}
    whole = work(stage, tmp_path / "whole", inputs)
    with pytest.raises(Interrupted):
        work(stage, tmp_path / "parts", inputs, Surroundings(stop_at=3))
    [saved] = (tmp_path / "parts" / "sft" / "checkpoints").glob("step_*/manifest.json")
    sizes = [np.prod(leaf["shape"]) for leaf in json.loads(saved.read_text())["leaves"]]
    wide = sum(leaf.size for leaf in jax.tree.leaves(build_model(MODEL).shapes))
    assert sum(sizes) < wide / 3
    resumed = work(stage, tmp_path / "parts", inputs)
    assert resumed.hash == whole.hash


@pytest.mark.slow
def test_a_stopped_grpo_goes_on_to_the_same_bits(base, tmp_path):
    stage, inputs = reinforce(steps=3, kl_coefficient=0.1, lora=LOW), {"start": base}
    whole = work(stage, tmp_path / "whole", inputs)
    with pytest.raises(Interrupted):
        work(stage, tmp_path / "parts", inputs, Surroundings(stop_at=2))
    assert work(stage, tmp_path / "parts", inputs).hash == whole.hash


def test_an_exam_reads_the_artifact_as_any_other(base, examples, tmp_path):
    made = work(tune(lora=LOW), tmp_path, {"start": base, "data": examples})
    results = work(examine(tune()), tmp_path, {"checkpoints": (made,)}).results
    assert results and model_of(made, MESH) is model_of(base, MESH)


@pytest.mark.slow
def test_grpo_with_lora_samples_from_the_merged_model_and_measures_kl_from_the_frozen_base(base, tmp_path):
    stage = reinforce(steps=3, kl_coefficient=0.1, updates=2, lora=LOW)
    rows = work(stage, tmp_path, {"start": base}).metrics()
    kls = [row["kl"] for row in rows]
    assert kls[0] < kls[-1]  # the first row's mean has one update from the base in it, the last one five
    assert all(row["sampling/sampling_logp_difference/mean"] < 1e-4 for row in rows)


@pytest.mark.slow
def test_the_first_step_of_grpo_with_lora_has_the_loss_of_training_whole(base, tmp_path):
    changes = {"steps": 1, "kl_coefficient": 0.5}
    whole, low = (
        work(reinforce(lora=lora, **changes), tmp_path / str(lora is None), {"start": base}).metrics()[0]
        for lora in (None, LOW)
    )
    for name in ("loss", "kl", "entropy", "reward", "completions/mean_length"):
        np.testing.assert_allclose(low[name], whole[name], rtol=1e-5, atol=1e-6)
    assert low["grad_norm"] != whole["grad_norm"] > 0


def test_the_plan_tells_how_many_parameters_train():
    attention, mlp = 4 * 2 * (16 + 16), 2 * 2 * (16 + 32)  # matrices x rank x both sides, of the one layer
    assert tune(lora=LOW).plan() == {"trained parameters": attention + mlp, "steps": 6, "rows": 48}
    assert "trained parameters" in reinforce(start=tune(), lora=LOW).plan()


def test_a_target_that_the_start_lacks_is_refused_before_any_work():
    for stage in (tune(lora=replace(LOW, targets=("gate",))), reinforce(lora=replace(LOW, targets=("gate",)))):
        with pytest.raises(InputError, match="LoRA finds no gate to adapt"):
            stage.check(MESH)


def test_on_a_mesh_weights_are_published_where_the_engine_wants_them_and_sample_as_on_one_device(base):
    completions = []
    for shape, count in ((MeshShape(data=2, fsdp=2, tensor=2), 8), (MeshShape(), 1)):
        mesh = build_mesh(shape, jax.devices()[:count])
        stage, context = reinforce(lora=LOW), replace(Surroundings().context(), mesh=mesh)
        trainee = trainee_of(stage, base, context)
        adapters = jax.jit(lambda tree: jax.tree.map(lambda leaf: leaf + 0.1, tree))(trainee.start())
        sampler = sampler_of(stage, trainee, tokenizer_of(base), context)
        weights = trainee.publish(sampler.engine, adapters)
        by_hand = jax.jit(partial(merge_adapters, LOW))(trainee.all_params(adapters))
        for merged in (by_hand, trainee.merged_params(adapters)):
            alike = sampler.engine.publish(merged)
            for one, other in zip(jax.tree.leaves(weights), jax.tree.leaves(alike), strict=True):
                assert one.sharding == other.sharding
                np.testing.assert_allclose(one, other, atol=1e-5)
        completions.append(sampler(adapters, 0).rollouts.tokens)
    np.testing.assert_array_equal(*completions)


@pytest.mark.parametrize("on_policy", [False, True])
def test_distillation_with_lora_changes_only_its_matrices_and_its_first_loss_is_that_of_training_whole(
    base, examples, tmp_path, on_policy
):
    common = {
        "name": "kl",
        "start": tune(),
        "teacher": tune(name="teacher"),
        "optimizer": tiny_stages.OPTIMIZER,
        "steps": 2,
    }
    if on_policy:
        make, sizes = OnPolicyDistill, {"problems": TRAIN, "max_new_tokens": 8, "questions": 4, "samples": 4}
    else:
        make, sizes = Distill, {"data": tiny_stages.DEMONSTRATIONS, "batch": 8}
    teacher = work(tune(name="teacher"), tmp_path, {"start": base, "data": examples})
    inputs = {"start": base, "teacher": teacher, "data": examples}
    whole, low = (
        work(make(**common, **sizes, lora=lora), tmp_path / str(lora is None), inputs)
        for lora in (None, replace(LOW, targets=("value", "down")))
    )
    np.testing.assert_allclose(low.metrics()[0]["loss"], whole.metrics()[0]["loss"], rtol=1e-5)
    assert changed(base, low) == {"value", "down"}


@pytest.mark.slow
def test_a_base_is_held_in_the_dtype_of_the_computation_and_saved_as_it_was(corpus, examples, tmp_path):
    half = replace(BASE, name="half", steps=2, model=replace(MODEL, compute_dtype="bfloat16"))
    start = work(half, tmp_path, {"data": corpus})
    stage = tune(steps=2, start=half, lora=replace(LOW, targets=("query",)))
    trainee = trainee_of(stage, start, Surroundings().context())
    held = sum(leaf.nbytes for leaf in jax.tree.leaves(trainee.base))
    assert held == 2 * parameter_count(trainee.merged_model)
    assert changed(start, work(stage, tmp_path, {"start": start, "data": examples})) == {"query"}


@pytest.mark.slow
def test_the_difference_of_sampler_and_trainer_shows_that_bfloat16_rounds_merged_adapters(base, tmp_path):
    """With one update a step too: in float32 it is rounding, and what was sampled is what is trained."""
    stage = reinforce(lora=LOW, select=every_group)
    told = {}
    for dtype in ("float32", "bfloat16"):
        start = tmp_path / dtype
        shutil.copytree(base.path, start)
        config = start / "model.json"
        config.write_text(json.dumps(json.loads(config.read_text()) | {"compute_dtype": dtype}))
        rows = work(stage, tmp_path / f"{dtype}_run", {"start": replace(base, path=start)}).metrics()
        told[dtype] = [row["sampling/sampling_logp_difference/mean"] for row in rows]
    assert max(told["float32"]) < 1e-5
    assert min(told["bfloat16"]) > 20 * max(told["float32"])
