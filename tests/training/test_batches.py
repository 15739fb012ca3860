"""Targets and masks of packed rows."""

import jax.numpy as jnp
import numpy as np

from reasoning.objectives.aggregation import token_mean
from reasoning.training.batches import token_batch


def test_each_place_predicts_the_next_token_of_its_own_segment():
    rows = {
        "tokens": jnp.asarray([[5, 6, 7, 8, 9, 0]]),
        "positions": jnp.asarray([[0, 1, 2, 0, 1, 0]]),
        "segments": jnp.asarray([[1, 1, 1, 2, 2, 0]]),
        "loss_mask": jnp.asarray([[0, 1, 1, 0, 1, 0]]),
    }
    batch = token_batch(rows, token_mean, 6)
    np.testing.assert_array_equal(batch.mask, [[1, 1, 0, 1, 0, 0]])
    np.testing.assert_array_equal(batch.targets[0, [0, 1, 3]], [6, 7, 9])
    np.testing.assert_allclose(batch.weights, batch.mask / 3)


def test_the_last_place_of_a_full_row_predicts_nothing():
    row = jnp.ones((1, 4), jnp.int32)
    batch = token_batch({"tokens": row, "positions": row, "segments": row, "loss_mask": row}, token_mean, 4)
    np.testing.assert_array_equal(batch.mask, [[1, 1, 1, 0]])
