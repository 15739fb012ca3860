"""The loss of reward models and its gradients, against float64 numpy over the model's own states.

Shapes: B rows, T time, D width.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import three_steps
from drawn import drawn

from reasoning.core.mesh import MeshShape, build_mesh, to_global
from reasoning.models.heads import DECODER, HEAD, Head, with_head
from reasoning.models.model import build_model, init_sharded
from reasoning.objectives.aggregation import token_mean
from reasoning.training.batches import LabelledBatch, labelled_batch
from reasoning.training.program import build_labelling, build_step
from reasoning.training.scoring import build_judging, labelled
from reasoning.training.state import new_state

HEAD_OF = Head()
MODEL = with_head(build_model(three_steps.CONFIG), HEAD_OF)
CHANCE = np.random.default_rng(0)


def rows() -> dict[str, np.ndarray]:
    """Four rows of two texts and padding, of which some places have labels; one lies on padding and counts nothing."""
    tokens = CHANCE.integers(1, 48, (4, 20)).astype(np.int32)
    segments = np.repeat([[1, 2, 0]], 4, axis=0).repeat([8, 7, 5], axis=1).astype(np.int32)
    positions = np.concatenate([np.arange(8), np.arange(7), np.arange(5)])[None].repeat(4, axis=0).astype(np.int32)
    labels = np.where(CHANCE.random((4, 20)) < 0.3, CHANCE.random((4, 20)), -1).astype(np.float32)
    labels[0, 7], labels[1, 17] = 1.0, 1.0
    return {"tokens": tokens, "positions": positions, "segments": segments, "labels": labels}


ROWS = rows()


def params_of() -> Any:
    params = drawn(MODEL.shapes, 0, 0.2)
    kernel = jnp.asarray(0.3 * np.random.default_rng(1).normal(size=(32, 1)), jnp.float32)
    return params | {HEAD: {"out": {"kernel": kernel, "bias": jnp.full((1,), 0.1)}}}


def batch_of() -> LabelledBatch:
    return labelled_batch({name: jnp.asarray(each) for name, each in ROWS.items()}, token_mean, 20)


def test_loss_and_head_s_gradient_are_the_formulas():
    params, batch = params_of(), batch_of()
    (loss, sums), gradient = jax.jit(
        jax.value_and_grad(lambda params: labelled(MODEL, HEAD_OF)(params, {}, batch)[:2], has_aux=True)
    )(params)
    rows = batch.rows
    hidden_BTD = np.float64(jax.jit(MODEL.hidden_states)(params, rows.tokens, rows.positions, rows.segments)[0])
    kernel = np.float64(params[HEAD]["out"]["kernel"])[:, 0]
    right_BT = 1 / (1 + np.exp(-(hidden_BTD @ kernel + 0.1)))
    counts = (ROWS["labels"] >= 0) & (ROWS["segments"] > 0)
    labels_BT, weights_BT = np.float64(ROWS["labels"]), counts / counts.sum()
    losses = -labels_BT * np.log(right_BT) - (1 - labels_BT) * np.log(1 - right_BT)
    np.testing.assert_allclose(loss, losses[counts].mean(), rtol=1e-5)
    slope_BT = weights_BT * (right_BT - labels_BT)  # dL/dz of each logit
    own = gradient[HEAD]["out"]
    np.testing.assert_allclose(own["kernel"][:, 0], np.einsum("bt,btd->d", slope_BT, hidden_BTD), rtol=2e-4, atol=1e-7)
    np.testing.assert_allclose(own["bias"], [slope_BT.sum()], rtol=1e-4)
    agree = ((right_BT > 0.5) == (labels_BT > 0.5))[counts]
    np.testing.assert_allclose(sums["accuracy"][0] / sums["accuracy"][1], agree.mean(), rtol=1e-6)
    np.testing.assert_allclose(sums["cross_entropy"][0] / sums["cross_entropy"][1], losses[counts].mean(), rtol=1e-5)


def test_the_decoder_s_gradient_is_the_slope_of_the_loss():
    params, batch = params_of(), batch_of()
    loss_of = jax.jit(lambda params: labelled(MODEL, HEAD_OF)(params, {}, batch)[0])
    gradient = jax.grad(loss_of)(params)
    assert float(jnp.abs(gradient[DECODER]["embedding"]).max()) > 0
    params, gradient = (jax.tree.map(np.asarray, each) for each in (params, gradient))
    size = np.sqrt(sum(np.vdot(each, each) for each in jax.tree.leaves(gradient)))
    direction = jax.tree.map(lambda each: each / size, gradient)
    step = 2e-3
    ahead, behind = (
        loss_of(jax.tree.map(lambda each, way, by=by: each + by * way, params, direction)) for by in (step, -step)
    )
    slope = sum(float(np.vdot(a, b)) for a, b in zip(*map(jax.tree.leaves, (gradient, direction)), strict=True))
    np.testing.assert_allclose((ahead - behind) / (2 * step), slope, rtol=1e-2)


@pytest.mark.slow
def test_a_step_is_the_same_on_sharded_devices_and_judging_gives_the_loss_s_probabilities():
    losses = {}
    for name, shape, devices in (("one", MeshShape(), 1), ("four", MeshShape(data=2, fsdp=2), 4)):
        mesh = build_mesh(shape, jax.devices()[:devices])
        model = with_head(build_model(three_steps.CONFIG, mesh), HEAD_OF)
        step = build_step(model, mesh, labelled(model, HEAD_OF), three_steps.OPTIMIZER, 1)
        state = new_state(init_sharded(model, mesh, jax.random.key(0)), three_steps.OPTIMIZER)
        batch = build_labelling(mesh, token_mean, 20)(to_global(mesh, ROWS))
        losses[name] = []
        for _ in range(3):
            state, metrics = step.step(state, {}, batch)
            losses[name].append(float(metrics["loss"][0]))
        judged_BT = np.asarray(build_judging(model, HEAD_OF, mesh)(state.params, batch.rows), np.float64)
        mask, labels = np.asarray(batch.mask) > 0, np.asarray(batch.labels, np.float64)
        after = float(labelled(model, HEAD_OF)(state.params, {}, batch)[0])
        losses_BT = -labels * np.log(judged_BT) - (1 - labels) * np.log(1 - judged_BT)
        np.testing.assert_allclose(losses_BT[mask].mean(), after, rtol=1e-5)
    assert losses["one"][0] == pytest.approx(np.log(2), rel=1e-6) and losses["one"][2] < losses["one"][0]
    np.testing.assert_allclose(losses["one"], losses["four"], rtol=1e-5)
