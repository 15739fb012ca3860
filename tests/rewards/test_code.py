"""The code reward: hidden tests decide, and what is nobody's fault is not graded."""

from typing import Any

import pytest

from reasoning.core.errors import InputError
from reasoning.rewards.code import Code
from reasoning.rewards.reward import UNGRADED
from reasoning.sandbox.grading import Sandbox
from reasoning.sandbox.records import Limits
from reasoning.tasks.problems import Problem

CODE = Code(sandbox=Sandbox(workers=1), limits=Limits(cpu_seconds=2.0, wall_seconds=10.0))
DOUBLE = [{"function": "f", "arguments": [number], "result": 2 * number} for number in (1, 5)]
RIGHT, WRONG = "<answer>def f(x): return 2 * x</answer>", "<answer>def f(x): return x + 1</answer>"


def judged(reward: Code, *replies: str, **columns: Any):
    given = {name: [value] * len(replies) for name, value in columns.items()}
    return reward.judge(prompts=[""] * len(replies), completions=replies, **given)


def test_a_program_that_passes_all_tests_gets_one_and_others_nothing_with_the_reason():
    right, wrong, none, crash = judged(CODE, RIGHT, WRONG, "no tags", "<answer>def f(</answer>", tests=DOUBLE)
    assert (right.value, right.verdict, right.failing) == (1.0, "passed", None)
    assert (wrong.value, wrong.verdict, wrong.failing) == (0.0, "wrong", 1)  # 1 + 1 is 2 all the same
    assert (none.value, none.verdict) == (0.0, "refused") and crash.value == 0.0 and crash.verdict != "passed"
    assert CODE(prompts=[""], completions=[WRONG], tests=[DOUBLE]) == [0.0]
    assert judged(CODE, RIGHT, truncated=True, tests=DOUBLE)[0].value == 0.0


def test_partial_credit_is_the_share_of_tests_that_pass_wherever_they_stand():
    share = Code(partial=True, sandbox=CODE.sandbox, limits=CODE.limits)
    assert share.__name__ == "code_share" and Code(tests="examples").__name__ == "code_examples"
    for tests in (DOUBLE, DOUBLE[::-1]):
        (half,) = judged(share, WRONG, tests=tests)
        assert half.value == 0.5 and half.failing == (1 if tests is DOUBLE else 0)


def test_a_problem_whose_own_solution_fails_is_not_graded():
    broken, sound = {"solution": "def f(x): return 3 * x"}, {"solution": "def f(x): return x + x"}
    for reply in (RIGHT, WRONG):
        (given,) = judged(CODE, reply, tests=DOUBLE, **broken)
        assert given.value == UNGRADED and given.verdict == "invalid_problem"
    assert [each.value for each in judged(CODE, RIGHT, WRONG, tests=DOUBLE, **sound)] == [1.0, 0.0]
    problems = [Problem(str(n), "", "code", {"tests": DOUBLE, **each}) for n, each in enumerate((sound, broken))]
    (remark,) = CODE.remarks(problems)
    assert "1 of 2 problems fail their own tests (1 wrong), the first of them '1'" in remark
    assert CODE.remarks(problems[:1]) == ()
    with pytest.raises(InputError, match="1 of 1 problems fail their own tests"):
        CODE.remarks(problems[1:])


def test_a_reply_can_continue_the_problems_own_beginning():
    reward = Code(prefix="begin", sandbox=CODE.sandbox, limits=CODE.limits)
    columns = {"tests": DOUBLE, "begin": 'def f(x):\n    """Twice."""\n', "solution": "    return 2 * x"}
    right, wrong = judged(reward, "    return 2 * x\n\ndef g(", "    return x", truncated=True, **columns)[0], None
    (wrong,) = judged(reward, "    return x", **columns)
    assert (right.value, wrong.value) == (1.0, 0.0)


@pytest.mark.parametrize(
    ("columns", "complaint"),
    [
        ({}, "it has no column 'tests'"),
        ({"tests": []}, "at least one test"),
        ({"tests": [{"input": "1", "output": " "}]}, "expects no output at all"),
        ({"tests": DOUBLE, "language": "cobol"}, "programs can be in python, cpp"),
    ],
)
def test_problems_that_can_not_be_judged_are_refused_before_the_run(columns: dict[str, Any], complaint: str):
    with pytest.raises(InputError, match=complaint) as caught:
        CODE.check([Problem("double", "", "code", columns)])
    assert "the reward code can't judge the problem 'double' (code)" in str(caught.value)


def test_sound_problems_are_taken_where_a_sandbox_holds():
    CODE.check([Problem("double", "", "code", {"tests": DOUBLE})])
