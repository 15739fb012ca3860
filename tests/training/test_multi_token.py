"""Multi-token prediction (arXiv 2412.19437, section 2.2): what each depth reads, predicts and weighs."""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import three_steps

from reasoning.models.config import Stack
from reasoning.models.model import build_model
from reasoning.objectives.aggregation import token_mean
from reasoning.training.batches import TokenBatch, token_batch
from reasoning.training.losses import supervised

CONFIG = replace(three_steps.CONFIG, stacks=(Stack(1),), multi_token=2, multi_token_coefficient=0.3)
KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def model() -> Any:
    return build_model(CONFIG)


@pytest.fixture(scope="module")
def params(model: Any) -> Any:
    return jax.jit(model.init)(KEY)


def batch() -> TokenBatch:
    return token_batch({name: jnp.asarray(rows) for name, rows in three_steps.token_rows().items()}, token_mean, 48)


def test_the_loss_is_that_of_the_next_token_and_a_share_of_those_further_on(model, params):
    rows = batch()
    loss, sums, _ = jax.jit(supervised(model))(params, {}, {}, rows, KEY)
    plain = build_model(replace(CONFIG, multi_token=0))
    own = {name: leaf for name, leaf in params.items() if name in plain.shapes}
    alone, _, _ = jax.jit(supervised(plain))(own, {}, {}, rows, KEY)
    hidden, _ = model.hidden_states(params, rows.tokens, rows.positions, rows.segments)
    states, _ = model.multi_token_states(params, hidden, rows.tokens, rows.positions, rows.segments)
    tokens, segments, expected = np.asarray(rows.tokens), np.asarray(rows.segments), 0.0
    weight = np.asarray(rows.weights).max()  # token mean: one over the number of predictions
    for depth, of_depth in enumerate(states, start=1):
        log_probs = np.asarray(jax.nn.log_softmax(of_depth @ model.unembedding(params)), np.float64)
        terms = [
            -log_probs[row, place, tokens[row, place + depth + 1]]
            for row, place in np.ndindex(16, 48 - depth - 1)
            if segments[row, place] > 0 and len(set(segments[row, place : place + depth + 2])) == 1
        ]
        total, count = sums[f"cross_entropy/further_{depth}"]
        assert count == len(terms)
        np.testing.assert_allclose(total, sum(terms), rtol=1e-4)
        expected += 0.3 / 2 * weight * sum(terms)
    np.testing.assert_allclose(loss - alone, expected, rtol=1e-4)
