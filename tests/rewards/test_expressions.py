import ast
import random
from collections import Counter
from fractions import Fraction

import pytest

from reasoning.core.errors import InputError
from reasoning.rewards.expressions import ReachesTarget, value_of
from reasoning.tasks.problems import Problem

ASKED = {"numbers": [25, 4, 3, 3], "target": 100}


def right(answer: str, **settings) -> float:
    return ReachesTarget(**settings)([""], [f"<think>…</think><answer>{answer}</answer>"], metadata=[ASKED])[0]


@pytest.mark.parametrize(
    ("answer", "value"),
    [
        ("25*4", 1.0),
        ("4 * 25 + 3 - 3", 1.0),
        ("(25 + 3/3 - 1) * 4", 0.0),  # no 1 is given
        ("(25 + 3 - 3) × 4", 1.0),
        ("25*3*4/3", 1.0),
        ("25*2*2", 0.0),
        ("25*4*3/3*3/3", 0.0),  # one 3 too many
        ("25*4 = 100", 0.0),
        ("100", 0.0),
        ("25*4.0", 0.0),
        ("25*4/(3-3)", 0.0),
        ("25**4", 0.0),
        ("(25*4", 0.0),
        ("25 4", 0.0),
        ("", 0.0),
        ("-(-25)*4", 1.0),
        ("25*4" + "+3-3" * 60, 0.0),
    ],
)
def test_any_expression_of_the_numbers_that_makes_the_target_is_right(answer, value):
    assert right(answer) == value


def test_all_numbers_can_be_asked_for():
    assert right("25*4", every=True) == 0.0 and right("25*4+3-3", every=True) == 1.0


def test_a_target_that_problems_leave_out_is_set():
    reward = ReachesTarget(target=24)
    assert reward([""], [r"\boxed{(5-1)*6}"], metadata=[{"numbers": [1, 5, 6, 6]}]) == [1.0]


def test_what_was_cut_off_or_has_no_answer_is_not_right():
    reward = ReachesTarget()
    assert reward([""], [r"\boxed{25*4}"], truncated=[True], metadata=[ASKED]) == [0.0]
    assert reward([""], ["25*4"], metadata=[ASKED]) == [0.0]


@pytest.mark.parametrize(
    "told", [None, {}, {"numbers": [1]}, {"numbers": [1.5], "target": 3}, {"numbers": 3, "target": 3}]
)
def test_a_problem_without_numbers_and_target_is_refused(told):
    with pytest.raises(InputError, match="can't judge the problem '1.2' .countdown."):
        ReachesTarget().check([Problem("1+2", "3", "countdown", {"metadata": told})])


def test_values_are_those_of_python_in_exact_fractions():
    draw = random.Random(0)

    def expression(depth: int) -> str:
        if depth == 0 or draw.random() < 0.3:
            return str(draw.randint(0, 30))
        text = f"{expression(depth - 1)}{draw.choice(('+', '-', '*', '/', ' * -'))}{expression(depth - 1)}"
        return f"({text})" if draw.random() < 0.5 else text

    class Exact(ast.NodeTransformer):
        def visit_Constant(self, node):
            return ast.Call(ast.Name("Fraction", ast.Load()), [node], [])

    for _ in range(300):
        text = expression(4)
        tree = ast.fix_missing_locations(Exact().visit(ast.parse(text, mode="eval")))
        try:
            expected = eval(compile(tree, "", "eval"), {"Fraction": Fraction})
        except ZeroDivisionError:
            assert value_of(text) is None
            continue
        value, used = value_of(text) or (None, None)
        numbers = [node.value for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Constant)]
        assert value == expected and used == Counter(numbers)
