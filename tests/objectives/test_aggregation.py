"""Aggregation weights against the papers' sums in float64, and their exactness over microbatches.

Legend: B rows, T time.
"""

import jax.numpy as jnp
import numpy as np
import pytest

from reasoning.core.errors import InputError
from reasoning.objectives.aggregation import constant_length, sequence_mean, token_mean

LENGTH = 12
AGGREGATIONS = pytest.mark.parametrize("aggregate", [token_mean, sequence_mean, constant_length])


def batch():
    """Losses and a ragged mask of 8 completions of at most 10 tokens, one of them fully masked."""
    random = np.random.default_rng(0)
    lengths = np.array([10, 1, 3, 0, 7, 10, 2, 5])
    return random.normal(size=(8, 10)), (np.arange(10)[None, :] < lengths[:, None]).astype(np.int32)


def weights_of(aggregate, mask, segments=None):
    """The weights; of rows with one document each, where ``segments`` aren't given."""
    segments = np.ones(mask.shape, np.int32) if segments is None else segments
    further = (jnp.asarray(segments),) if aggregate is sequence_mean else ()
    return aggregate(jnp.asarray(mask), LENGTH, *further)


def loss_of(aggregate, losses, mask):
    return float(jnp.sum(weights_of(aggregate, mask) * jnp.asarray(losses, jnp.float32)))


def test_token_mean_is_the_mean_over_all_tokens():
    losses, mask = batch()
    assert loss_of(token_mean, losses, mask) == pytest.approx(losses[mask == 1].mean(), rel=1e-5)


def test_sequence_mean_is_the_mean_over_completions_of_their_token_means():
    losses, mask = batch()
    rows = [row[kept == 1].mean() for row, kept in zip(losses, mask, strict=True) if kept.any()]
    assert loss_of(sequence_mean, losses, mask) == pytest.approx(np.mean(rows), rel=1e-5)


def test_constant_length_divides_by_all_rows_times_the_longest_completion():
    losses, mask = batch()
    assert loss_of(constant_length, losses, mask) == pytest.approx((losses * mask).sum() / (8 * 12), rel=1e-5)


@AGGREGATIONS
@pytest.mark.parametrize("dtype", [bool, np.int32, np.float32])
def test_weights_are_float32_and_zero_exactly_where_the_mask_is(aggregate, dtype):
    _, mask = batch()
    weights = weights_of(aggregate, mask.astype(dtype))
    assert weights.dtype == jnp.float32
    np.testing.assert_array_equal(np.asarray(weights) > 0, mask == 1)


@AGGREGATIONS
def test_a_fully_masked_batch_gives_zeros_and_no_nan(aggregate):
    np.testing.assert_array_equal(weights_of(aggregate, np.zeros((3, 4), np.int32)), 0)


@AGGREGATIONS
@pytest.mark.parametrize("microbatches", [2, 4, 8])
def test_weights_of_the_global_mask_add_up_over_microbatches(aggregate, microbatches):
    losses, mask = batch()
    weights = np.asarray(weights_of(aggregate, mask), np.float64)
    parts = zip(np.split(weights, microbatches), np.split(losses, microbatches), strict=True)
    assert sum((w * x).sum() for w, x in parts) == pytest.approx(loss_of(aggregate, losses, mask), rel=1e-5)


@AGGREGATIONS
def test_padding_in_time_changes_no_weight(aggregate):
    _, mask = batch()
    wider = np.pad(mask, ((0, 0), (0, 5)))
    weights = weights_of(aggregate, mask)
    np.testing.assert_array_equal(weights_of(aggregate, wider)[:, :10], weights)


@pytest.mark.parametrize("aggregate", [token_mean, sequence_mean])
def test_empty_rows_change_no_weight_of_the_means(aggregate):
    _, mask = batch()
    taller = np.pad(mask, ((0, 3), (0, 0)))
    np.testing.assert_array_equal(weights_of(aggregate, taller)[:8], weights_of(aggregate, mask))


def test_replies_packed_into_rows_weigh_what_they_weigh_in_rows_of_their_own():
    """Prompts of 2 tokens; replies of 2 and 20 share a row, another of 2 has one: a third of the loss each."""
    segments, mask = np.zeros((2, 2, 26), np.int32)
    segments[0, :4], segments[0, 4:26], segments[1, :4] = 1, 2, 1
    mask[0, 2:4], mask[0, 6:26], mask[1, 2:4] = 1, 1, 1
    weights = np.asarray(weights_of(sequence_mean, mask, segments))
    replies = weights[0, :4].sum(), weights[0, 4:].sum(), weights[1].sum()
    np.testing.assert_allclose(replies, [1 / 3, 1 / 3, 1 / 3], rtol=1e-6)


def test_the_sequence_mean_of_any_packed_rows_is_that_of_their_documents_one_by_one():
    random = np.random.default_rng(0)
    segments, mask = np.zeros((2, 6, 40), np.int32)
    for row in range(6):
        ends = np.sort(random.choice(np.arange(1, 40), size=random.integers(1, 8), replace=False))
        for number, (start, end) in enumerate(zip([0, *ends[:-1]], ends, strict=True), 1):
            segments[row, start:end] = number
            mask[row, start:end] = random.random(end - start) < random.choice([0.0, 0.5, 1.0])
    losses = random.normal(size=mask.shape)
    chosen = [(row, n) for row in range(6) for n in range(1, 9) if (mask[row] * (segments[row] == n)).any()]
    means = [losses[row][(segments[row] == n) & (mask[row] == 1)].mean() for row, n in chosen]
    weights = np.asarray(weights_of(sequence_mean, mask, segments), np.float64)
    assert (weights * losses).sum() == pytest.approx(np.mean(means), rel=1e-5)
    np.testing.assert_array_equal(weights > 0, mask == 1)


def test_a_length_below_one_is_refused():
    with pytest.raises(InputError, match="length is 0"):
        constant_length(jnp.ones((1, 1)), 0)
