"""Importance weights against their definitions in float64, one token or completion at a time.

Legend: B rows, T time.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from reasoning.core.errors import InputError
from reasoning.objectives.correction import MaskedImportance, TruncatedImportance, geometric, sequence, token

MASK = np.arange(12) < np.array([[12], [5], [1], [0], [9]])
"""Completions of several lengths, one of none."""

LOG_RATIO = np.random.default_rng(0).normal(0, 0.7, MASK.shape) * MASK


def ratios(level: str) -> np.ndarray:
    """The ratio of each token by its definition, in float64."""
    found = np.ones(MASK.shape)
    for row, length in enumerate(MASK.sum(axis=1)):
        own = [math.exp(value) for value in LOG_RATIO[row, :length]]
        whole = math.prod(own)
        shared = {"sequence": whole, "geometric": whole ** (1 / length) if length else 1.0}
        found[row, :length] = own if level == "token" else shared[level]
    return found


def given(correction, log_ratio=LOG_RATIO):
    return jax.jit(correction)(jnp.asarray(log_ratio, jnp.float32), jnp.asarray(MASK, jnp.float32))


LEVELS = {"token": token, "sequence": sequence, "geometric": geometric}


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("cap", [0.8, 1.5])
def test_truncated_weights_are_the_ratio_up_to_the_cap_and_all_tokens_are_kept(level, cap):
    weights, kept = given(TruncatedImportance(cap, LEVELS[level]))
    expected = np.minimum(ratios(level), cap)
    assert (expected == cap)[MASK].any() and (expected < cap)[MASK].any()
    np.testing.assert_allclose(weights * MASK, expected * MASK, rtol=2e-6)
    assert kept.all()


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(("floor", "cap"), [(0.0, 1.2), (0.5, 1.9)])
def test_masked_weights_are_the_ratio_within_the_bounds_and_the_others_are_rejected(level, floor, cap):
    weights, kept = given(MaskedImportance(floor, cap, LEVELS[level]))
    ratio = ratios(level)
    inside = (ratio >= floor) & (ratio <= cap)
    assert inside[MASK].any() and not inside[MASK].all()
    np.testing.assert_array_equal(kept[MASK], inside[MASK])
    np.testing.assert_allclose(weights * MASK, ratio * inside * MASK, rtol=2e-6)


@pytest.mark.parametrize("level", [token, sequence])
def test_no_ratio_overflows_whatever_the_probabilities(level):
    far = np.where(np.arange(12) % 2, 500.0, -500.0) * MASK
    for correction in (TruncatedImportance(2.0, level), MaskedImportance(0.5, 2.0, level)):
        weights, _ = given(correction, far)
        assert np.isfinite(weights).all() and weights.max() <= 2.0000002


def test_a_sampler_that_is_the_trainer_changes_nothing():
    for level in LEVELS.values():
        for correction in (TruncatedImportance(2.0, level), MaskedImportance(0.5, 2.0, level)):
            weights, kept = given(correction, 0 * LOG_RATIO)
            np.testing.assert_array_equal(weights, 1)
            assert kept.all()


def test_an_expectation_under_the_sampler_becomes_the_trainers():
    """Over a vocabulary of 7, with a cap that nothing reaches: sum q (p / q) f = sum p f."""
    random = np.random.default_rng(1)
    p, q = (np.exp(logits) / np.exp(logits).sum() for logits in random.normal(size=(2, 7)))
    values = random.normal(size=7)
    ratio = jnp.asarray(np.log(p / q)[:, None], jnp.float32)
    weights, _ = TruncatedImportance(1e6)(ratio, jnp.ones((7, 1)))
    np.testing.assert_allclose(
        (q * np.asarray(weights[:, 0], np.float64) * values).sum(), (p * values).sum(), rtol=1e-5
    )


def test_bounds_between_which_nothing_lies_are_refused():
    with pytest.raises(InputError, match=r"floor 3.0 above cap 2.0, so every token would be rejected; lower floor"):
        MaskedImportance(3.0, 2.0)
