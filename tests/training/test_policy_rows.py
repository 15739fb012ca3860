"""From completions and rewards to the batch of a policy-gradient step."""

import jax.numpy as jnp
import numpy as np

from reasoning.generation.engine import PromptShapes, Rollouts, padded
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
    rows = policy_rows(PROMPTS, ROLLOUTS, 64, ())
    assert rows["tokens"].shape == (4, 16)
    np.testing.assert_array_equal(rows["tokens"][0, :7], [11, 12, 13, 1, 2, 9, 0])
    np.testing.assert_array_equal(rows["tokens"][2, :6], [21, 4, 5, 6, 7, 0])
    np.testing.assert_array_equal(rows["loss_mask"].sum(1), [3, 2, 4, 1])
    np.testing.assert_array_equal(rows["loss_mask"][3], [0, 1] + [0] * 14)
    np.testing.assert_array_equal(rows["segments"].sum(1), [6, 5, 5, 2])


def test_rows_grow_by_doubling_or_as_told_and_never_beyond_the_longest_that_there_can_be():
    long = np.ones((1, 1, 30), np.int64)
    rollouts = Rollouts(long, np.zeros(long.shape, np.float32), np.array([[30]]), np.array([[True]]))
    assert policy_rows([[1] * 5], rollouts, 80, ())["tokens"].shape == (1, 64)
    assert policy_rows([[1] * 5], rollouts, 40, ())["tokens"].shape == (1, 40)
    assert policy_rows([[1] * 5], rollouts, 80, (20, 36, 50))["tokens"].shape == (1, 36)


def test_400_steps_on_problems_as_ragged_as_those_of_gsm8k_are_three_sampling_programs_and_three_steps_at_most():
    generator = np.random.default_rng(0)
    # Prompts of about 111 tokens, 266 at most, as GSM8K's are by SmolLM2's tokenizer; one in twenty replies is cut off.
    known = np.clip(generator.lognormal(np.log(111), 0.25, 7000), 70, 266).astype(int)
    new, context = 320, 2048
    asked, learnt, needed, given = set(), set(), 0, 0
    for _ in range(400):
        prompts = [[1] * length for length in generator.choice(known, 32)]
        lengths = np.minimum(generator.integers(new // 2, new * 21 // 20, (32, 16)).max(axis=1, keepdims=True), new)
        rollouts = Rollouts(np.ones((32, 1, new), np.int32), np.zeros((32, 1, new)), lengths, lengths == new)
        asked.add(padded(prompts, 32, PromptShapes((), 1, context, new))[0].shape)
        rows = policy_rows(prompts, rollouts, int(known.max()) + new, ())
        learnt.add(rows["tokens"].shape)
        needed, given = needed + rows["segments"].sum(axis=1).max(), given + rows["tokens"].shape[1]
    assert len(asked) <= 3 and len(learnt) <= 3
    assert given < 1.2 * needed


def test_groups_without_signal_leave_mask_and_denominator():
    rows = {name: jnp.asarray(value) for name, value in policy_rows(PROMPTS, ROLLOUTS, 64, ()).items()}
    rewards = jnp.asarray([1.0, 0.0, 1.0, 1.0])
    settings = {"samples": 2, "advantage": group_mean, "aggregate": token_mean, "length": 4}
    batch = assemble(rows, rewards, select=groups_with_signal, **settings)
    np.testing.assert_array_equal(batch.rows.mask.sum(1), [3, 2, 0, 0])
    np.testing.assert_allclose(batch.rows.weights.sum(), 1.0, rtol=1e-6)
    np.testing.assert_allclose(batch.advantages[:, 0], [0.5, -0.5, 0, 0])
    everything = assemble(rows, rewards, select=every_group, **settings)
    np.testing.assert_array_equal(everything.rows.mask.sum(1), [3, 2, 4, 1])


def test_the_mask_lies_on_the_places_that_predict_the_completion():
    rows = {name: jnp.asarray(value) for name, value in policy_rows(PROMPTS, ROLLOUTS, 64, ()).items()}
    batch = assemble(
        rows, jnp.arange(4.0), samples=2, advantage=group_mean, select=every_group, aggregate=token_mean, length=4
    )
    np.testing.assert_array_equal(np.flatnonzero(batch.rows.mask[0]), [2, 3, 4])
    np.testing.assert_array_equal(batch.rows.targets[0, 2:5], [1, 2, 9])


def test_the_samplers_log_probs_lie_where_their_tokens_are_predicted_and_are_zero_elsewhere():
    rows = {name: jnp.asarray(value) for name, value in policy_rows(PROMPTS, ROLLOUTS, 64, ()).items()}
    batch = assemble(
        rows, jnp.arange(4.0), samples=2, advantage=group_mean, select=every_group, aggregate=token_mean, length=4
    )
    np.testing.assert_array_equal(batch.sampler_log_probs[0, 2:5], [-1, -2, -3])
    np.testing.assert_array_equal(batch.sampler_log_probs[3, :2], [-13, 0])
    np.testing.assert_array_equal(np.asarray(batch.sampler_log_probs) != 0, np.asarray(batch.rows.mask) > 0)
    back = of_completions(np.asarray(batch.sampler_log_probs), PROMPTS, TOKENS.shape)
    inside = np.arange(4) < LENGTHS[..., None]
    np.testing.assert_array_equal(back[inside], LOG_PROBS[inside])
