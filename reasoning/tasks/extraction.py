"""Texts with a record each, to be written as JSON by a schema that stands in the prompt."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from reasoning.core.errors import InputError
from reasoning.core.files import parse_json
from reasoning.tasks.problems import Problem
from reasoning.tasks.question_files import QuestionColumns

FieldType = Literal["string", "integer", "number", "boolean"]
"""What a field may hold, in JSON Schema's words; null too, where the text doesn't say it."""

SCHEMA = "schema"
"""The column of a problem that holds its fields and their types."""

_FORM = "{text}\nJSON of {schema}:"


def has_type(value: Any, kind: str) -> bool:
    """Whether a JSON value is of a field's type. Null is of each; true is no number, and 1.0 no integer."""
    if value is None:
        return True
    if isinstance(value, bool):
        return kind == "boolean"
    if isinstance(value, str):
        return kind == "string"
    return isinstance(value, int) and kind in ("integer", "number") or isinstance(value, float) and kind == "number"


def check_schema(schema: Mapping[str, str], form: str) -> None:
    """Raises InputError for a schema without fields or with unknown types, and for a form without the text."""
    unknown = sorted({str(kind) for kind in schema.values()} - {*get_args(FieldType)})
    if not schema or unknown:
        raise InputError(
            f"schema is {dict(schema)!r:.80}; give each field one of the types {', '.join(get_args(FieldType))}"
        )
    if "{text}" not in form:
        raise InputError(f"form is {form!r:.60} without {{text}}, so that all questions would be the same")


def check_record(record: Any, schema: Mapping[str, str]) -> Mapping[str, Any]:
    """The record. Raises InputError for what isn't an object of the schema's fields, all of them and of their types."""
    if not isinstance(record, Mapping):
        raise InputError(f"the record is {record!r:.60}; it must be a JSON object")
    if record.keys() != schema.keys():
        raise InputError(f"the record has the fields {', '.join(record)}, and the schema {', '.join(schema)}")
    for name, value in record.items():
        if not has_type(value, schema[name]):
            raise InputError(f"field {name!r} is {value!r:.60}, and its type is {schema[name]}")
    return record


def extracted(
    text: str, record: Mapping[str, Any], schema: Mapping[str, str], kind: str, form: str = _FORM, compact: bool = False
) -> Problem:
    """The problem of a text: its answer is the record as JSON, fields in the schema's order; the text is its source."""
    separators = (",", ":") if compact else (", ", ": ")
    told = {"text": text, "schema": json.dumps(dict(schema), ensure_ascii=False, separators=separators)}
    question = re.sub("{(text|schema)}", lambda found: told[found[1]], form)
    ordered = {name: record[name] for name in schema}
    answer = json.dumps(ordered, ensure_ascii=False, separators=separators)
    return Problem(question, answer, kind, {SCHEMA: dict(schema)}, source=text)


@dataclass(frozen=True, kw_only=True)
class RecordColumns:
    """Which columns hold a text and its record, for ``question_files.QuestionFile`` and ``QuestionRecords``.

    A record is an object, or the text of one; it has all fields of ``schema``. Other columns are left out.
    """

    text: str = "text"
    record: str = "record"
    schema: Mapping[str, FieldType] = field(hash=False)
    form: str = _FORM  # the question, with {text} and, where it shows it, {schema}

    def __post_init__(self) -> None:
        check_schema(self.schema, self.form)

    def problem(self, row: Mapping[str, Any], kind: str, where: str) -> Problem:
        """A row's problem. Raises InputError, beginning with ``where``, for a row without text or fitting record."""
        text, record = (
            value.decode(errors="replace") if isinstance(value, bytes) else value
            for value in (row.get(self.text), row.get(self.record))
        )
        if not isinstance(text, str) or not text.strip():
            raise InputError(f"{where}: column {self.text!r} is {text!r:.60}; it must be a text, and not empty")
        if isinstance(record, str):
            record = parse_json(record, f"{where}: column {self.record!r}")
        try:
            fitting = check_record(record, self.schema)
        except InputError as error:
            raise InputError(f"{where}: column {self.record!r}: {error}") from None
        return extracted(text.strip(), fitting, self.schema, kind, self.form)

    def shared(
        self, train: Iterable[Mapping[str, Any]], test: Iterable[Mapping[str, Any]], train_name: str, test_name: str
    ) -> str:
        """How many of the texts of ``test`` are texts of ``train``, in a sentence; empty for none."""
        return QuestionColumns(question=self.text).shared(train, test, train_name, test_name)
