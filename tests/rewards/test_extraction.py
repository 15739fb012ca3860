import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasoning.core.errors import InputError
from reasoning.data.chat.format import ChatFormat
from reasoning.rewards.extraction import ExactRecord, FieldF1, FitsSchema, fits, hits, read_record
from reasoning.rewards.reward import reader_of
from reasoning.tasks.problems import Problem

SCHEMA = {"who": "string", "age": "integer", "height": "number", "tall": "boolean"}
RIGHT = {"who": "café", "age": 1, "height": 2.0, "tall": True}
ANSWER = json.dumps(RIGHT)


def changed(**fields: object) -> str:
    return json.dumps({**RIGHT, **fields}, ensure_ascii=False)


REPLIES = {
    "the answer itself": (ANSWER, 1.0, 1.0, 1.0),
    "tagged, with thinking": (f"<think>x</think><answer> {ANSWER}\n</answer>", 1.0, 1.0, 1.0),
    "fields in another order": (json.dumps(dict(reversed(RIGHT.items()))), 1.0, 1.0, 1.0),
    "letters decomposed, a number written whole": (changed(who="cafe\u0301", height=2), 1.0, 1.0, 1.0),
    "one field wrong": (changed(age=2), 0.0, 0.75, 1.0),
    "true for one": (changed(age=True), 0.0, 0.75, 0.0),
    "one for true": (changed(tall=1), 0.0, 0.75, 0.0),
    "a fraction for an integer": (changed(age=1.0), 0.0, 0.75, 0.0),
    "a text for a number": (changed(age="1"), 0.0, 0.75, 0.0),
    "null": (changed(who=None), 0.0, 0.75, 1.0),
    "a field missing": ('{"who": "café", "age": 1, "height": 2.0}', 0.0, 2 * 3 / 7, 0.0),
    "a field too many": (changed(more=1), 0.0, 2 * 4 / 9, 0.0),
    "a key twice": (ANSWER[:-1] + ', "age": 1}', 0.0, 0.0, 0.0),
    "text behind it": (ANSWER + " as asked", 0.0, 0.0, 0.0),
    "text before it": ("Here: " + ANSWER, 0.0, 0.0, 0.0),
    "in a fence": (f"```json\n{ANSWER}\n```", 0.0, 0.0, 0.0),
    "not a number": (ANSWER.replace("2.0", "NaN"), 0.0, 0.0, 0.0),
    "too large a number": (ANSWER.replace("2.0", "1e999"), 0.0, 0.0, 0.0),
    "single quotes": (str(RIGHT), 0.0, 0.0, 0.0),
    "a list": (f"[{ANSWER}]", 0.0, 0.0, 0.0),
    "too deep": ("[" * 100_000, 0.0, 0.0, 0.0),
    "an empty object": ("{}", 0.0, 0.0, 0.0),
    "cut in the middle": (ANSWER[:-3], 0.0, 0.0, 0.0),
    "nothing": ("", 0.0, 0.0, 0.0),
}


@pytest.mark.parametrize(("reply", "exact", "shared", "fitting"), REPLIES.values(), ids=REPLIES)
def test_replies_are_read_strictly_and_scored_as_a_whole_and_by_field(reply, exact, shared, fitting):
    given = {"prompts": ["p"], "completions": [reply], "answer": [ANSWER], "schema": [SCHEMA]}
    assert ExactRecord()(**given) == [exact]
    assert FieldF1()(**given) == [pytest.approx(shared)]
    assert FitsSchema()(**given) == [fitting]
    assert [reward(**given, truncated=[True]) for reward in (ExactRecord(), FieldF1(), FitsSchema())] == [[0.0]] * 3


values = st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["a", "b", "1"]) | st.sampled_from([1.0, 2.5])
records = st.dictionaries(st.sampled_from("abcd"), values, min_size=1)


@given(records, records)
def test_the_f1_is_that_of_sets_of_typed_fields(right, given):
    schema = {name: kind_of(value) for name, value in right.items()}

    def pairs(record):
        return {(name, kind_of(value), json.dumps(value)) for name, value in record.items()}

    # A number field takes whole numbers too; here each field's type is its right value's own.
    both = {pair for pair in pairs(given) & pairs(right)}
    both |= {
        pair for pair in pairs(given) - both
        for other in pairs(right)
        if pair[0] == other[0] and other[1] == "number" and pair[1] == "integer" and float(pair[2]) == float(other[2])
    }  # fmt: skip
    precision, recall = len(both) / len(given), len(both) / len(right)
    expected = 2 * precision * recall / (precision + recall) if both else 0.0
    columns = {"answer": [json.dumps(right)], "schema": [schema]}
    assert FieldF1()(["p"], [json.dumps(given)], **columns) == [pytest.approx(expected)]
    assert ExactRecord()(["p"], [json.dumps(given)], **columns) == [float(expected == 1.0)]


def kind_of(value: object) -> str:
    if isinstance(value, bool):
        return "boolean"
    return {str: "string", int: "integer", float: "number"}.get(type(value), "string")


def test_votes_count_equal_records_as_one_answer():
    read = reader_of((ExactRecord(),), Problem("q", ANSWER, "k", {"schema": SCHEMA}))
    assert read is not None
    one, other, none = (read(text, ANSWER, ChatFormat()) for text in ('{"a": 1, "b": 2}', '{"b":2,"a":1}', "{'a': 1}"))
    assert one == other is not None and none is None


def test_the_parts_of_a_comparison():
    record = read_record(f" {ANSWER}\n")
    assert record == RIGHT and fits(record, SCHEMA) and hits(record, RIGHT, SCHEMA) == 4
    assert read_record("3") is None and not fits({"who": "x"}, SCHEMA)


@pytest.mark.parametrize("reward", [ExactRecord(), FieldF1(), FitsSchema()], ids=lambda reward: reward.__name__)
def test_a_problem_without_schema_or_with_another_answer_is_refused(reward):
    with pytest.raises(InputError, match=r"can't judge the problem 'q' \(k\): its column 'schema' is None"):
        reward.check([Problem("q", ANSWER, "k")])
    with pytest.raises(InputError, match=r"its answer is 'six'; the record is None; it must be a JSON object"):
        reward.check([Problem("q", "six", "k", {"schema": SCHEMA})])
    reward.check([Problem("q", ANSWER, "k", {"schema": SCHEMA})])
