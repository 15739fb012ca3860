"""Multiple choice: questions with lettered choices in an order drawn by a seed, so that a model's bias shows."""

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from reasoning.core.errors import InputError
from reasoning.core.ranges import Index
from reasoning.tasks.problems import Problem, json_like
from reasoning.tasks.question_files import refused
from reasoning.tasks.splits import words_of

LETTERS = "ABCDEFGHIJ"

Letter = Literal["A", "B", "C", "D", "E", "F", "G", "H", "I", "J"]


@dataclass(frozen=True)
class ChoiceForm:
    """How a question with its choices is written, and in which order they stand: by ``seed`` and question."""

    form: str = "{question}\n{choices}"
    line: str = "{letter}. {choice}\n"
    seed: Index = 0

    def __post_init__(self) -> None:
        for name, text, places in (
            ("form", self.form, ("{question}", "{choices}")),
            ("line", self.line, ("{letter}", "{choice}")),
        ):
            if missing := [place for place in places if text.count(place) != 1]:
                raise InputError(f"ChoiceForm has {name}={text!r}, which must hold {missing[0]} once")

    def problem(
        self, question: str, right: str, wrong: Sequence[str], kind: str, columns: Mapping[str, Any]
    ) -> Problem:
        """The problem whose answer is the right choice's letter, which its kind tells too: ``kind, answer B``.

        Its columns get ``choices``, the texts as they stand; ``choice``, the right one; and ``labels``, the letters.
        Raises InputError for fewer than two choices or more than there are letters, and for two that are alike.
        """
        choices = sorted((right, *wrong))
        if len({words_of(choice) for choice in choices}) < len(choices) or not 2 <= len(choices) <= len(LETTERS):
            raise InputError(
                f"the choices of {question!r:.60} are {choices!r:.80}; give 2 to {len(LETTERS)}, no two of them alike"
            )
        source = "\n".join((question, *choices))  # some questions ask "Which of these is true?"
        random.Random(f"choices/{self.seed}/{source}").shuffle(choices)
        letter = LETTERS[choices.index(right)]
        lines = [
            self.line.replace("{letter}", each).replace("{choice}", choice)
            for each, choice in zip(LETTERS, choices, strict=False)
        ]
        before, _, after = self.form.partition("{choices}")
        text = before.replace("{question}", question) + "".join(lines) + after.replace("{question}", question)
        own = {"choices": choices, "choice": right, "labels": [*LETTERS[: len(choices)]]}
        return Problem(text.strip(), letter, f"{kind}, answer {letter}", {**columns, **own}, source)


@dataclass(frozen=True, kw_only=True)
class ChoiceColumns:
    """Which columns hold a question, its choices and the right one; a value for ``QuestionFile.columns``.

    ``choices`` is one column with a list of them (or, as ARC has it, with a list ``text``), or several columns with one
    each, of which those may be empty in a row that has fewer. ``answer`` holds the right one's place (``index``, from
    0), its ``letter``, or its ``text``. Rewards get all other columns.
    """

    question: str = "question"
    choices: tuple[str, ...] = ("choices",)
    answer: str = "answer"
    answer_as: Literal["index", "letter", "text"] = "index"
    left_out: tuple[str, ...] = ()
    shown: ChoiceForm = ChoiceForm()

    def __post_init__(self) -> None:
        if not self.choices:
            raise InputError("ChoiceColumns names no column of choices; give one with a list, or one for each choice")

    def problem(self, row: Mapping[str, Any], kind: str, where: str) -> Problem:
        """A row's problem. Raises InputError, beginning with ``where``, for a row without one."""
        try:
            choices = self._choices(row)
            right = self._right(_plain(row.get(self.answer)), choices)
            own = (self.question, self.answer, *self.choices, *self.left_out)
            others = {name: json_like(row[name], partial(refused, name)) for name in row if name not in own}
            wrong = [choice for at, choice in enumerate(choices) if at != right]
            question = _text(row.get(self.question), self.question)
            return self.shown.problem(question, choices[right], wrong, kind, others)
        except InputError as error:
            raise InputError(f"{where}: {error}") from None

    def shared(
        self, train: Iterable[Mapping[str, Any]], test: Iterable[Mapping[str, Any]], train_name: str, test_name: str
    ) -> str:
        """How many of the questions of ``test`` are questions of ``train``, whatever the order of choices; a sentence.

        Empty for none. Rows without a problem are passed over; whoever wants their problems hears of that.
        """
        known, asked = ({words_of(each) for row in rows if (each := self._source(row))} for rows in (train, test))
        both = len(known & asked)
        return f"{both} of the {len(asked)} questions in {test_name} are questions of {train_name} too" if both else ""

    def _source(self, row: Mapping[str, Any]) -> str:
        try:
            return self.problem(row, "", "").source
        except InputError:
            return ""

    def _choices(self, row: Mapping[str, Any]) -> list[str]:
        column, *others = self.choices
        if others:
            held = {name: _plain(row.get(name)) for name in self.choices}
            return [_text(value, name) for name, value in held.items() if value not in (None, "")]
        value = json_like(row.get(column), partial(refused, column))
        value = value.get("text") if isinstance(value, dict) else value
        if not isinstance(value, list):
            raise InputError(f"column {column!r} is {value!r:.60}; it must be a list of texts, or name several columns")
        return [_text(_plain(choice), column) for choice in value]

    def _right(self, value: Any, choices: Sequence[str]) -> int:
        """The right choice's place."""
        if isinstance(value, str):
            value = value.strip()
        places: Sequence[Any] = range(len(choices))
        if self.answer_as == "letter":
            places = LETTERS[: len(choices)]
        elif self.answer_as == "text":
            places = choices
        if isinstance(value, bool) or value in ("", None) or value not in [*places]:
            raise InputError(
                f"column {self.answer!r} is {value!r:.60}, which is no {self.answer_as} of its {len(choices)} choices; "
                "see answer_as"
            )
        return [*places].index(value)


def _plain(value: Any) -> Any:
    """Text for bytes, Python's numbers for numpy's."""
    return json_like(value, lambda other: other)


def _text(value: Any, column: str) -> str:
    value = str(value) if isinstance(value, int | float) and not isinstance(value, bool) else _plain(value)
    if not isinstance(value, str) or not value.strip():
        raise InputError(f"column {column!r} is {value!r:.60}; it must be a text, and not empty")
    return value.strip()


MMLU = ChoiceColumns()
"""Measuring Massive Multitask Language Understanding (arXiv 2009.03300), as its rows of four choices are published."""

ARC = ChoiceColumns(answer="answerKey", answer_as="letter")
"""AI2 Reasoning Challenge (arXiv 1803.05457); rows whose key is a number are refused."""

GPQA = ChoiceColumns(
    question="Question",
    choices=("Correct Answer", "Incorrect Answer 1", "Incorrect Answer 2", "Incorrect Answer 3"),
    answer="Correct Answer",
    answer_as="text",
)
"""A Graduate-Level Google-Proof Q&A Benchmark (arXiv 2311.12022)."""
