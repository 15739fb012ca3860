import re

from reasoning.tasks.splits import split_of
from reasoning.tasks.stories import Stories


def test_answers_are_sum_difference_or_product_of_the_two_numbers():
    kinds = set()
    for problem in Stories().problems("train", 300, 0):
        first, second = map(int, re.findall(r"\d+", problem.question))
        values = {first + second: "sum", first - second: "difference", first * second: "product"}
        kinds.add(values[int(problem.answer)])
        assert int(problem.answer) > 0
    assert kinds == {"sum", "difference", "product"}


def test_questions_are_distinct_of_their_split_and_the_same_for_the_same_seed():
    test = Stories().problems("test", 80, 3)
    assert len({problem.question for problem in test}) == 80
    assert {split_of(problem.question) for problem in test} == {"test"}
    assert test[:9] == Stories().problems("test", 9, 3) != Stories().problems("test", 9, 4)
