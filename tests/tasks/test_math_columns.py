import json

import pytest

from reasoning.core.errors import InputError
from reasoning.rewards.math import Math
from reasoning.tasks.math_columns import AIME, MATH, MATH_500, MathColumns
from reasoning.tasks.problems import Problem, ProblemSet
from reasoning.tasks.question_files import QuestionFile


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_math_s_answer_is_what_the_solution_s_last_box_holds_and_its_level_is_the_kind():
    row = {
        "problem": "Halve $1$.",
        "level": "Level 2",
        "type": "Algebra",
        "solution": r"$\boxed{1}$, no: $\boxed{\frac{1}{2}}$.",
    }
    assert MATH.problem(row, "math", "a:1") == Problem(
        "Halve $1$.", r"\frac{1}{2}", "Level 2", {"level": "Level 2", "type": "Algebra"}
    )


def test_levels_and_subjects_can_both_be_kinds_and_numbers_are_named_by_their_column():
    row = {"problem": "1+1?", "answer": "2", "level": 3, "subject": "Algebra", "solution": "…", "unique_id": "a"}
    assert MATH_500.problem(row, "math", "a:1").kind == "level 3"
    assert MathColumns(kinds=("subject", "level")).problem(row, "math", "a:1").kind == "Algebra, level 3"
    assert MathColumns().problem(row, "math", "a:1").kind == "math"


@pytest.mark.parametrize("answer", ["025", 25, 25.0])
def test_whole_numbers_are_right_however_a_file_writes_them(answer):
    problem = AIME.problem({"problem": "5 squared?", "answer": answer}, "aime", "a:1")
    replies = [r"<think>5*5</think> \boxed{25}", r"<think>x</think> \boxed{025}", r"<think>x</think> \boxed{26}"]
    assert Math()([""] * 3, replies, [problem.answer] * 3) == [1.0, 1.0, 0.0]


@pytest.mark.parametrize(
    ("columns", "row", "message"),
    [
        (AIME, {"problem": "1?"}, r"a.jsonl:1: column 'answer' is None; it must be a text or a whole number"),
        (AIME, {"problem": "1?", "answer": 1.5}, r"a.jsonl:1: column 'answer' is 1.5"),
        (AIME, {"problem": "1?", "answer": True}, r"a.jsonl:1: column 'answer' is True"),
        (AIME, {"problem": " ", "answer": 1}, r"a.jsonl:1: column 'problem'"),
        (
            MATH,
            {"problem": "1?", "level": "Level 1", "solution": "1"},
            r"a.jsonl:1: column 'solution' has no last .boxed",
        ),
        (MATH, {"problem": "1?", "solution": r"\boxed{1}"}, r"a.jsonl:1: column 'level' is None"),
        (AIME, {"problem": "1?", "answer": 1, "kind": "x"}, r"a.jsonl:1: column 'kind' can't be told"),
    ],
)
def test_a_bad_row_is_named_by_file_and_line(tmp_path, columns, row, message):
    path = write(tmp_path / "a.jsonl", [row])
    with pytest.raises(InputError, match=message):
        QuestionFile(path=path, test_path=path, columns=columns).problems("test", 1, 0)


def test_test_problems_that_are_training_problems_are_counted_by_their_words(tmp_path):
    rows = [{"problem": f"How much is {n}?", "answer": n} for n in range(9)]
    train, test = write(tmp_path / "train.jsonl", rows[:6]), write(tmp_path / "test.jsonl", rows[4:])
    task = QuestionFile(path=train, test_path=test, columns=AIME, name="aime")
    assert task.leaks() == f"2 of the 5 questions in {test} are questions of {train} too"
    with pytest.raises(InputError, match="2 of the 5"):
        ProblemSet(tasks=(task,), split="test", count=5).leaks()
