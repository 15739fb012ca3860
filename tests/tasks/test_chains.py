import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasoning.core.errors import InputError
from reasoning.tasks import chains
from reasoning.tasks.chains import Chains
from reasoning.tasks.puzzles import Puzzle, solve, worked_steps
from reasoning.tasks.splits import split_of


def evaluate(expression: str) -> int:
    """The value of an arithmetic expression over the integers, by Python's own evaluator."""
    return eval(expression)


operand_lists = st.tuples(st.integers(0, 9), st.lists(st.tuples(st.sampled_from("+-"), st.integers(0, 9)), min_size=1))


@given(operand_lists)
def test_the_answer_is_the_integer_value_modulo_ten(parts):
    first, terms = parts
    puzzle = Puzzle(str(first), tuple(f"{sign}{digit}" for sign, digit in terms))
    assert solve(Chains(), puzzle) == str(evaluate(puzzle.question.rstrip("?")) % 10)


@given(operand_lists, st.integers(1, 3))
def test_every_written_step_is_a_true_equation_and_begins_with_the_result_before_it(parts, terms):
    first, rest = parts
    puzzle = Puzzle(str(first), tuple(f"{sign}{digit}" for sign, digit in rest))
    written, value = worked_steps(Chains(), puzzle, terms)
    before = str(first)
    for equation in written.split(","):
        left, right = equation.split("=")
        assert evaluate(left) % 10 == int(right)
        assert left[0] == before
        before = right
    assert value == before == str(evaluate(puzzle.question.rstrip("?")) % 10)


@pytest.mark.parametrize("modulus", [2, 10])
def test_numbering_names_every_chain_once(modulus):
    total = chains.number_of_chains(3, modulus)
    assert total == modulus * (2 * modulus) ** 2
    every = {chains.chain_number(number, 3, modulus).question for number in range(total)}
    assert len(every) == total
    pattern = re.compile(rf"[0-{modulus - 1}]([+-][0-{modulus - 1}]){{2}}\?")
    assert all(pattern.fullmatch(question) for question in every)


def test_digits_and_signs_are_uniform():
    generator = random.Random(0)
    drawn = [chains.draw(generator, 4, 10) for _ in range(20_000)]
    drawn = [(puzzle.start, *puzzle.moves) for puzzle in drawn]
    for place in range(4):
        counts = {}
        for operands in drawn:
            counts[operands[place]] = counts.get(operands[place], 0) + 1
        expected = 20_000 / (10 if place == 0 else 20)
        assert len(counts) == (10 if place == 0 else 20)
        assert all(abs(count - expected) < 5 * expected**0.5 for count in counts.values())


def test_problems_are_distinct_right_and_of_their_split():
    problems = Chains().problems("test", 500, 7)
    assert len({problem.question for problem in problems}) == 500
    for problem in problems:
        assert problem.kind == "chains"
        assert problem.answer == str(evaluate(problem.question.rstrip("?")) % 10)
        assert split_of(problem.question) == "test"


def test_lengths_are_equally_likely():
    problems = Chains(4, 6).problems("train", 3000, 0)
    lengths = [len(re.findall("[0-9]", problem.question)) for problem in problems]
    assert all(abs(lengths.count(length) - 1000) < 130 for length in (4, 5, 6))
    assert set(lengths) == {4, 5, 6}


def test_problems_depend_on_the_seed_and_a_larger_count_begins_with_the_same():
    task = Chains()
    assert task.problems("train", 50, 1) == task.problems("train", 80, 1)[:50]
    assert task.problems("train", 50, 1) != task.problems("train", 50, 2)


def test_both_splits_together_hold_every_chain_once():
    task = Chains(2, 3)
    everything = 200 + 4000
    counts = {}
    for split in ("train", "test"):
        with pytest.raises(InputError, match=r"has only \d+ distinct") as caught:
            task.problems(split, everything, 0)
        counts[split] = int(re.findall(r"only (\d+)", str(caught.value))[0])
        assert len({problem.question for problem in task.problems(split, counts[split], 0)}) == counts[split]
    assert sum(counts.values()) == everything


def test_lengths_upside_down_are_refused():
    with pytest.raises(InputError, match="minimum_operands=5 above maximum_operands=4"):
        Chains(5, 4)


def test_symbols_are_distinct_and_cut_every_question_into_one_token_an_operand():
    symbols = Chains().symbols
    assert len(set(symbols)) == len(symbols)
    longest_first = re.compile("|".join(sorted(map(re.escape, symbols), key=len, reverse=True)))
    assert longest_first.findall("3+8-5?") == ["3", "+8", "-5", "?"]
    assert longest_first.findall("D+I=B,B-F=G") == ["D", "+I", "=", "B", ",", "B", "-F", "=", "G"]
