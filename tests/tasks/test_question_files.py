import json

import pytest
import tensorflow_datasets as tfds

from reasoning.core.errors import InputError
from reasoning.data.records import write_records
from reasoning.tasks.problems import Problem
from reasoning.tasks.question_files import Columns, QuestionFile, QuestionRecords

ROWS = [{"question": f"How much is {n} times 500?", "answer": f"First.\n{n}*500\n#### {n * 500:,}"} for n in range(60)]


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_the_answer_is_the_number_behind_the_marker_without_commas(tmp_path):
    task = QuestionFile(path=write(tmp_path / "a.jsonl", ROWS))
    problems = task.problems("train", 40, 0)
    for problem in problems:
        assert problem.kind == "gsm8k"
        assert int(problem.answer) == 500 * int(problem.question.split()[3])
    assert len(set(problems)) == 40


def test_one_file_is_split_by_its_questions_and_two_files_are_taken_as_they_are(tmp_path):
    one = write(tmp_path / "a.jsonl", ROWS)
    with pytest.raises(InputError, match=r"a.jsonl has only (\d+) distinct test"):
        QuestionFile(path=one).problems("test", 60, 0)
    other = write(tmp_path / "b.jsonl", [{"question": "1?", "answer": "#### 1"}])
    assert QuestionFile(path=one, test_path=other).problems("test", 1, 0) == (Problem("1?", "1", "gsm8k"),)
    assert len(QuestionFile(path=one, test_path=other).problems("train", 60, 0)) == 60


def test_other_columns_and_answers_that_are_no_numbers(tmp_path):
    path = write(tmp_path / "a.jsonl", [{"q": "Who?", "a": "Ada, of course"}])
    task = QuestionFile(path=path, test_path=path, columns=Columns(question="q", answer="a", marker=""), name="who")
    assert task.problems("train", 1, 0) == (Problem("Who?", "Ada, of course", "who"),)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"question": "1?"}, r"a.jsonl:2: column 'answer' is None"),
        ({"question": " ", "answer": "#### 1"}, r"a.jsonl:2: column 'question'"),
        ({"question": "1?", "answer": "1"}, r"a.jsonl:2: column 'answer' has no '####'"),
    ],
)
def test_a_bad_row_is_named_by_file_and_line(tmp_path, row, message):
    path = write(tmp_path / "a.jsonl", [ROWS[0], row])
    with pytest.raises(InputError, match=message):
        QuestionFile(path=path, test_path=path).problems("train", 1, 0)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"no file .*absent.jsonl"):
        QuestionFile(path=str(tmp_path / "absent.jsonl")).problems("train", 1, 0)


def test_a_tfds_data_set_gives_the_same_problems(tmp_path):
    features = {"question": tfds.features.Text(), "answer": tfds.features.Text()}
    write_records(tmp_path / "set", iter(ROWS), features)
    task = QuestionRecords(builder=str(tmp_path / "set"))
    assert set(task.problems("train", 60, 0)) == {
        Problem(row["question"], str(500 * n), "gsm8k") for n, row in enumerate(ROWS)
    }
