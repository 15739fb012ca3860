"""From completions and rewards to the batch of a policy-gradient step."""

import jax.numpy as jnp
import numpy as np

from reasoning.generation.engine import Rollouts
from reasoning.objectives.advantages import group_mean, groups_with_signal
from reasoning.objectives.aggregation import token_mean
from reasoning.rollouts.record import of_completions
from reasoning.training.policy_rows import assemble, every_group, policy_rows

PROMPTS = [[11, 12, 13], [21]]
TOKENS = np.array([[[1, 2, 9, 0], [3, 9, 0, 0]], [[4, 5, 6, 7], [9, 0, 0, 0]]])
LENGTHS = np.array([[3, 2], [4, 1]])
LOG_PROBS = -np.arange(1, 17, dtype=np.float32).reshape(2, 2, 4)
ROLLOUTS = Rollouts(TOKENS, LOG_PROBS, LENGTHS, LENGTHS == 4)


def test_rows_are_prompt_then_completion_and_only_the_completion_is_learnt():
    rows = policy_rows(PROMPTS, ROLLOUTS, context=64)
    assert rows["tokens"].shape == (4, 16)
    np.testing.assert_array_equal(rows["tokens"][0, :7], [11, 12, 13, 1, 2, 9, 0])
    np.testing.assert_array_equal(rows["tokens"][2, :6], [21, 4, 5, 6, 7, 0])
    np.testing.assert_array_equal(rows["loss_mask"].sum(1), [3, 2, 4, 1])
    np.testing.assert_array_equal(rows["loss_mask"][3], [0, 1] + [0] * 14)
    np.testing.assert_array_equal(rows["segments"].sum(1), [6, 5, 5, 2])


def test_rows_grow_by_buckets_and_never_beyond_the_context():
    long = np.ones((1, 1, 30), np.int64)
    rollouts = Rollouts(long, np.zeros(long.shape, np.float32), np.array([[30]]), np.array([[True]]))
    assert policy_rows([[1] * 5], rollouts, context=64)["tokens"].shape == (1, 48)
    assert policy_rows([[1] * 5], rollouts, context=40)["tokens"].shape == (1, 40)


def test_groups_without_signal_leave_mask_and_denominator():
    rows = {name: jnp.asarray(value) for name, value in policy_rows(PROMPTS, ROLLOUTS, context=64).items()}
    rewards = jnp.asarray([1.0, 0.0, 1.0, 1.0])
    settings = {"samples": 2, "advantage": group_mean, "aggregate": token_mean, "length": 4}
    batch = assemble(rows, rewards, select=groups_with_signal, **settings)
    np.testing.assert_array_equal(batch.rows.mask.sum(1), [3, 2, 0, 0])
    np.testing.assert_allclose(batch.rows.weights.sum(), 1.0, rtol=1e-6)
    np.testing.assert_allclose(batch.advantages[:, 0], [0.5, -0.5, 0, 0])
    everything = assemble(rows, rewards, select=every_group, **settings)
    np.testing.assert_array_equal(everything.rows.mask.sum(1), [3, 2, 4, 1])


def test_the_mask_lies_on_the_places_that_predict_the_completion():
    rows = {name: jnp.asarray(value) for name, value in policy_rows(PROMPTS, ROLLOUTS, context=64).items()}
    batch = assemble(
        rows, jnp.arange(4.0), samples=2, advantage=group_mean, select=every_group, aggregate=token_mean, length=4
    )
    np.testing.assert_array_equal(np.flatnonzero(batch.rows.mask[0]), [2, 3, 4])
    np.testing.assert_array_equal(batch.rows.targets[0, 2:5], [1, 2, 9])


def test_the_samplers_log_probs_lie_where_their_tokens_are_predicted_and_are_zero_elsewhere():
    rows = {name: jnp.asarray(value) for name, value in policy_rows(PROMPTS, ROLLOUTS, context=64).items()}
    batch = assemble(
        rows, jnp.arange(4.0), samples=2, advantage=group_mean, select=every_group, aggregate=token_mean, length=4
    )
    np.testing.assert_array_equal(batch.sampler_log_probs[0, 2:5], [-1, -2, -3])
    np.testing.assert_array_equal(batch.sampler_log_probs[3, :2], [-13, 0])
    np.testing.assert_array_equal(np.asarray(batch.sampler_log_probs) != 0, np.asarray(batch.rows.mask) > 0)
    back = of_completions(np.asarray(batch.sampler_log_probs), PROMPTS, TOKENS.shape)
    inside = np.arange(4) < LENGTHS[..., None]
    np.testing.assert_array_equal(back[inside], LOG_PROBS[inside])
