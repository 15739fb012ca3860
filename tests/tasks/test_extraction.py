"""Records to extract: what a question shows, what its answer is, and rows that are refused."""

import json
from pathlib import Path
from typing import Any

import pytest

from reasoning.core.errors import InputError
from reasoning.tasks.extraction import RecordColumns, check_record, check_schema, extracted, has_type
from reasoning.tasks.question_files import QuestionFile

SCHEMA = {"who": "string", "age": "integer", "height": "number", "tall": "boolean"}
RECORD = {"height": 1.75, "who": "Zoë", "tall": None, "age": 30}
COLUMNS = RecordColumns(schema=SCHEMA)


def task(folder: Path, *rows: Any) -> QuestionFile:
    file = folder / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return QuestionFile(path=str(file), test_path=str(file), columns=COLUMNS, name="people")


def test_a_question_shows_the_text_and_the_schema_and_the_answer_is_the_record_in_its_order(tmp_path: Path):
    rows = [{"text": "Zoë {schema}", "record": RECORD}, {"text": "again", "record": json.dumps(RECORD), "x": 1}]
    for problem in task(tmp_path, *rows).problems("train", 2, 0):
        text, _, shown = problem.question.partition("\nJSON of ")
        assert problem.source == text in ("Zoë {schema}", "again")
        assert json.loads(shown.removesuffix(":")) == SCHEMA == problem.columns["schema"]
        assert problem.answer == '{"who": "Zoë", "age": 30, "height": 1.75, "tall": null}'
        assert problem.kind == "people"


def test_compact_json_has_no_spaces():
    problem = extracted("t", {"a": 1, "b": "c d"}, {"a": "integer", "b": "string"}, "k", "{text}{schema}", compact=True)
    assert problem.answer == '{"a":1,"b":"c d"}' and problem.question == 't{"a":"integer","b":"string"}'


@pytest.mark.parametrize(
    ("value", "types"),
    [
        ("x", {"string"}),
        ("1", {"string"}),
        (1, {"integer", "number"}),
        (1.0, {"number"}),
        (0, {"integer", "number"}),
        (True, {"boolean"}),
        (None, {"string", "integer", "number", "boolean"}),
        ([], set()),
        ({}, set()),
    ],
)
def test_types_are_those_of_json_and_true_is_no_number(value, types):
    assert {kind for kind in ("string", "integer", "number", "boolean") if has_type(value, kind)} == types


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"record": RECORD}, "column 'text' is None"),
        ({"text": "", "record": RECORD}, "column 'text' is ''"),
        ({"text": "a"}, "column 'record': the record is None; it must be a JSON object"),
        ({"text": "a", "record": [1]}, "column 'record': the record is .1."),
        ({"text": "a", "record": "{"}, "column 'record':1: not JSON"),
        ({"text": "a", "record": '{"who": NaN}'}, "column 'record':1: not plain JSON: NaN is not JSON"),
        (
            {"text": "a", "record": {"who": "x"}},
            "column 'record': the record has the fields who, and the schema who, age",
        ),
        ({"text": "a", "record": {**RECORD, "x": 1}}, "column 'record': the record has the fields"),
        (
            {"text": "a", "record": {**RECORD, "age": "30"}},
            "column 'record': field 'age' is '30', and its type is integer",
        ),
    ],
)
def test_a_row_without_text_or_fitting_record_is_refused_by_file_and_line(tmp_path: Path, row: dict, told: str):
    with pytest.raises(InputError, match=rf"rows.jsonl:2: {told}"):
        task(tmp_path, {"text": "b", "record": RECORD}, row).problems("train", 1, 0)


def test_texts_of_both_files_are_counted():
    assert COLUMNS.shared([{"text": "a  b"}], [{"text": "a b"}, {"text": "c"}], "one", "other").startswith("1 of the 2")


@pytest.mark.parametrize("schema", [{}, {"a": "text"}, {"a": "string", "b": "int"}])
def test_a_schema_without_fields_or_of_unknown_types_is_refused(schema):
    with pytest.raises(InputError, match="give each field one of the types string, integer, number, boolean"):
        check_schema(schema, "{text}")


def test_a_form_without_the_text_is_refused():
    with pytest.raises(InputError, match="without {text}"):
        RecordColumns(schema={"a": "string"}, form="{schema}")


def test_a_record_that_fits_is_none_to_complain_of():
    check_record(RECORD, SCHEMA)
