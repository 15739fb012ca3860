"""Blocks of multi-token prediction (arXiv 2412.19437, section 2.2): what each depth reads."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import three_steps
from drawn import drawn

from reasoning.models.config import Stack
from reasoning.models.model import build_model
from reasoning.models.multi_token import shifted

CONFIG = replace(three_steps.CONFIG, stacks=(Stack(1),), multi_token=2)


def test_a_depth_sees_no_token_that_it_is_to_predict():
    model = build_model(CONFIG)
    params = drawn(model.shapes, 0, 0.2)
    rows = {name: jnp.asarray(values) for name, values in three_steps.token_rows().items()}
    positions, segments = rows["positions"], rows["segments"]
    place, row = 3, 0

    @jax.jit
    def states(tokens):
        hidden, _ = model.hidden_states(params, tokens, positions, segments)
        return model.multi_token_states(params, hidden, tokens, positions, segments)[0]

    for depth, (before, after) in enumerate(
        zip(states(rows["tokens"]), states(rows["tokens"].at[row, place + 2].set(7)), strict=True), start=1
    ):
        change = np.abs(np.asarray(after - before)).max(axis=-1)[row]
        assert np.all(change[: place + 2 - depth] == 0)
        assert change[place + 2 - depth] > 0


def test_a_shift_stays_within_its_segment():
    values, segments = jnp.asarray([[1, 2, 3, 4, 5, 6]]), jnp.asarray([[1, 1, 1, 2, 2, 0]])
    np.testing.assert_array_equal(shifted(values, segments, 1), [[2, 3, 0, 5, 0, 0]])
    np.testing.assert_array_equal(shifted(values, segments, 2, fill=-1), [[3, -1, -1, -1, -1, -1]])
