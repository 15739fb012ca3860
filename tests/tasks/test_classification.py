"""Labelled texts: what a question lists, that a text keeps its split whatever the order, and rows that are refused."""

import json
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reasoning.core.errors import InputError
from reasoning.tasks.classification import LabelColumns, check_labels, labelled
from reasoning.tasks.question_files import QuestionFile
from reasoning.tasks.splits import split_of

COLUMNS = LabelColumns(labels=("bad", "good", "so so"))
ROWS = [{"text": f"Film {n} {{labels}}", "label": COLUMNS.labels[n % 3], "year": 1990 + n} for n in range(300)]


def task(folder: Path, columns: LabelColumns = COLUMNS, rows: Any = ROWS) -> QuestionFile:
    file = folder / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return QuestionFile(path=str(file), columns=columns, name="films")


def test_a_question_is_the_text_and_all_labels_and_the_answer_is_its_own(tmp_path: Path):
    for problem in task(tmp_path).problems("train", 200, 0):
        number = int(problem.source.split()[1])
        assert problem.source == f"Film {number} {{labels}}" and problem.answer == COLUMNS.labels[number % 3]
        assert problem.question == f"{problem.source}\nLabel ({', '.join(problem.columns['labels'])}):"
        assert sorted(problem.columns["labels"]) == ["bad", "good", "so so"]
        assert problem.columns["year"] == 1990 + number and "label" not in problem.columns


def test_every_label_stands_in_every_place_alike_often_also_the_right_one(tmp_path: Path):
    problems = task(tmp_path).problems("train", 200, 0)
    places = Counter(problem.columns["labels"].index(problem.answer) for problem in problems)
    assert min(places.values()) > 45 and len(places) == 3  # 67 each is expected, with a standard deviation of 6.7


def test_another_order_seed_lists_them_in_another_order_and_moves_no_text_to_the_other_split(tmp_path: Path):
    other = replace(COLUMNS, order_seed=1)
    here, there = (
        {problem.source: problem.question for problem in task(tmp_path, columns).problems("test", 20, 0)}
        for columns in (COLUMNS, other)
    )
    assert here.keys() == there.keys() and here != there
    assert all(split_of(text) == "test" for text in here)
    again = {problem.source: problem.question for problem in task(tmp_path).problems("test", 20, 0)}
    assert again == here


def test_labels_may_be_numbers(tmp_path: Path):
    numbered = [{"text": row["text"], "label": COLUMNS.labels.index(row["label"])} for row in ROWS]
    spelled = [{name: row[name] for name in ("text", "label")} for row in ROWS]
    assert task(tmp_path, rows=numbered).problems("train", 50, 3) == task(tmp_path, rows=spelled).problems(
        "train", 50, 3
    )


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"label": "bad"}, "column 'text' is None; it must be a text, and not empty"),
        ({"text": " ", "label": "bad"}, "column 'text' is ' '"),
        ({"text": "a", "label": "Bad"}, "column 'label' is 'Bad'; it must be one of 'bad', 'good', 'so so', or its"),
        ({"text": "a", "label": 3}, "column 'label' is 3"),
        ({"text": "a", "label": -1}, "column 'label' is -1"),
        ({"text": "a", "label": True}, "column 'label' is True"),
        ({"text": "a", "label": ["bad"]}, "column 'label' is"),
        ({"text": "a"}, "column 'label' is None"),
        ({"text": "a", "label": "bad", "kind": "x"}, r"column 'kind' can't be told from .*\(columns.left_out\)"),
    ],
)
def test_a_row_without_text_or_label_is_refused_by_file_and_line(tmp_path: Path, row: dict, told: str):
    with pytest.raises(InputError, match=rf"rows.jsonl:2: {told}"):
        task(tmp_path, rows=[ROWS[0], row]).problems("train", 1, 0)


def test_texts_of_both_files_are_counted_whatever_their_labels(tmp_path: Path):
    one, other = (
        [{"text": text, "label": label} for text, label in rows]
        for rows in ((("a  b", "bad"), ("c", "bad")), (("a b", "good"), ("d", "bad")))
    )
    told = COLUMNS.shared(one, other, "one", "other")
    assert told == "1 of the 2 questions in other are questions of one too"
    assert COLUMNS.shared(one, other[1:], "one", "other") == ""


@pytest.mark.parametrize("labels", [(), ("one",), ("yes", "yes"), ("yes", "Yes"), ("yes", ""), ("yes", " no")])
def test_labels_that_a_reply_cannot_be_told_apart_by_are_refused(labels):
    with pytest.raises(InputError, match="give at least two that differ"):
        check_labels(labels, "{text}")


def test_a_form_without_the_text_is_refused():
    with pytest.raises(InputError, match="without {text}"):
        LabelColumns(labels=("a", "b"), form="{labels}")


def test_braces_in_a_text_stay_as_they_are():
    problem = labelled("{labels} {0} {text}", "a", ("a", "b"), "k", random.Random(0), "{text}|{labels}", "")
    assert problem.question.startswith("{labels} {0} {text}|") and problem.question[-2:] in ("ab", "ba")
