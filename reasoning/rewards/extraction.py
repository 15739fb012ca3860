"""Rewards for a record written as JSON: as a whole, field by field, and for its form alone."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from reasoning.core.errors import InputError
from reasoning.core.files import parse_json
from reasoning.data.chat.format import ChatFormat
from reasoning.rewards.reward import Flags, Format, Reader, Texts
from reasoning.rewards.text import answer_part, score_each
from reasoning.tasks.answers import composed
from reasoning.tasks.extraction import SCHEMA, check_record, has_type
from reasoning.tasks.problems import Problem

_Schemas = Sequence[Mapping[str, str]]


def read_record(text: str) -> dict[str, Any] | None:
    """The JSON object that a text is, as a whole; None for any other text.

    A key given twice, NaN, numbers that no float holds, and anything before or after make it no object.
    """
    try:
        record = parse_json(text.strip(), "reply")
    except InputError:
        return None
    return record if isinstance(record, dict) else None


def fits(record: Mapping[str, Any], schema: Mapping[str, str]) -> bool:
    """Whether a record has all fields of a schema, of their types, and no other."""
    return record.keys() == schema.keys() and all(has_type(value, schema[name]) for name, value in record.items())


def hits(record: Mapping[str, Any], right: Mapping[str, Any], schema: Mapping[str, str]) -> int:
    """How many fields have the right value, of the right type; texts are compared as answers are (composed, NFC)."""
    shared = [name for name in right if name in record and has_type(record[name], schema[name])]
    return sum(_comparable(record[name]) == _comparable(right[name]) for name in shared)


def _comparable(value: Any) -> Any:
    return (
        type(value).__name__ if isinstance(value, bool) else "",
        composed(value) if isinstance(value, str) else value,
    )


def _read(schema: Mapping[str, str], completion: str, answer: str, chat: ChatFormat) -> str | None:
    """A reply's record, its fields in order, so that equal ones are one answer in votes."""
    record = read_record(answer_part(completion, chat))
    return None if record is None else json.dumps(record, ensure_ascii=False, sort_keys=True)


def _check(name: str, problems: Sequence[Problem]) -> None:
    """Raises InputError for a problem without a schema, or whose answer isn't a record of it."""
    for problem in problems:
        where = f"the reward {name} can't judge the problem {problem.question!r:.60} ({problem.kind})"
        schema = problem.columns.get(SCHEMA)
        if not isinstance(schema, Mapping):
            raise InputError(f"{where}: its column {SCHEMA!r} is {schema!r:.60}; it must say each field's type")
        try:
            check_record(read_record(problem.answer), schema)
        except InputError as error:
            raise InputError(f"{where}: its answer is {problem.answer!r:.60}; {error}") from None


@dataclass(frozen=True)
class ExactRecord:
    """1.0 for a reply whose answer is the right record: all fields, no other, each of its type and value; else 0.0.

    The answer is what follows the last opening answer tag or, in formats without one, the thinking. It is read
    strictly (``read_record``). A completion that the length limit cut off is never right.
    """

    __name__: ClassVar[str] = "record"  # what metrics call it

    def __call__(
        self,
        prompts: Texts,
        completions: Texts,
        answer: Texts,
        schema: _Schemas,
        truncated: Flags = None,
        chat: Format = None,
        **columns: object,
    ) -> list[float]:
        """One value a completion."""

        def right(completion: str, tags: ChatFormat, expected: str, types: Mapping[str, str]) -> bool:
            record, wanted = read_record(answer_part(completion, tags)), read_record(expected)
            return bool(record and wanted and fits(record, types) and hits(record, wanted, types) == len(wanted))

        return score_each(right, completions, truncated, chat, answer, schema)

    def check(self, problems: Sequence[Problem]) -> None:
        """Raises InputError, naming the problem, for one that isn't of records (``rewards.reward.Selective``)."""
        _check(self.__name__, problems)

    def reader(self, problem: Problem) -> Reader:
        """How replies to a problem are read (``rewards.reward.ReadingSome``)."""
        return partial(_read, problem.columns[SCHEMA])


@dataclass(frozen=True)
class FieldF1:
    """The F1 of a reply's fields: 2 · right / (given + wanted), so that a field too many costs as one too few.

    A field is right with the right value of its type. What isn't a JSON object scores 0.0, and so does a completion
    that the length limit cut off; the answer is found as ``ExactRecord`` finds it.
    """

    __name__: ClassVar[str] = "field_f1"  # what metrics call it

    def __call__(
        self,
        prompts: Texts,
        completions: Texts,
        answer: Texts,
        schema: _Schemas,
        truncated: Flags = None,
        chat: Format = None,
        **columns: object,
    ) -> list[float]:
        """One value a completion."""

        def share(completion: str, tags: ChatFormat, expected: str, types: Mapping[str, str]) -> float:
            record, wanted = read_record(answer_part(completion, tags)), read_record(expected)
            if not record or not wanted:
                return 0.0
            return 2 * hits(record, wanted, types) / (len(record) + len(wanted))

        return score_each(share, completions, truncated, chat, answer, schema)

    def check(self, problems: Sequence[Problem]) -> None:
        """Raises InputError, naming the problem, for one that isn't of records (``rewards.reward.Selective``)."""
        _check(self.__name__, problems)


@dataclass(frozen=True)
class FitsSchema:
    """1.0 for a reply whose answer is a record of the schema, whatever its values, else 0.0: a rate for exams."""

    __name__: ClassVar[str] = "fits_schema"  # what metrics call it

    def __call__(
        self,
        prompts: Texts,
        completions: Texts,
        schema: _Schemas,
        truncated: Flags = None,
        chat: Format = None,
        **columns: object,
    ) -> list[float]:
        """One value a completion."""

        def fitting(completion: str, tags: ChatFormat, types: Mapping[str, str]) -> bool:
            record = read_record(answer_part(completion, tags))
            return record is not None and fits(record, types)

        return score_each(fitting, completions, truncated, chat, schema)

    def check(self, problems: Sequence[Problem]) -> None:
        """Raises InputError, naming the problem, for one that isn't of records (``rewards.reward.Selective``)."""
        _check(self.__name__, problems)
