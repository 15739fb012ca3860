"""Policy losses against their papers' formulas in float64, their gradients against finite differences and REINFORCE.

Legend: B rows, T time, V vocabulary.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import softmax

from reasoning.objectives.advantages import group_mean
from reasoning.objectives.aggregation import token_mean
from reasoning.objectives.policy import CISPO, GSPO, Clipped

LOW, HIGH = 0.2, 0.28


def loss_of(new, old, advantages, low=LOW, high=HIGH):
    return of(Clipped(low, high), new, old, advantages)


def of(loss, new, old, advantages, mask=None):
    new, old, advantages = (jnp.asarray(values, jnp.float32) for values in (new, old, advantages))
    return _of(loss, new, old, advantages, jnp.asarray(np.ones(new.shape) if mask is None else mask, jnp.float32))


_of = jax.jit(lambda loss, *given: loss(*given), static_argnums=0)
"""One program where each operation would be one."""


def test_the_loss_is_the_minimum_of_ppo_equation_7_with_two_clips():
    random = np.random.default_rng(0)
    new, old, advantages = random.normal(size=(3, 40, 50))
    ratio = np.exp(new - old)
    expected = -np.minimum(ratio * advantages, np.clip(ratio, 1 - LOW, 1 + HIGH) * advantages)
    np.testing.assert_allclose(loss_of(new, old, advantages).loss_BT, expected, rtol=1e-5, atol=1e-6)


def test_a_clip_of_ten_has_no_lower_bound_and_an_upper_one_of_eleven():
    """As R1 was trained: a ratio is never below 1 - 10."""
    ratio, ones = np.array([[1e-6, 0.5, 10.9, 11.1, 50.0]]), np.ones((1, 5))
    raised, lowered = (loss_of(np.log(ratio), 0 * ratio, sign * ones, 10.0, 10.0) for sign in (1, -1))
    np.testing.assert_allclose(raised.loss_BT, [[-1e-6, -0.5, -10.9, -11, -11]], rtol=1e-5)
    np.testing.assert_allclose(lowered.loss_BT, ratio, rtol=1e-5)
    assert not lowered.metrics["clip_ratio/low_mean"].any()


def test_one_advantage_a_row_serves_all_its_tokens():
    random = np.random.default_rng(0)
    new, old = random.normal(size=(2, 4, 5))
    advantages = random.normal(size=(4, 1))
    one, other = loss_of(new, old, advantages), loss_of(new, old, advantages.repeat(5, 1))
    jax.tree.map(np.testing.assert_array_equal, one, other)


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
    assert [bool(values[0, 0]) for values in bounds(result)] == [low, high]
    gradient = jax.grad(lambda x: loss_of(x, old, advantages).loss_BT.sum())(jnp.asarray(new, jnp.float32))
    np.testing.assert_allclose(gradient, [[slope]], rtol=1e-6)


def bounds(result):
    return result.metrics["clip_ratio/low_mean"], result.metrics["clip_ratio/high_mean"]


@pytest.mark.parametrize("loss", [Clipped(0.0, 0.0), GSPO(0.0, 0.0)])
def test_where_old_is_new_the_ratio_is_one_and_nothing_is_clipped(loss):
    random = np.random.default_rng(0)
    new, advantages = random.normal(size=(2, 4, 5))
    result = of(loss, new, new, advantages)
    np.testing.assert_allclose(result.loss_BT, -advantages, rtol=1e-6)
    assert not any(values.any() for values in bounds(result))


@pytest.mark.parametrize("loss", [Clipped(LOW, HIGH), CISPO(), GSPO()])
def test_the_on_policy_gradient_is_reinforce_with_the_groups_mean_as_baseline(loss):
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

    def value(values):
        log_probs = jnp.take_along_axis(jax.nn.log_softmax(values), jnp.asarray(tokens)[..., None], axis=-1)[..., 0]
        advantages = group_mean(jnp.asarray(rewards, jnp.float32)).reshape(-1, 1)
        result = loss(log_probs, jax.lax.stop_gradient(log_probs), advantages, jnp.asarray(mask))
        return jnp.sum(token_mean(jnp.asarray(mask), length) * result.loss_BT)

    np.testing.assert_allclose(jax.grad(value)(jnp.asarray(logits, jnp.float32)), expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("loss", [Clipped(), CISPO(), GSPO(0.2, 0.2)])
def test_old_log_probs_and_advantages_carry_no_gradient(loss):
    ones = jnp.ones((2, 3))
    of_old, of_advantages = jax.grad(lambda old, a: of(loss, 0.9 * ones, old, a).loss_BT.sum(), argnums=(0, 1))(
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


def ragged(seed=1, rows=12, length=9):
    """New and old log-probabilities, advantages of both signs, and a mask; two rows have no token that counts."""
    random = np.random.default_rng(seed)
    new, old = random.normal(-1, 0.5, (2, rows, length))
    mask = np.arange(length) < random.integers(1, length + 1, rows)[:, None]
    mask[[3, 7]] = False
    return new, old, random.normal(size=(rows, 1)), mask.astype(np.float64)


def cispo_formula(new, old, advantages, mask):
    """MiniMax-M1, eq. 4 and 5, the value; its gradient is tested below."""
    return -np.clip(np.exp(new - old), 1 - 0.4, 1 + 0.5) * advantages * new


def gspo_formula(new, old, advantages, mask):
    """GSPO, eq. 5 and 7, a row at a time."""
    loss = np.zeros(new.shape)
    for row, (one, other, advantage, counts) in enumerate(zip(new, old, advantages[:, 0], mask, strict=True)):
        if counts.any():
            ratio = np.prod(np.exp(one - other)[counts > 0]) ** (1 / counts.sum())
            loss[row] = -min(ratio * advantage, np.clip(ratio, 1 - 0.1, 1 + 0.15) * advantage)
    return loss


@pytest.mark.parametrize(("loss", "formula"), [(CISPO(0.4, 0.5), cispo_formula), (GSPO(0.1, 0.15), gspo_formula)])
def test_the_loss_is_that_of_its_paper(loss, formula):
    new, old, advantages, mask = ragged()
    result = of(loss, new, old, advantages, mask)
    assert all(0 < float((values * mask).sum()) < mask.sum() for values in bounds(result))
    np.testing.assert_allclose(result.loss_BT * mask, formula(new, old, advantages, mask) * mask, rtol=1e-5, atol=1e-6)


def test_cispo_gives_every_token_the_gradient_of_its_log_prob_times_a_bounded_weight():
    new, old, advantages, mask = ragged()
    loss = CISPO(0.4, 0.5)
    gradient = jax.grad(lambda x: of(loss, x, old, advantages, mask).loss_BT.sum())(jnp.asarray(new, jnp.float32))
    weight = np.clip(np.exp(new - old), 1 - 0.4, 1 + 0.5)
    np.testing.assert_allclose(gradient, -weight * advantages, rtol=1e-5)
    far = of(CISPO(), np.zeros((1, 1)), np.full((1, 1), -200.0), np.ones((1, 1)))
    assert np.isfinite(far.loss_BT).all()


def test_gspos_gradient_is_the_finite_difference_of_its_formula_over_whole_rows():
    new, old, advantages, mask = ragged()
    loss, step = GSPO(0.1, 0.15), 1e-6
    weights = mask / np.maximum(mask.sum(1, keepdims=True), 1)

    def value(x):
        return jnp.sum(weights * of(loss, x, old, advantages, mask).loss_BT)

    gradient = np.asarray(jax.grad(value)(jnp.asarray(new, jnp.float32)))
    for row, place in np.ndindex(new.shape):
        up, down = new.copy(), new.copy()
        up[row, place] += step
        down[row, place] -= step
        rise = weights * (gspo_formula(up, old, advantages, mask) - gspo_formula(down, old, advantages, mask))
        np.testing.assert_allclose(gradient[row, place], rise.sum() / (2 * step), rtol=1e-4, atol=1e-6)


def test_gspo_of_some_rows_is_that_of_all_so_that_microbatches_are_exact():
    new, old, advantages, mask = ragged()
    whole = of(GSPO(), new, old, advantages, mask).loss_BT
    for rows in (slice(0, 5), slice(5, 12)):
        np.testing.assert_array_equal(
            of(GSPO(), new[rows], old[rows], advantages[rows], mask[rows]).loss_BT, whole[rows]
        )
