import pytest

from reasoning.core.errors import InputError
from reasoning.sandbox import grading
from reasoning.sandbox.grading import Sandbox, grade
from reasoning.sandbox.records import Job, Limits, Stdio

LIMITS = Limits(cpu_seconds=0.5, wall_seconds=30.0)
ADD = '#include <cstdio>\nint main(){ int a, b; scanf("%d %d", &a, &b); printf("%d", a + b); }'


@pytest.mark.parametrize(
    ("source", "verdict"),
    [
        (ADD, "passed"),
        (ADD.replace("+", "-"), "wrong"),
        ("int main(){ x }", "compile_error"),
        ('#include "/etc/passwd"\nint main(){}', "compile_error"),
        ("int main(){ return 1; }", "crashed"),
        ("int main(){ int* p = 0; *p = 1; }", "crashed"),
        ("int main(){ for (volatile int i = 0;;) i = i + 1; }", "timed_out"),
        ("#include <vector>\nint main(){ std::vector<char> a(1u << 30, 1); return a[5]; }", "out_of_memory"),
    ],
)
def test_a_program_in_cpp_is_compiled_and_judged(source, verdict):
    tests = (Stdio("1 2", "3"), Stdio("4 5", "9"))
    [found] = grade([Job(source, tests, "cpp", LIMITS)], Sandbox())
    assert found.verdict == verdict, found


def test_cpp_runs_without_namespaces_too():
    tests = (Stdio("1 2", "3"), Stdio("4 5", "9"))
    jobs = [Job(source, tests, "cpp", LIMITS) for source in (ADD, ADD.replace("+", "-"))]
    assert [found.verdict for found in grade(jobs, Sandbox(tier="landlock"))] == ["passed", "wrong"]


def test_cpp_without_a_compiler_is_refused_before_anything_runs(monkeypatch):
    monkeypatch.setattr(grading, "compiler", lambda: "")
    with pytest.raises(InputError, match="g\\+\\+ is missing"):
        grade([Job(ADD, (Stdio("1 2", "3"),), "cpp")], Sandbox())


def test_the_wall_clocks_kill_is_tried_again_and_told():
    job = Job("import time; time.sleep(9)", (Stdio("", "1"),), limits=Limits(cpu_seconds=1.0, wall_seconds=0.3))
    [found] = grade([job], Sandbox())
    assert (found.verdict, found.wall_kills) == ("timed_out", 2)


def test_a_grade_names_the_first_failing_test_and_why():
    job = Job("print(int(input()) % 3)", tuple(Stdio(str(number), str(number)) for number in range(5)))
    [found] = grade([job], Sandbox())
    assert (found.verdict, found.failing, found.passed) == ("wrong", 3, 3)
    assert found.detail == "token 0 is '0', not '3'"


def test_what_a_program_says_reaches_no_terminal_raw():
    [found] = grade([Job("raise ValueError('\\x1b[31m' + 'x' * 9999)", (Stdio("", "1"),))], Sandbox())
    assert found.verdict == "crashed"
    assert "\x1b" not in found.detail
    assert len(found.detail) < 300
