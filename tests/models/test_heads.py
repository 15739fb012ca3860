"""Heads against float64 numpy, and decoders that keep their own states beside one."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import three_steps
from drawn import drawn

from reasoning.core.mesh import MeshShape, build_mesh
from reasoning.models.heads import DECODER, HEAD, Head, head_logits, with_head
from reasoning.models.model import build_model, parameter_shardings

MODEL = build_model(three_steps.CONFIG)
ROWS = (jnp.array([[5, 6, 7, 8]]), jnp.arange(4)[None], jnp.ones((1, 4), jnp.int32))


def random_head(head: Head, width: int) -> Any:
    return drawn(jax.eval_shape(lambda: head.zeros(width)), 1, 1.0)


@pytest.mark.parametrize("head", [Head(), Head(classes=2), Head(hidden=7, classes=2), Head(hidden=3)])
def test_a_head_s_probability_is_that_of_its_classes(head: Head):
    hidden_BTD = jnp.asarray(np.random.default_rng(0).normal(size=(2, 3, 8)), jnp.float32)
    own = random_head(head, 8)
    states = np.asarray(hidden_BTD, np.float64)
    if head.hidden:
        states = np.maximum(states @ np.float64(own["hidden"]["kernel"]) + np.float64(own["hidden"]["bias"]), 0)
    logits = states @ np.float64(own["out"]["kernel"]) + np.float64(own["out"]["bias"])
    if head.classes == 2:
        expected = np.exp(logits[..., 1]) / np.exp(logits).sum(-1)
    else:
        expected = 1 / (1 + np.exp(-logits[..., 0]))
    np.testing.assert_allclose(jax.nn.sigmoid(head_logits(head, {HEAD: own}, hidden_BTD)), expected, rtol=3e-6)


def test_a_headed_model_is_its_decoder_with_parameters_more_and_begins_undecided():
    model = with_head(MODEL, Head())
    assert with_head(MODEL, Head()) is model
    params = jax.jit(model.init)(jax.random.key(0))
    assert jax.tree.map(lambda leaf: leaf.shape, params) == jax.tree.map(lambda leaf: leaf.shape, model.shapes)
    states, _ = jax.jit(model.hidden_states)(params, *ROWS)
    np.testing.assert_array_equal(states, jax.jit(MODEL.hidden_states)(params[DECODER], *ROWS)[0])
    assert not head_logits(Head(), params, states).any()
    np.testing.assert_array_equal(model.unembedding(params), MODEL.unembedding(params[DECODER]))
    mesh = build_mesh(MeshShape(fsdp=2), jax.devices()[:2])
    places = parameter_shardings(with_head(build_model(three_steps.CONFIG, mesh), Head(hidden=4, classes=2)), mesh)
    assert places[HEAD]["hidden"]["kernel"].spec[0] == "fsdp"
