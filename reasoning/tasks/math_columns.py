"""Problems of mathematics in rows of files and data sets: MATH by level and subject, AIME and AMC with whole numbers.

Answers are for ``rewards.math.Math``, which reads LaTeX; how they are written is left as it is.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from reasoning.core.errors import InputError
from reasoning.tasks.boxed import last_box
from reasoning.tasks.problems import Problem, json_like
from reasoning.tasks.question_files import refused, shared_questions


@dataclass(frozen=True, kw_only=True)
class MathColumns:
    r"""Which columns hold a problem, for ``question_files.QuestionFile`` and ``QuestionRecords``.

    The answer is the column of that name, a text or a whole number (``204``, also where a file has 204.0); or, where
    ``solution`` names a column, what the last ``\boxed{}`` of it holds. ``kinds`` are columns whose values together
    are the problem's kind, by which tables are split: ``Level 5``, or ``algebra, level 5`` of a text and a number.
    Rewards get all other columns.
    """

    question: str = "problem"
    answer: str = "answer"
    solution: str = ""
    kinds: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()  # columns that are of no use to rewards

    def problem(self, row: Mapping[str, Any], kind: str, where: str) -> Problem:
        """A row's problem, of ``kind`` where no columns of kinds are named.

        Raises InputError, beginning with ``where``, for a row without question, answer, box or kind.
        """
        try:
            columns = {n: json_like(value, partial(refused, n)) for n, value in row.items() if n not in self.left_out}
            question, answer = _text(row, self.question), self._answer(row)
            sorted_as = ", ".join(_kind(row, column) for column in self.kinds) or kind
            taken = (self.question, self.answer, self.solution)
            return Problem(question, answer, sorted_as, {n: v for n, v in columns.items() if n not in taken})
        except InputError as error:
            raise InputError(f"{where}: {error}") from None

    def shared(
        self, train: Iterable[Mapping[str, Any]], test: Iterable[Mapping[str, Any]], train_name: str, test_name: str
    ) -> str:
        """How many of the questions of ``test`` are questions of ``train``, in a sentence; empty for none."""
        return shared_questions(self.question, train, test, train_name, test_name)

    def _answer(self, row: Mapping[str, Any]) -> str:
        if not self.solution:
            return _text(row, self.answer)
        answer = last_box(_text(row, self.solution))
        if answer is None:
            raise InputError(f"column {self.solution!r} has no last \\boxed{{…}} with an answer in it")
        return answer


MATH = MathColumns(solution="solution", kinds=("level",), left_out=("answer",))
"""Measuring Mathematical Problem Solving With the MATH Dataset (arXiv 2103.03874); the subject is in ``type``."""

MATH_500 = MathColumns(kinds=("level",), left_out=("solution",))
"""The 500 problems of Let's Verify Step by Step (arXiv 2305.20050), with answers, and the subject in ``subject``."""

AIME = MathColumns(left_out=("solution",))
"""Competitions whose answers are whole numbers, AIME's from 000 to 999, AMC's too; DeepSeek-R1 reports pass@1 over
64 samples and the vote of 64, cons@64 (arXiv 2501.12948, section 3)."""


def _text(row: Mapping[str, Any], column: str) -> str:
    value = row.get(column)
    value = value.decode() if isinstance(value, bytes) else json_like(value, partial(refused, column))
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not value.strip():
        raise InputError(f"column {column!r} is {value!r:.60}; it must be a text or a whole number, and not empty")
    return value.strip()


def _kind(row: Mapping[str, Any], column: str) -> str:
    """A column's text, or its name with a number: ``Level 5``, ``level 5``."""
    text = _text(row, column)
    return f"{column} {text}" if text.lstrip("-").isdecimal() else text
