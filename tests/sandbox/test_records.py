import pytest

from reasoning.core.errors import InputError
from reasoning.sandbox import records


def test_tests_are_read_by_their_fields():
    column = [
        {"input": "1 2", "output": "3"},
        {"function": "Solution.add", "arguments": [1, 2], "result": 3, "tolerance": 1e-6},
        {"script": "assert add(1, 2) == 3", "names": ["add"]},
    ]
    assert records.read_tests(column) == (
        records.Stdio("1 2", "3"),
        records.Call("Solution.add", [1, 2], 3, 1e-6),
        records.Script("assert add(1, 2) == 3", ["add"]),
    )


@pytest.mark.parametrize(
    ("column", "said"),
    [
        ([], "at least one test"),
        (None, "at least one test"),
        ("assert True", "at least one test"),
        ([{"input": "1", "output": " \n"}], "no output at all"),
        ([{"input": "1"}], "test 0 is"),
        ([{"input": "1", "output": "2", "expected": "2"}], "test 0 is"),
        ([{"script": " ", "names": ["f"]}], "no script"),
        ([{"script": "assert f()", "names": []}], "names no function"),
    ],
)
def test_a_problem_that_any_program_would_pass_is_refused(column, said):
    with pytest.raises(InputError, match=said):
        records.read_tests(column)


def test_faults_of_the_problem_and_of_the_grader_are_not_the_programs():
    assert records.NOT_GRADED == ("invalid_problem", "infrastructure")
    assert records.Grade("passed").verdict not in records.NOT_GRADED
    assert records.Job("print(1)", (records.Stdio("", "1"),)).limits == records.Limits()
