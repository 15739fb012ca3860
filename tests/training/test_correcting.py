"""A corrected batch against the papers' sums: rejected tokens leave numerator and denominator, and parts add up.

Shapes: B rows, T time.
"""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import full_softmax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from policy_batches import MODEL, NEW, off_policy, parameters, weights_by_formula

from reasoning.core.errors import InputError
from reasoning.objectives.aggregation import constant_length, sequence_mean, token_mean
from reasoning.objectives.correction import Importance, MaskedImportance, TruncatedImportance, sequence, token
from reasoning.objectives.kl import k3
from reasoning.objectives.policy import Clipped
from reasoning.training.batches import PolicyBatch
from reasoning.training.correcting import correct
from reasoning.training.losses import policy

FLOOR, CAP, BETA = 0.5, 1.6, 0.04
TRUNCATED, MASKED = TruncatedImportance(CAP), MaskedImportance(FLOOR, CAP)


@pytest.fixture(scope="module")
def params() -> Any:
    return parameters()


def drawn(params: Any, aggregate: Any) -> tuple[PolicyBatch, jax.Array, np.ndarray]:
    """Rollouts by a sampler that is off by a normal number at every token; old log-probabilities, and those now."""
    batch, log_probs = off_policy(params, aggregate, 1.0)
    old, mask = np.asarray(batch.old_log_probs), np.asarray(batch.rows.mask)
    sampler = (old + np.random.default_rng(3).normal(0, 0.5, old.shape)) * mask
    batch = replace(batch, sampler_log_probs=jnp.asarray(sampler, jnp.float32), reference_log_probs=None)
    return replace(batch, old_log_probs=None), jnp.asarray(old), full_softmax.picked_BT(log_probs, batch.rows)


def corrected(correction: Any, aggregate: Any, batch: PolicyBatch, old: jax.Array) -> PolicyBatch:
    return jax.jit(partial(correct, correction=correction, aggregate=aggregate, length=NEW))(batch, old)


@pytest.mark.parametrize("aggregate", [token_mean, sequence_mean, constant_length])
@pytest.mark.parametrize("correction", [TRUNCATED, MASKED])
def test_the_loss_is_the_papers_sum_over_the_tokens_that_are_kept(params: Any, correction: Any, aggregate: Any):
    batch, old, new = drawn(params, aggregate)
    mask, sampler = np.asarray(batch.rows.mask), np.asarray(batch.sampler_log_probs, np.float64)
    weight = np.exp(np.asarray(old, np.float64) - sampler)
    kept = mask * ((weight >= FLOOR) & (weight <= CAP)) if correction is MASKED else mask
    assert 20 < kept.sum() <= mask.sum() and (correction is TRUNCATED) == (kept.sum() == mask.sum())
    weight = np.minimum(weight, CAP)
    ratio, advantages = np.exp(new - np.asarray(old)), np.asarray(batch.advantages, np.float64)
    surrogate = -np.minimum(ratio * advantages, np.clip(ratio, 0.8, 1.2) * advantages)
    share = weights_by_formula(aggregate.__name__, kept, np.asarray(batch.rows.segments))

    whole = corrected(correction, aggregate, batch, old)
    loss_fn = jax.jit(policy(MODEL, loss=Clipped(), kl=k3, kl_coefficient=0.0, temperature=1.0))
    loss, sums, _ = loss_fn(params, {}, whole)
    np.testing.assert_allclose(loss, (share * weight * surrogate).sum(), rtol=2e-5)

    def mean(name: str) -> float:
        total, count = sums[name]
        return float(total / count)

    np.testing.assert_allclose(mean("sampling/rejected_ratio"), 1 - kept.sum() / mask.sum(), rtol=1e-5, atol=1e-7)
    expected = (weight * kept).sum() / mask.sum()
    np.testing.assert_allclose(mean("sampling/importance_sampling_weight/mean"), expected, rtol=1e-5)
    apart = (np.abs(np.asarray(old) - sampler) * mask).sum() / mask.sum()  # over what was drawn, rejected or not
    np.testing.assert_allclose(mean("sampling/sampling_logp_difference/mean"), apart, rtol=1e-5)
    parts = [loss_fn(params, {}, jax.tree.map(lambda leaf, start=start: leaf[start::2], whole))[0] for start in (0, 1)]
    np.testing.assert_allclose(sum(parts), loss, rtol=1e-5, atol=1e-7)


def test_kl_is_of_the_kept_tokens_and_not_weighed(params: Any):
    batch, old, new = drawn(params, token_mean)
    reference = new + np.random.default_rng(4).normal(0, 0.5, new.shape)
    batch = replace(batch, reference_log_probs=jnp.asarray(reference, jnp.float32))
    whole = corrected(MASKED, token_mean, batch, old)
    given = {"loss": Clipped(), "kl": k3, "temperature": 1.0}
    with_kl, without = (
        jax.jit(policy(MODEL, kl_coefficient=beta, **given))(params, {}, whole)[0] for beta in (BETA, 0.0)
    )
    kept, apart = np.asarray(whole.rows.mask), reference - new
    expected = BETA * (kept * (np.exp(apart) - apart - 1)).sum() / kept.sum()
    np.testing.assert_allclose(with_kl - without, expected, rtol=2e-4)


def test_a_rejected_completion_counts_as_if_it_had_not_been_drawn(params: Any):
    batch, old, _ = drawn(params, sequence_mean)
    sums = np.where(np.asarray(batch.rows.mask) > 0, np.asarray(old) - np.asarray(batch.sampler_log_probs), 0).sum(1)
    inside = (sums >= np.log(0.2)) & (sums <= np.log(5.0))
    assert 3 < inside.sum() < 13
    whole = corrected(MaskedImportance(0.2, 5.0, sequence), sequence_mean, batch, old)
    np.testing.assert_allclose(np.asarray(whole.rows.weights).sum(axis=1), inside / inside.sum(), rtol=1e-5)


@dataclass(frozen=True)
class Rows:
    """A correction of a user's that gives one number a row."""

    def __call__(self, log_ratio_BT: Any, mask_BT: Any) -> Importance:
        return Importance(jnp.ones_like(log_ratio_BT[:, :1]), mask_BT > 0)


def test_a_correction_that_gives_something_else_is_refused_by_name(params: Any):
    batch, old, _ = drawn(params, token_mean)
    with pytest.raises(
        InputError, match=r"correction \S+\.Rows \(test_correcting.py:\d+\) gave an array of shape \[16, 1\]"
    ):
        corrected(Rows(), token_mean, batch, old)
    with pytest.raises(
        InputError, match=r"correction \S+\.token \(correction.py:\d+\) gave \w+; it must return Import"
    ):
        corrected(token, token_mean, batch, old)
