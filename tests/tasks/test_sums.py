import pytest

from reasoning.core.errors import InputError
from reasoning.tasks.splits import split_of
from reasoning.tasks.sums import Sums


def test_answers_are_the_values_of_the_questions_and_none_is_below_zero():
    for problem in Sums(largest=30, operands=3).problems("train", 200, 0):
        assert int(problem.answer) == eval(problem.question) >= 0


def test_questions_are_distinct_and_of_their_split():
    test = Sums().problems("test", 100, 0)
    assert len({problem.question for problem in test}) == 100
    assert {split_of(problem.question) for problem in test} == {"test"}


def test_a_larger_count_begins_with_the_same_problems():
    assert Sums().problems("train", 20, 1)[:7] == Sums().problems("train", 7, 1)


def test_the_form_surrounds_the_sum():
    [problem] = Sums(form="What is {sum}?").problems("train", 1, 0)
    assert problem.question.startswith("What is ") and problem.question.endswith("?")


def test_asking_for_more_than_there_are_is_refused_with_their_number():
    with pytest.raises(InputError, match=r"only \d+ distinct train questions, 99 are asked"):
        Sums(largest=3).problems("train", 99, 0)


@pytest.mark.parametrize("settings", [{"signs": ("*",)}, {"signs": ()}, {"smallest": 9, "largest": 5}, {"form": "a"}])
def test_settings_without_sums_are_refused(settings):
    with pytest.raises(InputError, match="sum|signs"):
        Sums(**settings)
