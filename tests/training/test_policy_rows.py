"""From completions and rewards to the batch of a policy-gradient step."""

import jax.numpy as jnp
import numpy as np
from batched import assemble, assemble_minibatches

from reasoning.generation.engine import Rollouts
from reasoning.generation.padding import PromptShapes, padded
from reasoning.objectives.advantages import group_mean, group_normalized, groups_with_signal
from reasoning.objectives.aggregation import constant_length, token_mean
from reasoning.rollouts.record import of_completions
from reasoning.training.policy_rows import every_group, never_learns, of_whole, policy_rows

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
        asked.add(padded(prompts, 32, PromptShapes(0, 1, context, new))[0].shape)
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


def test_the_denominator_of_constant_length_counts_groups_without_signal_too():
    rows = {name: jnp.asarray(value) for name, value in policy_rows(PROMPTS, ROLLOUTS, 64, ()).items()}
    settings = {"samples": 2, "advantage": group_mean, "aggregate": constant_length, "length": 4}
    batch = assemble(rows, jnp.asarray([1.0, 0.0, 1.0, 1.0]), select=groups_with_signal, **settings)
    np.testing.assert_allclose(batch.rows.weights.sum(), 5 / (4 * 4))


def test_kl_can_be_over_other_groups_than_the_loss():
    rows = {name: jnp.asarray(value) for name, value in policy_rows(PROMPTS, ROLLOUTS, 64, ()).items()}
    settings = {"samples": 2, "advantage": group_mean, "aggregate": token_mean, "length": 4}
    batch = assemble(
        rows, jnp.asarray([1.0, 0.0, 1.0, 1.0]), select=groups_with_signal, kl_select=every_group, **settings
    )
    np.testing.assert_array_equal(batch.rows.mask.sum(1), [3, 2, 0, 0])
    np.testing.assert_allclose(batch.kl_weights.sum(1), np.array([3, 2, 4, 1]) / 10, rtol=1e-6)


def test_minibatches_deal_out_whole_groups_in_turn_with_denominators_of_their_own():
    generator = np.random.default_rng(0)
    groups, samples, time = 6, 3, 16
    rows = {name: np.zeros((groups * samples, time), np.int32) for name in ("tokens", "positions")}
    rows |= {"segments": np.ones_like(rows["tokens"]), "loss_mask": generator.integers(0, 2, rows["tokens"].shape)}
    rows |= {"tokens": np.arange(rows["tokens"].size).reshape(-1, time), "log_probs": -generator.random((18, time))}
    rewards = generator.normal(size=(groups, samples))

    def over_all(rewards_PG):
        """An advantage that reads the whole rollout, not its group alone."""
        return rewards_PG - rewards_PG.mean()

    settings = {"samples": samples, "advantage": over_all, "select": every_group, "aggregate": token_mean, "length": 9}
    given = ({name: jnp.asarray(values) for name, values in rows.items()}, jnp.asarray(rewards.reshape(-1)))
    parts = assemble_minibatches(*given, parts=2, **settings)
    for number, part in enumerate(parts):
        own = rows["tokens"].reshape(groups, samples, time)[number::2].reshape(-1, time)
        np.testing.assert_array_equal(part.rows.tokens, own)
        np.testing.assert_allclose(part.rows.weights.sum(), 1, rtol=1e-5)
        expected = (rewards - rewards.mean())[number::2].reshape(-1)
        np.testing.assert_allclose(part.advantages[:, 0], expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(of_whole([np.asarray(part.rows.tokens) for part in parts], samples), rows["tokens"])


def test_a_group_of_one_teaches_only_where_it_is_not_compared_with_itself():
    for advantage in (group_mean, group_normalized):
        assert never_learns(advantage, every_group, 1) and not never_learns(advantage, every_group, 2)
    assert never_learns(lambda rewards: rewards, groups_with_signal, 1)
    assert not never_learns(lambda rewards: rewards, every_group, 1)
    assert not never_learns(lambda rewards: rewards - 1, lambda rewards: rewards[:, 0] > 0.5, 1)
