"""Rewarded completions: their totals and metrics, and which of several attempts a step learns from."""

import numpy as np
import pytest

from reasoning.generation.engine import Rollouts
from reasoning.rewards.reward import UNGRADED, Judgement
from reasoning.rollouts.prompt_sampler import Sampled
from reasoning.rollouts.rewarded import Rewarded, first_with_signal, joined, rollout_metrics, total_rewards
from reasoning.tasks.problems import Problem
from reasoning.training.policy_rows import policy_rows


def metrics_of(rollouts: Rollouts, values: dict[str, np.ndarray], rewards: np.ndarray, correct: str = "", **more):
    return rollout_metrics(Rewarded(Sampled([], [], [], rollouts, {}), [], values, rewards, **more), correct)


def test_completions_that_were_not_graded_are_in_no_mean_and_counted():
    missing = np.array([[False, True, False, False], [True] * 4])
    values = {"code": np.where(missing, np.nan, [[0.0, 9.0, 1.0, 1.0], [9.0] * 4]), "form": np.ones((2, 4))}
    ungraded = {"code": missing, "form": np.zeros((2, 4), bool)}
    rewards = total_rewards((2.0, 1.0), values, ungraded)
    np.testing.assert_array_equal(np.isnan(rewards), missing)
    np.testing.assert_array_equal(np.isnan(total_rewards((0.0, 1.0), values, ungraded)), False)  # only watched
    judged = np.full((2, 4), Judgement(UNGRADED, "infrastructure", wall_kills=1), object)
    judged[~missing] = Judgement(1.0, "passed")
    empty = np.zeros((2, 4, 1))
    rollouts = Rollouts(empty, empty, np.ones((2, 4), int), np.zeros((2, 4), bool))
    metrics = metrics_of(rollouts, values, rewards, ungraded=ungraded, judgements={"code": judged})
    assert metrics["reward"] == pytest.approx(np.mean([1, 3, 3]))
    assert metrics["reward_std"] == pytest.approx(np.std([1, 3, 3], ddof=1)) and metrics["frac_reward_zero_std"] == 0
    assert metrics["rewards/code/mean"] == pytest.approx(2 / 3) and metrics["rewards/code/ungraded"] == 5 / 8
    assert metrics["rewards/code/verdict/infrastructure"] == 5 / 8 and metrics["rewards/code/verdict/passed"] == 3 / 8
    assert metrics["rewards/code/wall_kills"] == 5 and "rewards/form/ungraded" not in metrics
    nothing = metrics_of(rollouts, {"code": np.full((2, 4), np.nan)}, np.full((2, 4), np.nan))
    assert np.isnan(nothing["reward"]) and np.isnan(nothing["reward_std"])


def test_group_metrics_are_means_over_groups_with_the_sample_deviation():
    rewards = np.array([[0.1, 0.1, 0.1], [0.0, 1.0, 0.0]])
    empty = np.zeros((2, 3, 1))
    rollouts = Rollouts(empty, empty, np.array([[1, 2, 3], [4, 5, 6]]), np.eye(2, 3, dtype=bool))
    metrics = metrics_of(rollouts, {"own": np.array([[np.nan, 2, 4], [np.nan] * 3])}, rewards)
    assert metrics["reward_std"] == pytest.approx(np.std([0, 1, 0], ddof=1) / 2)
    assert metrics["frac_reward_zero_std"] == 0.5  # three times 0.1 is equal, though their mean is not 0.1
    assert metrics["rewards/own/mean"] == 3 and metrics["completions/mean_length"] == 3.5
    assert metrics["completions/clipped_ratio"] == pytest.approx(1 / 3)
    never = metrics_of(rollouts, {"own": np.full((2, 3), np.nan)}, rewards)
    assert np.isnan(never["rewards/own/mean"])


def test_the_length_of_correct_completions_is_a_metric_of_its_own_where_there_are_any():
    empty, lengths = np.zeros((1, 3, 1)), np.array([[1, 2, 30]])
    rollouts = Rollouts(empty, empty, lengths, np.zeros((1, 3), bool))
    values = {"right": np.array([[1.0, 1.0, 0.0]]), "other": np.ones((1, 3))}
    assert metrics_of(rollouts, values, values["right"], "right")["completions/mean_length/correct"] == 1.5
    for given, correct in (({"right": np.zeros((1, 3))}, "right"), (values, "")):
        assert "completions/mean_length/correct" not in metrics_of(rollouts, given, empty[..., 0], correct)


def test_the_total_reward_is_the_weighted_sum_of_those_that_apply():
    values = {"a": np.array([[1.0, np.nan]]), "b": np.array([[0.5, 2.0]])}
    np.testing.assert_array_equal(total_rewards((2.0, 10.0), values, {}), [[7, 20]])


def attempt(number: int) -> Rewarded:
    """Two groups of two completions, of which the first token tells where they belong."""
    prompts = [[90 + number], [90 + number, 7]]
    tokens = np.arange(12).reshape(2, 2, 3) + 20 * number
    rollouts = Rollouts(tokens, -1.0 * tokens, np.full((2, 2), 1 + number), np.zeros((2, 2), bool))
    problems = [Problem(f"{number}.{group}", "", "") for group in range(2)]
    sampled = Sampled([2 * number, 2 * number + 1], problems, prompts, rollouts, policy_rows(prompts, rollouts, 32, ()))
    rewards = np.arange(4.0).reshape(2, 2) + 4 * number
    return Rewarded(sampled, [[f"{number}.{group}"] * 2 for group in range(2)], {"own": rewards}, rewards)


def test_chosen_groups_of_several_attempts_keep_all_that_is_theirs():
    one = joined([attempt(0), attempt(1)], [1, 2], 32, ())
    assert one.sampled.numbers == [1, 2] and one.sampled.prompts == [[90, 7], [91]]
    assert [problem.question for problem in one.sampled.problems] == ["0.1", "1.0"] == [row[0] for row in one.texts]
    np.testing.assert_array_equal(one.sampled.rollouts.tokens[:, :, 0], [[6, 9], [20, 23]])
    np.testing.assert_array_equal(one.sampled.rollouts.lengths, [[1, 1], [2, 2]])
    np.testing.assert_array_equal(one.rewards, [[2, 3], [4, 5]])
    np.testing.assert_array_equal(one.values["own"], one.rewards)
    np.testing.assert_array_equal(
        one.sampled.rows["tokens"][:, :4], [[90, 7, 6, 0], [90, 7, 9, 0], [91, 20, 21, 0], [91, 23, 24, 0]]
    )


def test_groups_that_teach_come_first_and_the_first_of_the_others_fill_up():
    for signal, expected in (("0110", [1, 2]), ("0001", [0, 3]), ("1111", [0, 1]), ("0000", [0, 1])):
        assert first_with_signal(np.array([sign == "1" for sign in signal]), 2) == expected
