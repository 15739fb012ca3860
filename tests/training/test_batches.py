"""Targets and masks of packed rows."""

import jax.numpy as jnp
import numpy as np
import pytest
from batched import token_batch

from reasoning.data.documents import WHOLE
from reasoning.objectives.aggregation import constant_length, sequence_mean, token_mean
from reasoning.training.batches import tokens_with_loss


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


@pytest.mark.parametrize("aggregate", [token_mean, sequence_mean, constant_length])
def test_a_token_weighs_its_share_of_what_it_would_weigh(aggregate):
    mask = np.array([[0, 1, WHOLE // 4, 0, WHOLE // 2, 1]])
    rows = {
        "tokens": jnp.asarray([[5, 6, 7, 8, 9, 4]]),
        "positions": jnp.asarray([[0, 1, 2, 0, 1, 2]]),
        "segments": jnp.asarray([[1, 1, 1, 2, 2, 2]]),
    }
    batch = token_batch({**rows, "loss_mask": jnp.asarray(mask)}, aggregate, 6)
    whole = token_batch({**rows, "loss_mask": jnp.asarray(np.minimum(mask, 1))}, aggregate, 6)
    np.testing.assert_array_equal(batch.mask, [[1, 0.25, 0, 0.5, 1, 0]])
    np.testing.assert_array_equal(batch.weights, whole.weights * batch.mask)
    assert tokens_with_loss(batch) == tokens_with_loss(whole) == 4
