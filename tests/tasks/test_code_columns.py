"""Coding problems in files: all forms of tests, MBPP's assertions, and what is refused with file and line."""

import json
from pathlib import Path

import pytest

from reasoning.core.errors import InputError
from reasoning.experiment.reader import read_experiment
from reasoning.rewards.code import Code
from reasoning.sandbox.records import Call, Script, Stdio, read_tests
from reasoning.tasks.code_columns import MBPP, MBPP_SANITIZED, CodeColumns
from reasoning.tasks.problems import Problem
from reasoning.tasks.question_files import QuestionFile

OURS = [
    {"question": "Double a number.", "tests": [{"input": "2\n", "output": "4\n"}], "language": "cpp",
     "solution": "#include <iostream>\nint main() { int n; std::cin >> n; std::cout << 2 * n; }"},
    {"question": "Write f, the double.", "tests": [{"function": "f", "arguments": [2], "result": 4}],
     "examples": [{"function": "f", "arguments": [1], "result": 2}], "level": 3},
    {"question": "Go on.", "tests": [{"script": "assert g(1) == 2", "names": ["g"]}], "prefix": "def g(x):\n"},
]  # fmt: skip

FULL = [
    {"text": "Write a function that doubles.", "code": "def double(n):\r\n    return 2 * n", "task_id": 1,
     "test_list": ["assert double(2) == 4", "assert double(3) == 6"], "test_setup_code": "", "challenge_test_list": []},
    {"text": "Area of a circle.", "code": "import math\ndef area(r):\n  return math.pi * r * r", "task_id": 2,
     "test_list": ["assert math.isclose(area(1), 3.14159, rel_tol=0.001)"], "test_setup_code": ""},
    {"text": "Add two numbers.", "code": "def sum(a, b):\n    return a + b", "task_id": 3,
     "test_list": ["assert sum(10, 15) == 25"], "test_setup_code": ""},
    {"text": "Size of a tree.", "task_id": 4, "test_list": ["assert size(root) == 2"],
     "code": "class Node:\n    def __init__(self, data):\n        self.data = data\n        self.left = None\n"
             "def size(node):\n    return 1 + size(node.left) if node else 0",
     "test_setup_code": "root = Node(1)\nroot.left = Node(2)"},
]  # fmt: skip

SANITIZED = {
    "prompt": "Sort pairs.", "code": "def order(x):\n    return sorted(x)", "test_imports": ["import collections"],
    "test_list": ["P = collections.namedtuple('P', 'a b')\nassert list(order([P(2, 1), P(1, 2)])[0]) == [1, 2]"],
}  # fmt: skip


def read(folder: Path, rows: list[dict], columns: CodeColumns) -> tuple[Problem, ...]:
    """The problems of a file, in the order of its lines."""
    file = folder / "code.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    task = QuestionFile(path=str(file), test_path=str(file), columns=columns, name="code")
    found = task.problems("train", len(rows), 0)
    return tuple(sorted(found, key=lambda each: [row.get("question", row.get("text")) for row in rows].index(
        each.question.partition("\n")[0])))  # fmt: skip


def test_the_documented_form_has_all_tests_and_every_other_column(tmp_path: Path):
    double, f, g = read(tmp_path, OURS, CodeColumns())
    assert [type(*read_tests(each.columns["tests"])) for each in (double, f, g)] == [Stdio, Call, Script]
    assert double.columns["language"] == "cpp" and double.answer == double.columns["solution"] == OURS[0]["solution"]
    assert f.columns["level"] == 3 and f.columns["examples"] == OURS[1]["examples"]
    assert f.answer == "" and "solution" not in f.columns
    assert g.columns["prefix"] == "def g(x):\n" and all(each.kind == "code" for each in (double, f, g))


def test_the_lines_of_the_documentation_are_problems_whose_solutions_pass(tmp_path: Path):
    page = (Path(__file__).parents[2] / "docs" / "rewards.md").read_text(encoding="utf-8")
    rows = [json.loads(line) for line in page.partition("```json\n")[2].partition("```")[0].splitlines()]
    problems = read(tmp_path, rows, CodeColumns())
    texts = [f"<answer>{each.answer}</answer>" for each in problems]
    given = Code().judge(["?"] * len(rows), texts, tests=[each.columns["tests"] for each in problems])
    assert [each.verdict for each in given] == ["passed"] * 5


