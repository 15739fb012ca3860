"""A step of a model with LoRA trains its adapters alone, on any mesh, and has no gradient of the size of its base."""

import re
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import three_steps
from drawn import placed

from reasoning.core import mesh as meshes
from reasoning.core.mesh import MeshShape, build_mesh
from reasoning.models.config import BlockKind, ModelConfig, MoE, Stack
from reasoning.models.lora import LoRA, base_of, with_adapters
from reasoning.models.model import (
    Model,
    build_model,
    frozen_params,
    init_adapters,
    parameter_count,
    with_lora,
    without_lora,
)
from reasoning.objectives.divergence import forward
from reasoning.objectives.kl import k3
from reasoning.objectives.policy import Clipped
from reasoning.training.losses import distill, policy, supervised
from reasoning.training.program import build_scoring, build_step, constants
from reasoning.training.state import new_state

LOW = LoRA(rank=4, alpha=8.0)
ONE = build_mesh(MeshShape(), jax.devices()[:1])


def adapted(mesh: meshes.Mesh, config: ModelConfig = three_steps.CONFIG) -> tuple[Model, Any]:
    """A model with LoRA, and its base."""
    model = with_lora(build_model(config, mesh), LOW)
    return model, placed(without_lora(model), mesh)


def run(model: Model, base: Any, loss_fn: Any, batch: Any, microbatches: int = 1, teacher: Any = None) -> Any:
    """The losses of three steps, and the state after them."""
    assert model.mesh is not None
    optimizer = three_steps.OPTIMIZER
    program = build_step(
        model, model.mesh, loss_fn, optimizer, microbatches, None if teacher is None else teacher.model
    )
    initial = jax.jit(lambda params: new_state(params, optimizer), out_shardings=program.shardings)
    state, losses = initial(init_adapters(model, model.mesh, jax.random.key(2))), []
    frozen = constants(base, {} if teacher is None else teacher.params)
    for _ in range(3):
        state, sums = program.step(state, frozen, batch)
        losses.append(float(sums["loss"][0]))
    return losses, state


def all_losses(shape: MeshShape, microbatches: int, devices: Any = None) -> dict[str, list[float]]:
    model, base = adapted(build_mesh(shape, devices))
    found, plain = {}, without_lora(model)
    case = three_steps.supervised_case(plain, base)
    found["sft"] = run(model, base, supervised(model), case.batch, microbatches)[0]
    loss_fn = policy(model, loss=Clipped(0.1, 0.2), kl=k3, kl_coefficient=0.05, temperature=0.9)
    found["grpo"] = run(model, base, loss_fn, three_steps.policy_case(plain, base).batch, microbatches)[0]
    teacher = three_steps.teacher_of(plain)
    found["kl"] = run(
        model, base, distill(teacher.model, model, divergence=forward), case.batch, microbatches, teacher
    )[0]
    return found


@pytest.mark.slow
def test_three_steps_of_each_loss_are_the_same_on_eight_devices_as_on_one():
    alone = all_losses(MeshShape(), 1, jax.devices()[:1])
    assert all(losses[2] < losses[0] for losses in alone.values())
    spread = all_losses(MeshShape(data=2, fsdp=2, tensor=2), 2)
    for name, losses in alone.items():
        np.testing.assert_allclose(spread[name], losses, rtol=2e-5, atol=1e-6)


def test_the_state_is_the_adapters_and_their_moments_and_the_base_stays_where_and_what_it_is():
    model, base = adapted(ONE)
    before = jax.tree.map(np.array, base)
    batch = three_steps.supervised_case(without_lora(model), base).batch
    _, state = run(model, base, supervised(model), batch)
    jax.tree.map(np.testing.assert_array_equal, base, before)
    narrow = parameter_count(model) - parameter_count(without_lora(model))
    floats = sum(leaf.size for leaf in jax.tree.leaves(state) if jnp.issubdtype(leaf.dtype, jnp.floating))
    assert 3 * narrow <= floats < 3 * narrow + 20
    assert narrow < parameter_count(without_lora(model)) / 3
    buffers = {leaf.unsafe_buffer_pointer() for leaf in jax.tree.leaves(base)}
    assert not buffers & {leaf.unsafe_buffer_pointer() for leaf in jax.tree.leaves(state.params)}


