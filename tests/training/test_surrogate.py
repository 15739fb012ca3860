"""What a user's policy loss is given, and what it may give."""

from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from reasoning.core.errors import InputError
from reasoning.kernels.token_loss import is_by_token
from reasoning.objectives.kl import k3
from reasoning.objectives.policy import CISPO, GSPO, Clipped, PolicyLoss
from reasoning.training.batches import PolicyBatch, TokenBatch
from reasoning.training.surrogate import check_surrogate, policy_loss, weighed_loss

CLIPPED = Clipped(0.15, 0.3)
RANDOM = np.random.default_rng(5)
NEW, OLD, SAMPLER = RANDOM.normal(-1, 0.5, (3, 6, 7))
ADVANTAGES = np.broadcast_to(RANDOM.normal(size=(6, 1)), (6, 7))


def batch(scored: bool = True) -> PolicyBatch:
    """Six rows of seven places, of which the last two don't count."""
    ids, mask = jnp.zeros((6, 7), jnp.int32), jnp.ones((6, 7)).at[:, 5:].set(0)
    rows = TokenBatch(tokens=ids, positions=ids, segments=ids, targets=ids, mask=mask, weights=mask / 30)
    advantages, sampler, old = (jnp.asarray(values, jnp.float32) for values in (ADVANTAGES, SAMPLER, OLD))
    return PolicyBatch(rows, advantages, sampler, old if scored else None, None)


def given(loss: Any, scored: bool = True) -> PolicyLoss:
    return policy_loss(loss, jnp.asarray(NEW, jnp.float32), batch(scored).of_tokens)


def truncated(new_BT: Any, old_BT: Any, advantages_BT: Any, mask_BT: Any, sampler_BT: Any) -> PolicyLoss:
    """A user's correction of a sampler that isn't the trainer: the surrogate times min(trainer / sampler, 1.5)."""
    weight_BT = jnp.minimum(jnp.exp(old_BT - sampler_BT), 1.5)
    surrogate = CLIPPED(new_BT, old_BT, advantages_BT, mask_BT)
    return PolicyLoss(weight_BT * surrogate.loss_BT, {**surrogate.metrics, "truncated": weight_BT >= 1.5})


@pytest.mark.parametrize("scored", [True, False])
def test_truncated_importance_sampling_is_a_users_function_that_reads_the_samplers_log_probs(scored: bool):
    old = OLD if scored else NEW
    ratio, weight = np.exp(NEW - old), np.minimum(np.exp(old - SAMPLER), 1.5)
    objective = np.minimum(ratio * ADVANTAGES, np.clip(ratio, 1 - 0.15, 1 + 0.3) * ADVANTAGES)
    loss = given(truncated, scored)
    np.testing.assert_allclose(loss.loss_BT, -weight * objective, rtol=1e-5)
    np.testing.assert_array_equal(loss.metrics["truncated"], weight == 1.5)


@pytest.mark.parametrize("loss", [CLIPPED, CISPO(), GSPO()])
def test_strictly_on_policy_a_loss_gets_the_new_log_probs_as_old_ones_without_their_gradient(loss: Any):
    without = batch(scored=False).of_tokens

    def weighted(new: jax.Array) -> jax.Array:
        return jnp.sum(without.weights * policy_loss(loss, new, without).loss_BT)

    gradient = jax.grad(weighted)(jnp.asarray(NEW, jnp.float32))
    np.testing.assert_allclose(gradient, -without.weights * ADVANTAGES, rtol=1e-5, atol=1e-7)
    new_BT = jnp.asarray(NEW, jnp.float32)
    same = policy_loss(loss, new_BT, replace(without, old_log_probs=new_BT))
    jax.tree.map(np.testing.assert_array_equal, given(loss, scored=False), same)


def means(new_BT: Any, old_BT: Any, advantages_BT: Any, mask_BT: Any) -> PolicyLoss:
    return PolicyLoss((new_BT * mask_BT).mean(axis=1), {})


def a_number(new_BT: Any, old_BT: Any, advantages_BT: Any, mask_BT: Any) -> Any:
    return (new_BT * mask_BT).mean()


def in_the_steps_name(new_BT: Any, old_BT: Any, advantages_BT: Any, mask_BT: Any) -> PolicyLoss:
    return PolicyLoss(new_BT, {"entropy": new_BT})


@dataclass(frozen=True)
class Column:
    """A loss whose metric has one number a row."""

    scale: float = 2.0

    def __call__(self, new_BT: Any, old_BT: Any, advantages_BT: Any, mask_BT: Any) -> PolicyLoss:
        return PolicyLoss(new_BT, {"ratio": self.scale * new_BT[:, :1]})


@pytest.mark.parametrize(
    ("loss", "complaint"),
    [
        (means, r"policy loss \S+\.means gave loss_BT with shape \[6\] where its tokens have \[6, 7\]"),
        (Column(), r"policy loss \S*Column\(scale=2.0\) gave ratio with shape \[6, 1\] where"),
        (a_number, r"policy loss \S+\.a_number gave \w+; it must return PolicyLoss\(loss_BT, metrics\)"),
        (in_the_steps_name, r"policy loss \S+\.in_the_steps_name gave a metric 'entropy', as the step does"),
    ],
)
def test_a_loss_that_gives_something_else_than_losses_of_tokens_is_refused_by_name(loss: Any, complaint: str):
    check_surrogate(loss)
    with pytest.raises(InputError, match=complaint):
        given(loss)


def test_a_loss_that_takes_something_else_is_refused_by_name():
    with pytest.raises(InputError, match=r"kl\.k3 can't be called as \(new_BT, .*\): too many"):
        check_surrogate(k3)
    for loss in (CLIPPED, CISPO(), GSPO(), truncated):
        check_surrogate(loss)


@pytest.mark.parametrize(
    ("loss", "alone"),
    [(CLIPPED, True), (CISPO(), True), (truncated, True), (GSPO(), False)],
    ids=["clipped", "cispo", "users", "gspo"],
)
@pytest.mark.parametrize("scored", [True, False])
def test_all_losses_but_those_of_sequences_are_known_to_treat_tokens_alone(loss: Any, alone: bool, scored: bool):
    tokens = replace(batch(scored).of_tokens, reference_log_probs=jnp.asarray(SAMPLER, jnp.float32))
    assert is_by_token(lambda new, values: weighed_loss(loss, k3, 0.1, new, values).loss_BT, tokens) == alone
