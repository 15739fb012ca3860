from dataclasses import dataclass

from reasoning.rewards.accuracy import strict
from reasoning.rewards.numbers import number
from reasoning.rewards.reward import Selective, reward_name


@dataclass(frozen=True)
class Constant:
    value: float

    def __call__(self, completions, **columns):
        return [self.value] * len(completions)


def test_a_reward_is_named_as_its_function_or_as_its_class_unless_it_says_otherwise():
    assert reward_name(strict) == "strict" and reward_name(Constant(1.0)) == "Constant"
    assert reward_name(number) == "number"


def test_a_reward_may_refuse_problems_or_judge_them_all():
    assert isinstance(number, Selective)
    assert not isinstance(strict, Selective) and not isinstance(Constant(1.0), Selective)
