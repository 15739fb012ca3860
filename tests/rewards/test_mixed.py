from dataclasses import dataclass

import pytest

from reasoning.core.errors import InputError
from reasoning.rewards.accuracy import lenient
from reasoning.rewards.kinds import ForKinds
from reasoning.rewards.mixed import FirstThatApplies
from reasoning.rewards.numbers import number
from reasoning.rewards.reward import Judgement, reward_name
from reasoning.tasks.problems import Problem

NUMBERS = ForKinds(number, ("sums",))
TEXTS = ForKinds(lenient, ("names",))
ROWS = {
    "prompts": ["?"] * 4,
    "completions": ["7", "Ada", "8", "Ada"],
    "answer": ["7", "Ada", "7", "Bob"],
    "kind": ["sums", "names", "sums", "other"],
}


def test_each_kind_is_judged_by_the_reward_that_applies_to_it():
    assert FirstThatApplies((NUMBERS, TEXTS))(**ROWS) == [1.0, 1.0, 0.0, None]


def test_the_first_that_applies_counts_even_where_it_gives_zero():
    def one(prompts, completions, **columns):
        return [1.0] * len(completions)

    assert FirstThatApplies((NUMBERS, one))(**ROWS) == [1.0, 1.0, 0.0, 1.0]


def test_reasons_come_with_the_value_that_counts():
    @dataclass(frozen=True)
    class Explained:
        def judge(self, prompts, completions, **columns):
            return [Judgement(0.0, "wrong", 3)] * len(completions)

        def __call__(self, prompts, completions, **columns):
            return [0.0] * len(completions)

        def remarks(self, problems):
            return [f"{len(problems)} problems"]

    reward = FirstThatApplies((NUMBERS, Explained()))
    right, wrong = Judgement(1.0), Judgement(0.0, "wrong", 3)
    assert reward.judge(**ROWS) == [right, wrong, Judgement(0.0), wrong]
    assert reward.remarks([Problem("?", "7", "sums")]) == ["1 problems"]


def test_it_has_the_name_that_it_is_given():
    assert reward_name(FirstThatApplies((NUMBERS,))) == "accuracy"
    assert reward_name(FirstThatApplies((NUMBERS,), "right")) == "right"


def test_every_part_is_asked_whether_it_can_judge_the_problems():
    reward = FirstThatApplies((TEXTS, NUMBERS))
    reward.check([Problem("?", "Ada", "names"), Problem("?", "7", "sums")])
    with pytest.raises(InputError, match="can't judge"):
        reward.check([Problem("?", "Ada", "sums")])


def test_no_rewards_at_all_are_refused():
    with pytest.raises(InputError, match="no rewards"):
        FirstThatApplies(())
