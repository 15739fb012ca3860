"""Rewards that teach nothing are told once, with the value, and only after a while."""

import numpy as np
import pytest

from reasoning.rollouts.watch import RewardWatch, watch_rewards

SAME, DIFFERENT = np.full((2, 4), 0.3), np.array([[0.3] * 4, [0.3, 0.3, 0.4, 0.3]])


def test_one_warning_names_stage_step_and_value_and_says_what_to_do():
    told: list[str] = []
    watch = RewardWatch("zero", 3, told.append)
    for step in range(1, 9):
        watch.look(step, SAME)
    assert told == [
        "stage zero: in the last 3 steps up to step 3 every reward was 0.3, so nothing was learnt; read some "
        "completions (reasoning show RUN/STAGE), then check the reward functions, ask problems that the model solves "
        "now and then, or raise samples or temperature"
    ]


def test_one_group_with_signal_starts_the_count_anew():
    told: list[str] = []
    watch = RewardWatch("zero", 3, told.append)
    for step in range(1, 9):
        watch.look(step, DIFFERENT if step % 3 == 0 else SAME)
    assert told == []
    watch.look(9, SAME)
    assert len(told) == 1 and "the last 3 steps up to step 9" in told[0]


def test_groups_that_differ_only_from_each_other_teach_nothing_either():
    told: list[str] = []
    watch = RewardWatch("zero", 2, told.append)
    for step in (1, 2):
        watch.look(step, np.array([[0.0, 0.0], [float(step), float(step)]]))
    assert "rewards were equal within every group (from 0 to 2 between groups)" in told[0]


def test_what_was_not_graded_is_no_reward_that_could_differ_or_be_equal():
    told: list[str] = []
    watch = RewardWatch("zero", 2, told.append)
    lost, alone = np.full((2, 4), np.nan), np.array([[np.nan, 0.5, 0.5, np.nan], [np.nan] * 4])
    signal = np.array([[np.nan, 0.5, 0.4, np.nan], [np.nan] * 4])
    for step, rewards in enumerate((lost, signal, lost), start=1):
        watch.look(step, rewards)
    assert told == []
    watch.look(4, alone)
    assert "in the last 2 steps up to step 4 every reward was 0.5, so" in told[0]


@pytest.mark.parametrize(
    ("problems", "prompts", "steps", "window"), [(64, 16, 50, 4), (4096, 16, 45, 10), (8, 8, 50, 3), (4096, 16, 2, 2)]
)
def test_an_epoch_is_waited_for_within_bounds(problems: int, prompts: int, steps: int, window: int):
    assert watch_rewards("zero", problems, prompts, steps, print).window == window
