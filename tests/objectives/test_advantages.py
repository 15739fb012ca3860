"""Advantages against the papers' formulas in float64.

Legend: P prompts, G group.
"""

import numpy as np
import pytest

from reasoning.objectives.advantages import (
    AmongGraded,
    SelectedAmongGraded,
    group_mean,
    group_normalized,
    groups_with_signal,
)

FUNCTIONS = pytest.mark.parametrize("advantages", [group_mean, group_normalized])


def rewards_of(prompts=20, group=16):
    return np.random.default_rng(0).normal(size=(prompts, group)).astype(np.float32)


def test_group_mean_subtracts_the_groups_mean():
    rewards = rewards_of()
    expected = rewards.astype(np.float64) - rewards.astype(np.float64).mean(1, keepdims=True)
    np.testing.assert_allclose(group_mean(rewards), expected, rtol=1e-5, atol=1e-6)


def test_group_normalized_divides_by_the_sample_deviation_plus_epsilon():
    rewards = rewards_of()
    wide = rewards.astype(np.float64)
    expected = (wide - wide.mean(1, keepdims=True)) / (wide.std(1, ddof=1, keepdims=True) + 1e-4)
    np.testing.assert_allclose(group_normalized(rewards), expected, rtol=1e-5, atol=1e-6)


def test_one_right_of_four_has_the_advantage_that_trl_computes():
    """torch.tensor([1., 0, 0, 0]).std() is 0.5."""
    np.testing.assert_allclose(
        group_normalized(np.array([[1.0, 0, 0, 0]], np.float32)), [[0.75 / 0.5001] + [-0.25 / 0.5001] * 3], rtol=1e-5
    )


@FUNCTIONS
@pytest.mark.parametrize("value", [0.1, 1.1, 1 / 3, 1e6, -0.7])
@pytest.mark.parametrize("group", [1, 3, 16, 63])
def test_a_group_of_equal_rewards_has_advantages_of_exactly_zero(advantages, value, group):
    np.testing.assert_array_equal(advantages(np.full((2, group), value, np.float32)), 0)


def test_only_groups_whose_rewards_differ_have_a_signal():
    rewards = np.array([[0, 0, 0], [1, 1, 1], [0, 1, 0], [0.1, 0.1, 0.1]], np.float32)
    np.testing.assert_array_equal(groups_with_signal(rewards), [False, False, True, False])


@FUNCTIONS
def test_a_nan_reward_shows_in_its_group_and_in_no_other(advantages):
    rewards = rewards_of(3, 4)
    rewards[1, 2] = np.nan
    np.testing.assert_array_equal(np.isnan(advantages(rewards)).all(1), [False, True, False])
    np.testing.assert_array_equal(np.isnan(advantages(rewards)).any(1), [False, True, False])


def test_a_group_is_to_the_function_as_if_what_was_not_graded_had_never_been_sampled():
    rewards = np.random.default_rng(0).normal(size=(5, 6)).astype(np.float32)
    missing = np.array([[False] * 6, [True] * 6, [0, 1, 0, 1, 0, 0], [1, 1, 1, 1, 1, 0], [1, 0, 0, 0, 0, 0]], bool)
    given = np.where(missing, np.nan, rewards)
    for function in (group_mean, group_normalized):
        found = np.asarray(AmongGraded(function)(given))
        for row, gone, own in zip(rewards, missing, found, strict=True):
            assert not own[gone].any()
            if not gone.all():
                np.testing.assert_allclose(own[~gone], np.asarray(function(row[None, ~gone]))[0], rtol=1e-6, atol=1e-7)
    np.testing.assert_array_equal(
        np.asarray(SelectedAmongGraded(groups_with_signal)(given)), [True, False, True, False, True]
    )
