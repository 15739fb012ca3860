"""How a train step keeps experts evenly loaded: the balance loss, and biases that follow the load."""

from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import three_steps
from batched import token_batch
from drawn import drawn

from reasoning.core.mesh import MeshShape, build_mesh
from reasoning.models.config import BlockKind, MoE, Stack
from reasoning.models.model import build_model
from reasoning.objectives.aggregation import sequence_mean, token_mean
from reasoning.training.losses import supervised
from reasoning.training.program import build_step
from reasoning.training.state import new_state

RATE = 0.01
EXPERTS = MoE(experts=4, active=1, mlp_width=16, router="sigmoid", balance_loss=0.5, bias_rate=RATE)
CONFIG = replace(three_steps.CONFIG, stacks=(Stack(1), Stack(2, (BlockKind(moe=EXPERTS),))))


def without_balance() -> Any:
    even = replace(EXPERTS, balance_loss=0.0)
    return build_model(replace(CONFIG, stacks=(Stack(1), Stack(2, (BlockKind(moe=even),)))))


@pytest.fixture(scope="module")
def params() -> Any:
    return drawn(build_model(CONFIG).shapes, 0, 0.2)


@pytest.mark.parametrize("aggregate", [token_mean, sequence_mean])
def test_the_balance_loss_is_added_with_the_weight_of_each_rows_tokens(params, aggregate):
    model = build_model(CONFIG)
    batch = token_batch({name: jnp.asarray(rows) for name, rows in three_steps.token_rows().items()}, aggregate, 24)
    with_it = jax.jit(supervised(model))(params, {}, batch)
    alone = jax.jit(supervised(without_balance()))(params, {}, batch)
    aux = jax.jit(model.hidden_states)(params, batch.tokens, batch.positions, batch.segments)[1]
    expected = float(np.sum(np.asarray(batch.weights).sum(axis=1) * np.asarray(aux["balance"])))
    assert expected > 0.5  # two layers of at least the coefficient
    np.testing.assert_allclose(with_it[0] - alone[0], expected, rtol=1e-4)
    total, count = with_it[1]["experts/balance_loss"]
    np.testing.assert_allclose(total / count, np.mean(aux["balance"]), rtol=1e-5)


@pytest.mark.slow
def test_microbatches_and_meshes_change_neither_loss_nor_biases():
    results = []
    for sizes, microbatches in (({"data": 1}, 1), ({"data": 1}, 2), ({"data": 1, "fsdp": 2, "expert": 2}, 2)):
        mesh = build_mesh(MeshShape(**sizes), jax.devices()[: int(np.prod(list(sizes.values())))])
        model = build_model(CONFIG, mesh)
        program = build_step(model, mesh, supervised(model), three_steps.OPTIMIZER, microbatches)
        fresh = partial(new_state, optimizer=three_steps.OPTIMIZER)
        start = jax.jit(fresh, out_shardings=program.shardings)
        rows = {name: jnp.asarray(rows) for name, rows in three_steps.token_rows().items()}
        begun = drawn(model.shapes, 0, 0.2)
        begun["stack_1"]["block_0"]["moe"]["router_bias"] *= 0
        state, losses = start(begun), []
        for _ in range(3):
            state, sums = program.step(state, {}, token_batch(rows, token_mean, 48))
            losses.append(float(sums["loss"][0]))
        results.append((losses, np.asarray(state.params["stack_1"]["block_0"]["moe"]["router_bias"])))
    for losses, bias in results[1:]:
        np.testing.assert_allclose(losses, results[0][0], atol=1e-5)
        np.testing.assert_array_equal(bias, results[0][1])
    assert set(np.unique(np.round(results[0][1] / RATE))) <= {-3, -1, 0, 1, 3} and results[0][1].any()


def test_biases_alone_even_out_a_router_that_sends_everything_to_one_expert(params):
    model = build_model(CONFIG)
    rows = {name: jnp.asarray(rows) for name, rows in three_steps.token_rows().items()}
    stuck = jnp.zeros((2, 4)).at[:, 2].set(0.05)

    @jax.jit
    def settle(bias):
        def step(bias, _):
            now = {**params, "stack_1": {"block_0": {**params["stack_1"]["block_0"]}}}
            now["stack_1"]["block_0"]["moe"] = {**params["stack_1"]["block_0"]["moe"], "router_bias": bias}
            load = model.hidden_states(now, rows["tokens"], rows["positions"], rows["segments"])[1]["load"]
            return model.rebalance(now, load)["stack_1"]["block_0"]["moe"]["router_bias"], load["stack_1"]["block_0"]

        return jax.lax.scan(step, bias, length=60)[1]

    loads = settle(stuck)
    uneven = np.asarray(loads.max(axis=-1) / loads.mean(axis=-1))
    assert uneven[-10:].mean() < 1.5 < uneven[0].max()


def test_a_model_without_experts_measures_nothing():
    model = build_model(three_steps.CONFIG)
    tokens = jnp.zeros((1, 4), jnp.int32)
    shapes = jax.eval_shape(model.hidden_states, model.shapes, tokens, tokens, tokens)
    assert shapes[1] == {}
