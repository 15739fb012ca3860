import json
from dataclasses import replace

import numpy as np
import pytest
import tensorflow_datasets as tfds

from reasoning.core.errors import InputError
from reasoning.core.words import words_of
from reasoning.data.records import write_records
from reasoning.tasks.problems import Problem, ProblemSet
from reasoning.tasks.question_files import GSM8K, QuestionColumns, QuestionFile, QuestionRecords
from reasoning.tasks.splits import split_of

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
    task = QuestionFile(
        path=path, test_path=path, columns=QuestionColumns(question="q", answer="a", marker=""), name="who"
    )
    assert task.problems("train", 1, 0) == (Problem("Who?", "Ada, of course", "who"),)


@pytest.mark.parametrize(
    ("written", "answer"),
    [
        ("1,234,567", "1234567"),
        ("-1,000.50", "-1000.50"),
        ("3,4", "3,4"),
        ("1,00", "1,00"),
        ("1, 000", "1, 000"),
        ("12", "12"),
    ],
)
def test_commas_that_stand_between_no_thousands_are_kept(written, answer):
    assert GSM8K.problem({"question": "1?", "answer": f"#### {written}"}, "k", "row 1").answer == answer


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"question": "1?"}, r"a.jsonl:2: column 'answer' is None"),
        ({"question": " ", "answer": "#### 1"}, r"a.jsonl:2: column 'question'"),
        ({"question": "1?", "answer": "1"}, r"a.jsonl:2: column 'answer' has no '####'"),
        (
            {"question": "1?", "answer": "#### 1", "kind": "sums"},
            r"a.jsonl:2: column 'kind' can't be told .* rename it or leave it out \(columns.left_out\)",
        ),
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


def test_all_other_columns_are_kept_but_for_those_left_out(tmp_path):
    row = {"question": "1?", "answer": "#### 1", "tests": [[1, {"x": None}]], "level": 2, "kind": "k", "id": "a"}
    path = write(tmp_path / "a.jsonl", [row])
    task = QuestionFile(path=path, test_path=path, columns=QuestionColumns(left_out=("kind", "id")))
    [problem] = task.problems("test", 1, 0)
    assert problem == Problem("1?", "1", "gsm8k", {"tests": [[1, {"x": None}]], "level": 2})


def test_columns_of_a_tfds_data_set_come_as_texts_numbers_and_lists(tmp_path):
    features = {
        "question": tfds.features.Text(),
        "answer": tfds.features.Text(),
        "level": tfds.features.Scalar(np.int64),
        "hints": tfds.features.Sequence(tfds.features.Text()),
        "cases": tfds.features.Tensor(shape=(2, 2), dtype=np.int32),
        "raw": tfds.features.Tensor(shape=(), dtype=np.str_),
    }
    row = {
        "question": "1?",
        "answer": "#### 1",
        "level": 2,
        "hints": ["é", "b"],
        "cases": [[1, 2], [3, 6]],
        "raw": b"\xff",
    }
    write_records(tmp_path / "set", iter([row]), features)
    with pytest.raises(InputError, match=r"set, split train, row 0: column 'raw' holds b'\\xff', .* leave it out"):
        QuestionRecords(builder=str(tmp_path / "set")).problems("train", 1, 0)
    task = QuestionRecords(builder=str(tmp_path / "set"), columns=QuestionColumns(left_out=("raw",)))
    [problem] = task.problems("train", 1, 0)
    assert problem.columns == {"level": 2, "hints": ["é", "b"], "cases": [[1, 2], [3, 6]]}


@pytest.mark.parametrize("written", [b"\xef\xbb\xbf%s\r\n\r\n%s", b"\n%s\n \n%s\n\n"])
def test_files_of_other_systems_give_the_same_problems(tmp_path, written):
    rows = [json.dumps(row).encode() for row in ROWS[:2]]
    (tmp_path / "plain").write_bytes(b"%s\n%s\n" % tuple(rows))
    (tmp_path / "other").write_bytes(written % tuple(rows))
    plain, other = (QuestionFile(path=str(tmp_path / name), test_path="x") for name in ("plain", "other"))
    assert plain.problems("train", 2, 0) == other.problems("train", 2, 0)


