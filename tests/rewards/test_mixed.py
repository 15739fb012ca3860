from dataclasses import dataclass

import pytest

from reasoning.core.errors import InputError
from reasoning.data.chat.format import ChatFormat
from reasoning.rewards.accuracy import lenient
from reasoning.rewards.kinds import ForKinds
from reasoning.rewards.math import Math
from reasoning.rewards.mixed import FirstThatApplies
from reasoning.rewards.numbers import number
from reasoning.rewards.reward import UNGRADED, Judgement, reader_of, reward_name
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


def test_answers_are_read_as_the_part_reads_them_that_applies():
    reward = FirstThatApplies((NUMBERS, ForKinds(Math(), ("math", "sums")), ForKinds(Math(), ("other",))))
    for kind in ("math", "sums", "other"):
        reader = reader_of((reward,), Problem("?", "1/2", kind))
        assert reader is not None and reader(r"\boxed{50\%}", "1/2", ChatFormat()) == "1/2"
    assert reader_of((reward,), Problem("?", "Ada", "names")) is None
    assert reader_of((NUMBERS, TEXTS), Problem("?", "7", "sums")) is None


def test_reasons_of_mathematics_and_what_was_not_graded_come_through():
    reward = FirstThatApplies((ForKinds(Unsure(), ("names",)), ForKinds(Math(), ("sums", "names"))))
    rows = ROWS | {"completions": [r"\boxed{7}", "Ada", r"\boxed{8}", "Ada"]}
    verdicts = [(1.0, "right"), (UNGRADED, "infrastructure"), (0.0, "wrong"), (None, "")]
    assert [(each.value, each.verdict) for each in reward.judge(**rows)] == verdicts
    with pytest.raises(InputError, match="the reward math can't judge"):
        reward.check([Problem("?", "}{", "sums")])
    reward.check([Problem("?", "}{", "other")])


@dataclass(frozen=True)
class Unsure:
    """A reward that can grade nothing."""

    def __call__(self, completions, **columns):
        return [UNGRADED] * len(completions)

    def judge(self, prompts, completions, **columns):
        return [Judgement(UNGRADED, "infrastructure")] * len(completions)


def test_no_rewards_at_all_are_refused():
    with pytest.raises(InputError, match="no rewards"):
        FirstThatApplies(())
