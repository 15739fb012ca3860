"""The clipped policy gradient against PPO's formula in float64, and its gradient against REINFORCE.

Legend: B rows, T time, V vocabulary.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import softmax

from reasoning.objectives.advantages import group_mean
from reasoning.objectives.aggregation import token_mean
from reasoning.objectives.policy import clipped_policy_gradient

LOW, HIGH = 0.2, 0.28


def loss_of(new, old, advantages, low=LOW, high=HIGH):
    new, advantages = jnp.asarray(new, jnp.float32), jnp.asarray(advantages, jnp.float32)
    old = None if old is None else jnp.asarray(old, jnp.float32)
    return clipped_policy_gradient(new, old, advantages, clip_low=low, clip_high=high)


def test_the_loss_is_the_minimum_of_ppo_equation_7_with_two_clips():
    random = np.random.default_rng(0)
    new, old, advantages = random.normal(size=(3, 40, 50))
    ratio = np.exp(new - old)
    expected = -np.minimum(ratio * advantages, np.clip(ratio, 1 - LOW, 1 + HIGH) * advantages)
    np.testing.assert_allclose(loss_of(new, old, advantages).loss_BT, expected, rtol=1e-5, atol=1e-6)


def test_one_advantage_a_row_serves_all_its_tokens():
    random = np.random.default_rng(0)
    new, old = random.normal(size=(2, 4, 5))
    advantages = random.normal(size=(4, 1))
    for one, other in zip(loss_of(new, old, advantages), loss_of(new, old, advantages.repeat(5, 1)), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("ratio", "advantage", "low", "high", "slope"),
    [
        (1.5, 1.0, False, True, 0.0),
        (1.5, -1.0, False, False, 1.5),
        (0.5, 1.0, False, False, -0.5),
        (0.5, -1.0, True, False, 0.0),
        (1.25, 1.0, False, False, -1.25),
        (0.79, -1.0, True, False, 0.0),
        (1.0, 2.0, False, False, -2.0),
        (1.0, -2.0, False, False, 2.0),
        (1.5, 0.0, False, False, 0.0),
    ],
)
def test_the_clip_stops_the_gradient_only_where_the_ratio_has_gone_too_far_the_right_way(
    ratio, advantage, low, high, slope
):
    new, old, advantages = np.full((1, 1), np.log(ratio)), np.zeros((1, 1)), np.full((1, 1), advantage)
    result = loss_of(new, old, advantages)
    assert (bool(result.clipped_low_BT[0, 0]), bool(result.clipped_high_BT[0, 0])) == (low, high)
    gradient = jax.grad(lambda x: loss_of(x, old, advantages).loss_BT.sum())(jnp.asarray(new, jnp.float32))
    np.testing.assert_allclose(gradient, [[slope]], rtol=1e-6)


def test_without_old_log_probs_the_ratio_is_one_and_nothing_is_clipped():
    random = np.random.default_rng(0)
    new, advantages = random.normal(size=(2, 4, 5))
    result = loss_of(new, None, advantages, low=0.0, high=0.0)
    np.testing.assert_allclose(result.loss_BT, -advantages, rtol=1e-6)
    assert not result.clipped_low_BT.any() and not result.clipped_high_BT.any()


@pytest.mark.parametrize("on_policy", ["old is None", "old equals new"])
def test_the_on_policy_gradient_is_reinforce_with_the_groups_mean_as_baseline(on_policy):
    """REINFORCE: -mean over tokens of (reward - baseline) grad log p(token), with grad of a logit [v = token] - p_v."""
    random = np.random.default_rng(0)
    prompts, group, length, vocabulary = 3, 4, 5, 7
    logits = random.normal(size=(prompts * group, length, vocabulary))
    tokens = random.integers(0, vocabulary, size=(prompts * group, length))
    rewards = random.integers(0, 2, size=(prompts, group)).astype(float)
    mask = random.integers(0, 2, size=(prompts * group, length))

    scores = np.eye(vocabulary)[tokens] - softmax(logits, axis=-1)
    baselined = (rewards - rewards.mean(1, keepdims=True)).reshape(-1, 1, 1)
    expected = -baselined * scores * mask[..., None] / mask.sum()

    def loss(values):
        log_probs = jnp.take_along_axis(jax.nn.log_softmax(values), jnp.asarray(tokens)[..., None], axis=-1)[..., 0]
        old = None if on_policy == "old is None" else jax.lax.stop_gradient(log_probs)
        advantages = group_mean(jnp.asarray(rewards, jnp.float32)).reshape(-1, 1)
        result = clipped_policy_gradient(log_probs, old, advantages, clip_low=LOW, clip_high=HIGH)
        return jnp.sum(token_mean(jnp.asarray(mask), length) * result.loss_BT)

    np.testing.assert_allclose(jax.grad(loss)(jnp.asarray(logits, jnp.float32)), expected, rtol=1e-5, atol=1e-7)


def test_old_log_probs_and_advantages_carry_no_gradient():
    ones = jnp.ones((2, 3))
    of_old, of_advantages = jax.grad(lambda old, a: loss_of(0.9 * ones, old, a).loss_BT.sum(), argnums=(0, 1))(
        ones, ones
    )
    np.testing.assert_array_equal(of_old, 0)
    np.testing.assert_array_equal(of_advantages, 0)


@pytest.mark.parametrize("advantage", [1.0, 0.0])
def test_a_ratio_that_overflows_gives_no_nan_where_the_gradient_is_zero(advantage):
    new, old = jnp.zeros((1, 1)), jnp.full((1, 1), -200.0)
    value, gradient = jax.value_and_grad(lambda x: loss_of(x, old, np.full((1, 1), advantage)).loss_BT.sum())(new)
    assert np.isfinite(value)
    np.testing.assert_array_equal(gradient, 0)
