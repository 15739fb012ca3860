from collections import Counter

import pytest

from reasoning.core.errors import InputError
from reasoning.sandbox.records import Call, read_tests
from reasoning.tasks.short_functions import ShortFunctions
from reasoning.tasks.splits import split_of


def test_answers_are_programs_that_pass_their_tests():
    for problem in ShortFunctions().problems("train", 400, 0):
        names: dict = {}
        exec(problem.answer, names)
        tests = read_tests(problem.columns["tests"])
        assert len(tests) == 4 and problem.kind == "functions"
        for test in tests:
            assert isinstance(test, Call)
            found = names["f"](*test.arguments)
            assert found == test.result and type(found) is type(test.result)


def test_tests_tell_most_functions_from_one_that_always_returns_the_same():
    problems = ShortFunctions().problems("train", 400, 0)
    constant = [len({repr(test["result"]) for test in problem.columns["tests"]}) == 1 for problem in problems]
    assert sum(constant) < 0.15 * len(problems)


def test_problems_are_distinct_of_their_split_and_of_every_form():
    problems = ShortFunctions().problems("test", 40, 1)
    assert len({problem.question for problem in problems}) == 40
    assert all(split_of(problem.question) == "test" for problem in problems)
    many = ShortFunctions().problems("train", 400, 1)
    assert len(Counter(problem.question.partition(" returns ")[0] for problem in many)) == 3
    assert many[:30] == ShortFunctions().problems("train", 30, 1) != ShortFunctions().problems("train", 30, 2)


def test_more_problems_than_there_are_is_refused():
    with pytest.raises(InputError, match="distinct train questions, 100 are asked for"):
        ShortFunctions(largest=3).problems("train", 100, 0)
