import json
import random
import re

import pytest

from reasoning.core.errors import InputError
from reasoning.tasks.choices import ARC, GPQA, LETTERS, MMLU, ChoiceColumns, ChoiceForm
from reasoning.tasks.problems import ProblemSet, identity
from reasoning.tasks.question_files import QuestionFile
from reasoning.tasks.splits import split_of

LINE = re.compile(r"^([A-J])\. (.*)$", re.MULTILINE)


def chosen(problem) -> str:
    """The text of the right letter, as the question shows it."""
    return dict(LINE.findall(problem.question))[problem.answer]


def rows(count: int) -> list[dict]:
    return [
        {"question": f"Which number is {n}?", "choices": [str(n + at) for at in range(4)], "answer": 0, "subject": "n"}
        for n in range(0, 4 * count, 4)
    ]


def write(path, lines) -> str:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return str(path)


def test_the_right_choice_keeps_its_letter_through_every_order_and_letters_are_dealt_out_evenly(tmp_path):
    task = QuestionFile(path=write(tmp_path / "a.jsonl", rows(500)), columns=MMLU, name="mmlu")
    problems = task.problems("train", 400, 0)
    for problem in problems:
        assert chosen(problem) == re.findall(r"\d+", problem.question)[0] == problem.columns["choice"]
        assert problem.kind == f"mmlu, answer {problem.answer}" and problem.columns["subject"] == "n"
        assert problem.columns["choices"] == [text for _, text in LINE.findall(problem.question)]
        assert problem.columns["labels"] == ["A", "B", "C", "D"]
    counts = [sum(problem.answer == letter for problem in problems) for letter in "ABCD"]
    assert all(70 < count < 130 for count in counts)  # four standard deviations from 100


def test_another_seed_orders_anew_and_moves_no_question_to_the_other_split(tmp_path):
    path = write(tmp_path / "a.jsonl", rows(300))
    first, second = (
        {
            identity(problem): problem
            for problem in QuestionFile(
                path=path, columns=ChoiceColumns(shown=ChoiceForm(seed=seed)), name="mmlu"
            ).problems("test", 20, 0)
        }
        for seed in (0, 1)
    )
    shared = first.keys() & second.keys()
    assert len(shared) > 10 and all(split_of(name) == "test" for name in (*first, *second))
    assert any(first[name].answer != second[name].answer for name in shared)


@pytest.mark.parametrize(
    ("columns", "row", "right"),
    [
        (MMLU, {"question": "q", "choices": ["x", "y"], "answer": 1}, "y"),
        (ARC, {"question": "q", "choices": {"text": ["x", "y"], "label": ["A", "B"]}, "answerKey": "B"}, "y"),
        (
            GPQA,
            {
                "Question": "q",
                "Correct Answer": "y\n",
                "Incorrect Answer 1": "x",
                "Incorrect Answer 2": "z",
                "Incorrect Answer 3": "",
            },
            "y",
        ),
        (
            ChoiceColumns(choices=("a", "b"), answer="right", answer_as="letter"),
            {"question": "q", "a": "x", "b": 7, "right": "B"},
            "7",
        ),
        (ChoiceColumns(answer_as="text"), {"question": "q", "choices": ["B", "A"], "answer": "A"}, "A"),
    ],
)
def test_rows_of_known_files(columns, row, right):
    assert chosen(columns.problem(row, "k", "row 1")) == right


GOOD = {"question": "q", "choices": ["x", "y"], "answer": 1}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"answer": 2}, "a:3: column 'answer' is 2, which is no index of its 2 choices; see answer_as"),
        ({"answer": "1"}, "is '1', which is no index"),
        ({"answer": True}, "is True, which is no index"),
        ({"answer": None}, "is None"),
        ({"choices": ["x", " x "]}, r"the choices of 'q' are \['x', 'x'\]"),
        ({"choices": ["x"], "answer": 0}, "give 2 to 10, no two of them alike"),
        ({"choices": list(map(str, range(11)))}, "give 2 to 10"),
        ({"choices": "xy"}, "column 'choices' is 'xy'; it must be a list of texts"),
        ({"choices": ["x", None]}, "column 'choices' is None; it must be a text"),
        ({"question": " "}, "column 'question' is ' '"),
        ({"kind": "x"}, "column 'kind' can't be told"),
    ],
)
def test_a_bad_row_is_named(change, message):
    with pytest.raises(InputError, match=message):
        MMLU.problem(GOOD | change, "k", "a:3")


def test_two_files_share_a_question_whatever_the_order_of_its_choices(tmp_path):
    ours = rows(5)
    theirs = [{**row, "choices": row["choices"][::-1], "answer": 3} for row in ours[:2]]
    theirs.append(
        {**ours[2], "choices": ["8", "1", "2", "3"]}
    )  # the same words with other choices are another question
    task = QuestionFile(
        path=write(tmp_path / "a.jsonl", ours), test_path=write(tmp_path / "b.jsonl", theirs), columns=MMLU
    )
    with pytest.raises(InputError, match=r"2 of the 3 questions in .*b.jsonl are questions of .*a.jsonl too"):
        ProblemSet((task,), "test", 3).leaks()


def test_forms_without_their_parts_are_refused():
    with pytest.raises(InputError, match="form='x', which must hold {question} once"):
        ChoiceForm(form="x")
    with pytest.raises(InputError, match="line='{choice}', which must hold {letter} once"):
        ChoiceForm(line="{choice}")


def test_choices_are_written_as_they_are_whatever_they_hold():
    form = ChoiceForm(form="{choices}{question}", line="({letter}) {choice};")
    for number in range(20):
        wrong = random.Random(number).sample(["{letter}", "{choice}", "{question}", "x"], 3)
        problem = form.problem("{choices}?", "y", wrong, "k", {})
        assert problem.question.endswith(";{choices}?") and f"({problem.answer}) y;" in problem.question
        assert all(f") {each};" in problem.question for each in wrong) and problem.answer in LETTERS[:4]