def test_mbpp_gives_tests_that_its_solutions_pass_and_others_fail(tmp_path: Path):
    problems = read(tmp_path, FULL, MBPP)
    right = [f"<answer>{each.answer}</answer>" for each in problems]
    wrong = [text.replace("return ", "return -1 - ") for text in right]
    asked = {name: [each.columns.get(name) for each in problems] * 2 for name in ("tests", "solution")}
    judged = Code().judge(["?"] * 8, right + wrong, **asked)
    assert [each.verdict for each in judged[:4]] == ["passed"] * 4
    assert [each.value for each in judged[4:]] == [0.0] * 4


def test_what_assertions_ask_for_and_what_comes_before_them_is_found(tmp_path: Path):
    tests = [*(read_tests(each.columns["tests"])[0] for each in read(tmp_path, FULL, MBPP))]
    assert [each.names for each in tests] == [["double"], ["area"], ["sum"], ["Node", "size"]]
    assert [each.setup for each in tests] == ["", "import math\n", "", ""]
    assert tests[0].script == "assert double(2) == 4\nassert double(3) == 6\n"
    assert tests[3].script.startswith("root = Node(1)")
    problem = MBPP_SANITIZED.problem(SANITIZED, "mbpp", "here")
    [test] = read_tests(problem.columns["tests"])
    assert test.names == ["order"] and test.setup == "import collections"
    names: dict = {}
    exec(f"{test.setup}\n{problem.answer}\n{test.script}", names)


def test_questions_show_tests_or_names_where_the_form_says_so(tmp_path: Path):
    [problem] = read(tmp_path, FULL[:1], MBPP)
    assert problem.question.endswith("doubles.\nYour code should pass these tests:\n" + "\n".join(FULL[0]["test_list"]))
    hidden = CodeColumns(question="text", tests="test_list", solution="code", form="{question}\nCall it {names}.")
    assert hidden.problem(FULL[0], "mbpp", "").question == "Write a function that doubles.\nCall it double."


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tests": []}, r"code.jsonl:2: tests are \[\]; give a list of at least one test"),
        ({"tests": None}, r"code.jsonl:2: tests are None"),
        ({"tests": [{"input": "1", "output": " \n"}]}, "code.jsonl:2: a test expects no output at all"),
        ({"tests": [{"input": "1"}]}, "code.jsonl:2: test 0 is .*; a test has the fields"),
        ({"tests": ["assert 1 + 1 == 2"]}, "code.jsonl:2: its assertions .* use no name that an answer could define"),
        ({"tests": ["f(1)"]}, "code.jsonl:2: its tests .* assert nothing"),
        ({"tests": ["assert f(1 == 2"]}, "code.jsonl:2: its assertions, .*, are no Python"),
        ({"tests": ["assert f(1) == 2"], "solution": "def g(x): return 2"}, "use f, which its solution doesn't define"),
        ({"tests": ["assert f(1) == 2"], "language": "cpp"}, "are assertions in Python, and its language is cpp"),
        ({"language": "rust"}, "code.jsonl:2: its language is 'rust'; programs can be in python, cpp"),
        ({"examples": []}, r"code.jsonl:2: tests are \[\]"),
        ({"question": " "}, "code.jsonl:2: column 'question' is ' '; it must be a text, and not empty"),
        ({"solution": 3}, "code.jsonl:2: column 'solution' is 3; it must be a text"),
        ({"prompts": "x"}, "code.jsonl:2: column 'prompts' can't be told from what rewards get"),
    ],
)
def test_a_row_that_is_no_problem_is_refused_with_its_line(tmp_path: Path, changes: dict, message: str):
    with pytest.raises(InputError, match=message):
        read(tmp_path, [OURS[2], {**OURS[1], **changes}], CodeColumns())


def test_forms_that_would_lose_the_question_or_show_tests_that_there_are_not_are_refused():
    with pytest.raises(InputError, match="without {question}"):
        CodeColumns(form="Write a program.")
    with pytest.raises(InputError, match=r"here: the form of the question wants {tests}, and its tests are no"):
        CodeColumns(form="{question} {tests}").problem(OURS[1], "code", "here")


def test_an_experiment_file_names_the_columns_and_an_exam_hears_of_shared_questions(tmp_path: Path):
    (tmp_path / "mbpp.jsonl").write_text("".join(json.dumps(row) + "\n" for row in FULL))
    file = tmp_path / "code.gin"
    file.write_text(
        f"mbpp = @tasks.question_files.QuestionFile\nmbpp.path = '{tmp_path}/mbpp.jsonl'\n"
        f"mbpp.test_path = '{tmp_path}/mbpp.jsonl'\nmbpp.columns = @tasks.code_columns.MBPP\n"
    )
    task = read_experiment(file).part("mbpp")
    assert task.name == "mbpp"
    assert "4 of the 4 questions" in task.leaks()
    assert len(task.problems("test", 4, 0)) == 4
