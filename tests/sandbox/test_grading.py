import pytest

from reasoning.core.errors import InputError
from reasoning.sandbox.grading import Sandbox, grade, isolation
from reasoning.sandbox.records import Call, Job, Limits, Script, Stdio

QUICK = Limits(cpu_seconds=0.3, wall_seconds=20.0)
TIERS = ("bubblewrap", "landlock")


@pytest.fixture(params=TIERS)
def sandbox(request):
    return Sandbox(tier=request.param)


@pytest.mark.parametrize(
    ("source", "test", "verdict"),
    [
        ("print(sum(map(int, input().split())))", Stdio("1 2", "3"), "passed"),
        ("print(4)", Stdio("1 2", "3"), "wrong"),
        ("print(3); raise SystemExit(1)", Stdio("1 2", "3"), "crashed"),
        ("def f(a): return [a, {'k': (1, 2)}]", Call("f", [1], [1, {"k": [1, 2]}]), "passed"),
        ("class Solution:\n def f(self, a): return a == 1", Call("Solution.f", [1], True), "passed"),
        ("def f(a): return True", Call("f", [1], 1), "wrong"),
        ("def f(a): return a * 2", Script("assert f(2) == 4 and f('a') == 'aa'", ["f"]), "passed"),
        ("def f(a): return a * 3", Script("assert f(2) == 4", ["f"]), "wrong"),
        ("while True: pass", Stdio("", "3"), "timed_out"),
        ("x = bytearray(10**9)", Stdio("", "3"), "out_of_memory"),
        ("while True: print('x' * 1000)", Stdio("", "3"), "too_much_output"),
        ("import os; os.fork()", Stdio("", "3"), "crashed"),
    ],
)
def test_a_program_gets_the_verdict_that_it_earns(sandbox, source, test, verdict):
    [found] = grade([Job(source, (test,), limits=QUICK)], sandbox)
    assert (found.verdict, found.tier) == (verdict, sandbox.tier)


def test_grades_come_in_the_order_of_the_jobs(sandbox):
    jobs = [Job(f"print({number})", (Stdio("", "0" if number == 3 else str(number)),)) for number in range(6)]
    verdicts = [found.verdict for found in grade(jobs, sandbox)]
    assert verdicts == ["passed"] * 3 + ["wrong"] + ["passed"] * 2


def test_an_unknown_isolation_is_refused():
    with pytest.raises(InputError, match="no isolation is called"):
        isolation(Sandbox(tier="chroot"))