@pytest.mark.slow
def test_no_step_holds_a_gradient_or_a_copy_of_the_base():
    """Tokens are few and matrices large, so that whatever has the size of a matrix shows in the program's memory."""
    config = replace(
        three_steps.CONFIG, width=128, heads=4, kv_heads=4, mlp_width=512, vocabulary=16, stacks=(Stack(16),)
    )
    model = with_lora(build_model(config, ONE), LOW)
    rows = {name: np.ones((1, 8), np.int32) for name in ("tokens", "positions", "segments", "loss_mask")}
    batch = three_steps.build_batching(ONE, three_steps.token_mean, 8)(meshes.to_global(ONE, rows))

    def compiled(one: Model) -> Any:
        program = build_step(one, ONE, supervised(one), three_steps.OPTIMIZER, 1)
        return program.step.lower(program.abstract, program.frozen, batch).compile()

    wide = 4 * parameter_count(without_lora(model))
    low, whole = compiled(model), compiled(without_lora(model))
    assert whole.memory_analysis().temp_size_in_bytes > wide  # so the measure shows a gradient where there is one
    assert low.memory_analysis().temp_size_in_bytes < wide / 3  # activations, and slices of a layer or two
    assert low.memory_analysis().output_size_in_bytes < wide / 3
    stacked = re.compile(r"f32\[16,128,512\]\S* (?!parameter|get-tuple-element|bitcast)(\w\S*)\(")
    assert stacked.findall(whole.as_text())
    assert not stacked.findall(low.as_text())


@pytest.mark.slow
def test_a_base_in_the_dtype_of_the_computation_gives_the_very_losses_of_a_float32_one():
    model, base = adapted(ONE, replace(three_steps.CONFIG, compute_dtype="bfloat16"))
    batch = three_steps.supervised_case(without_lora(model), base).batch
    narrow = frozen_params(model, base)
    assert narrow["head"].dtype == jnp.bfloat16
    assert run(model, narrow, supervised(model), batch)[0] == run(model, base, supervised(model), batch)[0]


def test_reference_log_probabilities_are_the_adapted_models_at_first_and_the_bases_later():
    model, base = adapted(ONE)
    plain = without_lora(model)
    batch = three_steps.policy_case(plain, base).batch
    score, reference = build_scoring(model, ONE, 0.9), build_scoring(plain, ONE, 0.9)
    fresh = with_adapters(base, init_adapters(model, ONE, jax.random.key(2)))
    np.testing.assert_array_equal(score(fresh, batch.rows).log_prob_BT, reference(base, batch.rows).log_prob_BT)
    loss_fn = policy(model, loss=Clipped(0.1, 0.2), kl=k3, kl_coefficient=0.05, temperature=0.9)
    _, state = run(model, base, loss_fn, batch)
    now = score(with_adapters(base, state.params), batch.rows).log_prob_BT
    then = reference(base, batch.rows).log_prob_BT
    mask = np.asarray(batch.rows.mask) > 0
    assert np.abs(np.asarray(now - then)[mask]).max() > 1e-3
    [kl, count] = build_step(model, ONE, loss_fn, three_steps.OPTIMIZER, 1).step(state, constants(base, {}), batch)[1][
        "kl"
    ]
    apart = np.float64(then - now)[mask]
    np.testing.assert_allclose(kl / count, np.mean(np.exp(apart) - apart - 1), rtol=1e-3)


@pytest.mark.slow
def test_a_frozen_routers_bias_stays_although_its_experts_are_unevenly_loaded():
    moe = MoE(experts=4, active=1, mlp_width=8, shared=1, router="sigmoid", bias_rate=0.1, balance_loss=0.1)
    model, base = adapted(ONE, replace(three_steps.CONFIG, stacks=(Stack(1, (BlockKind(moe=moe),)),)))
    batch = three_steps.supervised_case(without_lora(model), base).batch
    losses, state = run(model, base, supervised(model), batch)
    assert losses[2] < losses[0]
    assert jax.tree.structure(state.params) == jax.tree.structure(init_adapters(model, ONE, jax.random.key(0)))
    assert jax.tree.structure(base_of(with_adapters(base, state.params))) == jax.tree.structure(base)
