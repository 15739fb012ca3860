import random
import re
from collections import Counter
from dataclasses import replace

import pytest

from reasoning.core.errors import InputError
from reasoning.sandbox.records import read_tests
from reasoning.tasks.problems import Problem
from reasoning.tasks.program_synthesis import Line, ProgramSynthesis, assemble, question_of, work_out

TASK = ProgramSynthesis()
FORMS = {
    "line": r"-?\d\*x[+-]\d+",
    "modulo": r"\(\d\*x\+\d\)%10",
    "maximum": r"max\(-?\d\*x[+-]\d+,\d+\)",
    "minimum": r"min\(-?\d\*x[+-]\d+,\d+\)",
    "absolute": r"abs\(\d\*x[+-]\d+\)",
    "conditional": r"-?\d\*x[+-]\d+ if x<\d else -?\d\*x[+-]\d+",
}


def python(source: str):
    """What Python itself makes of a program's text."""
    names: dict = {}
    exec(source, names)
    return names["f"]


@pytest.fixture(scope="module")
def drawn():
    generator = random.Random(0)
    return [TASK.draw(generator) for _ in range(1500)]


@pytest.fixture(scope="module")
def problems() -> dict[str, tuple[Problem, ...]]:
    return {"train": TASK.problems("train", 1500, 0), "test": TASK.problems("test", 300, 0)}


def test_programs_are_python_that_computes_the_same(drawn):
    for program, examples in drawn:
        f = python(str(program))
        assert [f(x) for x in range(-5, 40)] == [program(x) for x in range(-5, 40)]
        assert all(f(x) == y and 0 <= y <= 20 and 0 <= x < 10 for x, y in examples)
        assert re.fullmatch(f"f=lambda x:{FORMS[program.family]}", str(program))


def test_families_are_equally_likely(drawn):
    counts = Counter(program.family for program, _ in drawn)
    assert set(counts) == set(FORMS)
    assert all(abs(count - 250) < 4.5 * (1500 * 5 / 36) ** 0.5 for count in counts.values()), counts


def test_every_written_step_is_true_and_ends_in_the_program(drawn):
    for program, examples in drawn:
        thinking, found = work_out(examples)
        assert found == program
        for step in thinking.split(","):
            left, right = step.split("=")
            assert eval(left) == int(right)
    assert work_out([(1, 5), (4, 11), (5, 13), (8, 19)]) == (
        "11-5=6,4-1=3,6/3=2,2*1=2,5-2=+3,19-13=6,8-5=3,6/3=2,2*5=10,13-10=+3",
        assemble(Line(2, 3), Line(2, 3), 5),
    )


def test_a_mistake_is_carried_on_into_the_program():
    thinking, found = work_out([(1, 5), (4, 11), (5, 13), (8, 19)], lambda value: 1 if value == 2 else value)
    assert "6/3=1,1*1=1,5-1=+4," in thinking
    assert str(found) == "f=lambda x:1*x+4 if x<5 else 1*x+8"


def test_examples_tell_which_function_it_is():
    """Of all conditionals of two lines with a border that the examples leave open, only the right one fits them."""
    generator = random.Random(1)
    task = replace(TASK, families=("conditional",))
    lines = [Line(slope, intercept) for slope in range(-3, 4) for intercept in range(-30, 51)]
    for program, examples in (task.draw(generator) for _ in range(40)):
        split_here = [
            (border, first, second)
            for border in range(examples[1][0] + 1, examples[2][0] + 1)
            for first in lines
            if all(first(x) == y for x, y in examples[:2])
            for second in lines
            if all(second(x) == y for x, y in examples[2:])
        ]
        assert split_here == [(program.border, program.first, program.second)]


def test_questions_show_the_examples_and_tests_ask_elsewhere(problems):
    for problem in (*problems["train"], *problems["test"]):
        f = python(problem.answer)
        examples, tests = (read_tests(problem.columns[name]) for name in ("examples", "tests"))
        shown = re.findall(r"f\((\d+)\)=(\d+)", problem.question)
        assert [(int(x), int(y)) for x, y in shown] == [(test.arguments[0], test.result) for test in examples]
        assert all(test.function == "f" and f(*test.arguments) == test.result for test in (*examples, *tests))
        inputs = [test.arguments[0] for test in tests]
        assert len(set(inputs)) == 4 and not set(inputs) & {test.arguments[0] for test in examples}
        assert sum(x < int(shown[2][0]) for x in inputs) == 2
        assert problem.kind == "programs" and problem.question.endswith("?")


def test_no_function_is_in_both_splits_however_it_is_written(problems):
    def functions(split: str) -> set[tuple[int, ...]]:
        return {tuple(map(python(problem.answer), range(-10, 20))) for problem in problems[split]}

    assert not functions("train") & functions("test")
    same = assemble(Line(-2, 7), Line(2, -7), 4), assemble(Line(-2, 7), Line(2, -7), 4)
    assert same[0].split == replace(same[1], family="conditional", border=4).split


def test_problems_are_distinct_repeatable_and_a_larger_count_begins_alike(problems):
    assert len({problem.question for problem in problems["train"]}) == 1500
    assert problems["train"][:60] == TASK.problems("train", 60, 0) != TASK.problems("train", 60, 1)


def test_all_that_is_written_is_spelled_in_symbols(drawn):
    longest_first = sorted(TASK.symbols, key=len, reverse=True)
    assert len(set(longest_first)) == len(longest_first)
    pattern = re.compile("|".join(map(re.escape, longest_first)))
    for program, examples in drawn[:300]:
        rest = pattern.sub("", f"{question_of(examples)}{work_out(examples)[0]}{program}")
        assert set(rest) <= set(",?= )("), rest
    assert pattern.findall("13-7=6") == ["13", "-7", "6"]


def test_settings_that_leave_nothing_are_refused():
    with pytest.raises(InputError, match="no families"):
        ProgramSynthesis(families=())
    with pytest.raises(InputError, match="distinct test questions"):
        ProgramSynthesis(families=("modulo",), maximum_slope=1).problems("test", 10_000, 0)
