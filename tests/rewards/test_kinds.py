import pytest

from reasoning.core.errors import InputError
from reasoning.rewards.accuracy import strict
from reasoning.rewards.kinds import ForKinds
from reasoning.rewards.numbers import number
from reasoning.rollouts.rating import reward_name
from reasoning.tasks.problems import Problem

RIGHT = "<think>1</think><answer>6</answer>"


def test_a_reward_is_asked_about_its_own_kinds_only_and_keeps_their_order():
    seen = []

    def noting(prompts, completions, answer, kind, chat, **columns):
        seen.append((prompts, completions, answer, kind, chat))
        return [float(len(prompt)) for prompt in prompts]

    reward = ForKinds(noting, ("chains", "cups"))
    columns = {"answer": ["1", "2", "3", "4"], "kind": ["chains", "capitals", "cups", "capitals"], "chat": "talk"}
    values = reward(prompts=["a", "b", "ccc", "d"], completions=["w", "x", "y", "z"], **columns)
    assert values == [1.0, None, 3.0, None]
    assert seen == [(["a", "ccc"], ["w", "y"], ["1", "3"], ["chains", "cups"], "talk")]


def test_a_batch_without_its_kinds_is_not_asked_about():
    def never(**columns):
        raise AssertionError

    assert ForKinds(never, ("chains",))(prompts=[""], completions=[""], kind=["cups"]) == [None]


def test_two_of_one_reward_have_names_of_their_own():
    one, other = ForKinds(strict, ("chains",)), ForKinds(strict, ("cups", "capitals"))
    assert (reward_name(one), reward_name(other)) == ("strict_chains", "strict_cups_capitals")
    assert one(prompts=[""], completions=[RIGHT], answer=["6"], kind=["chains"], truncated=[False]) == [1.0]


def test_problems_of_its_kinds_alone_are_shown_to_a_reward_that_may_refuse_them():
    sums, capitals = Problem("1+1?", "2", "sums"), Problem("France?", "Paris", "capitals")
    ForKinds(number, ("sums",)).check((sums, capitals))
    ForKinds(strict, ("capitals",)).check((sums, capitals))  # one that judges any problem
    with pytest.raises(
        InputError, match="can't judge the problem 'France.' .capitals.: it has the right answer 'Paris'"
    ):
        ForKinds(number, ("capitals",)).check((sums, capitals))
