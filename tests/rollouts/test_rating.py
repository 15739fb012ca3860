"""Reward functions: users' own in TRL's form work, and what they return wrongly is refused by their name."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from reasoning.core.errors import InputError
from reasoning.data.chat.format import ChatFormat
from reasoning.rewards.accuracy import strict
from reasoning.rollouts.rating import check_names, rate, reward_name
from reasoning.tasks.problems import Problem

PROBLEMS = (Problem("1+1?", "2", "sums"), Problem("2*3?", "6", "products"))
TEXTS = [["2", "<think>t</think><answer>2</answer>", "three"], ["6", "", "<think>t</think><answer>6</answer>"]]
TRUNCATED = np.array([[False, False, True], [False, True, False]])


def rated(*rewards: Any) -> dict[str, np.ndarray]:
    return rate(rewards, PROBLEMS, TEXTS, TRUNCATED, ChatFormat())


def reward_len(completions: list[str], **kwargs: Any) -> list[float]:
    """The first example of TRL's documentation: it names no argument but completions."""
    return [float(len(completion)) for completion in completions]


def test_a_reward_that_takes_completions_alone_works_as_in_trl():
    np.testing.assert_array_equal(rated(reward_len)["reward_len"], [[1, 34, 5], [1, 0, 34]])


def test_every_column_of_the_problem_comes_once_a_completion():
    seen = {}

    def look(prompts: list[str], completions: list[str], **columns: Any) -> list[float]:
        seen.update(columns, prompts=prompts, completions=completions)
        return [0.0] * 6

    rated(look)
    assert seen["prompts"] == ["<|user|>1+1?<|assistant|>"] * 3 + ["<|user|>2*3?<|assistant|>"] * 3
    assert seen["completions"] == TEXTS[0] + TEXTS[1]
    assert seen["answer"] == ["2"] * 3 + ["6"] * 3 and seen["kind"] == ["sums"] * 3 + ["products"] * 3
    assert seen["truncated"] == [False, False, True, False, True, False] and seen["chat"] == ChatFormat()


def test_our_own_rewards_are_of_the_same_form():
    np.testing.assert_array_equal(rated(strict)["strict"], [[0, 1, 0], [0, 0, 1]])


def test_none_where_a_reward_does_not_apply_comes_back_as_nan():
    def products(kind: list[str], **columns: Any) -> list[float | None]:
        return [1.0 if name == "products" else None for name in kind]

    np.testing.assert_array_equal(rated(products)["products"], [[math.nan] * 3, [1] * 3])


def test_a_reward_that_spoils_its_lists_does_not_spoil_them_for_the_next():
    def spoiler(completions: list[str], answer: list[str], **columns: Any) -> list[float]:
        answer.clear()
        return [0.0 for _ in range(len(completions)) if completions.pop() is not None]

    np.testing.assert_array_equal(rated(spoiler, strict)["strict"], [[0, 1, 0], [0, 0, 1]])


@dataclass(frozen=True)
class LongerThan:
    """A reward with settings of its own."""

    limit: int

    def __call__(self, completions: list[str], **columns: Any) -> list[float]:
        return [float(len(completion) > self.limit) for completion in completions]


def test_a_record_that_can_be_called_is_a_reward_named_by_its_class():
    assert reward_name(LongerThan(4)) == "LongerThan" and reward_name(reward_len) == "reward_len"
    np.testing.assert_array_equal(rated(LongerThan(4))["LongerThan"], [[0, 1, 1], [0, 0, 1]])


def test_two_rewards_of_one_name_are_refused():
    check_names((LongerThan(4), reward_len), "rewards")
    with pytest.raises(InputError, match="rewards has two functions named LongerThan"):
        check_names((LongerThan(4), reward_len, LongerThan(9)), "rewards")


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ([1.0] * 5, "returned 5 values for 6 completions; it must return one number a completion"),
        ([1.0] * 12, "returned 12 values for 6 completions"),
        ([[1.0]] * 6, r"returned \[1.0\] for the completion '2'"),
        (1.0, "returned 1.0; it must return a list"),
        (None, "returned None; it must return a list"),
        ([1.0, 0.0, 0.0, math.nan, 0.0, 0.0], "returned nan for the completion '6'; it must return a finite number"),
        ([1.0, math.inf, 0.0, 0.0, 0.0, 0.0], "returned inf for the completion '<think>t</think><answer>2</answer>'"),
        (["yes"] * 6, "returned 'yes' for the completion '2'"),
    ],
)
def test_what_a_reward_returns_wrongly_is_refused_with_its_name(given: Any, complaint: str):
    def faulty(**columns: Any) -> Any:
        return given

    with pytest.raises(InputError, match=f"the reward function .*test_rating.faulty {complaint}"):
        rated(faulty)


def test_numbers_of_any_library_count():
    def mixed(**columns: Any) -> list[Any]:
        return [True, np.float32(0.5), np.int64(2), 1, 0.25, np.array(3.0)]

    np.testing.assert_array_equal(rated(mixed)["mixed"], [[1, 0.5, 2], [1, 0.25, 3]])