def leaking(tmp_path, **settings):
    """A task whose test file shares three of five questions with its training file, two in other spellings."""
    shared = ["Caf\u00e9 or tea?", "How  many?\n", "What?"]
    asked = ["Cafe\u0301 or tea?", "How many?", "What?", "New?", "Newer?"]
    paths = [
        write(tmp_path / name, [{"question": question, "answer": "#### 1"} for question in questions])
        for name, questions in (("train.jsonl", [*shared, "Old?"]), ("test.jsonl", asked))
    ]
    return QuestionFile(path=paths[0], test_path=paths[1], **settings)


def test_an_exam_whose_questions_are_training_questions_is_refused_with_their_number(tmp_path):
    task = leaking(tmp_path)
    with pytest.raises(InputError, match="3 of the 5 .*test.jsonl are questions of .*train.jsonl too; .*allow_leaks"):
        ProblemSet((task,), "test", 2).leaks()
    assert ProblemSet((task,), "train", 2).leaks() == ()


def test_leaks_that_are_allowed_are_told(tmp_path):
    (told,) = ProblemSet((leaking(tmp_path, allow_leaks=True),), "test", 2).leaks()
    assert told.startswith("3 of the 5 questions")


def test_one_file_never_asks_what_it_trains_on_whatever_the_spelling(tmp_path):
    write(tmp_path / "a.jsonl", [{"question": f"Caf\u00e9 {n}?", "answer": "#### 1"} for n in range(60)])
    write(tmp_path / "b.jsonl", [{"question": f"Cafe\u0301  {n}?", "answer": "#### 1"} for n in range(60)])
    tasks = [QuestionFile(path=str(tmp_path / name)) for name in ("a.jsonl", "b.jsonl")]
    train, test = (task.problems(split, 3, 0) for task, split in zip(tasks, ("train", "test"), strict=True))
    assert all(split_of(problem.question) == "train" for problem in train)
    assert {words_of(problem.question) for problem in train}.isdisjoint(words_of(p.question) for p in test)
    assert ProblemSet((tasks[0],), "test", 2).leaks() == ()


def test_splits_of_a_tfds_data_set_that_share_questions_are_told(tmp_path):
    write_records(tmp_path / "set", iter(ROWS), {"question": tfds.features.Text(), "answer": tfds.features.Text()})
    task = QuestionRecords(builder=str(tmp_path / "set"))
    assert task.leaks() == ""  # there is a training split alone
    rows = [{"question": b"1?"}, {"question": "2?"}]
    assert GSM8K.shared(rows, rows[:1], "a", "b") == "1 of the 1 questions in b are questions of a too"


def test_bad_rows_of_a_tfds_data_set_are_passed_over_as_those_of_a_file_are(tmp_path):
    rows = [{"question": f"{n}?", "answer": "none" if n in (1, 4) else f"#### {n}"} for n in range(6)]
    write_records(tmp_path / "set", iter(rows), {"question": tfds.features.Text(), "answer": tfds.features.Text()})
    places = [
        rf"{tmp_path / 'set'}, split train, row {n}: column 'answer' has no '####' before its answer" for n in (1, 4)
    ]
    task = QuestionRecords(builder=str(tmp_path / "set"), skip_bad=2)
    assert {problem.answer for problem in task.problems("train", 4, 0)} == {"0", "2", "3", "5"}
    assert task.bad_rows() == tuple(places)
    assert QuestionRecords(builder=str(tmp_path / "set")).bad_rows() == ()
    for skipped, match in ((0, "row 1: column 'answer'"), (1, "row 4: column 'answer'")):
        with pytest.raises(InputError, match=match):
            replace(task, skip_bad=skipped).problems("train", 4, 0)
