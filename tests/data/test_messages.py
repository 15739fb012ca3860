import json
from dataclasses import replace

import numpy as np
import pytest

from reasoning.core.errors import InputError
from reasoning.data.chat.format import ChatFormat
from reasoning.data.chat.texts import ToolCall, Turn
from reasoning.data.messages import check_no_messages, is_empty, read_schemas, read_text, read_turns

CHAT = ChatFormat()
CALL = {"type": "function", "function": {"name": "clock", "arguments": {"zone": "é"}}}
SAID = [
    Turn("system", "Be brief.", learn=False),
    Turn("user", "When?", learn=False),
    Turn("assistant", "", learn=True, calls=(ToolCall("clock", '{"zone": "é"}'),)),
    Turn("tool", "9", learn=False),
    Turn("assistant", "At 9.", learn=True),
]
TRL = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "When?"},
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "name": "clock", "content": "9"},
    {"role": "assistant", "content": "At 9.", "tool_calls": None},
]
SHAREGPT = [
    {"from": "system", "value": "Be brief."},
    {"from": "human", "value": "When?"},
    {"from": "function_call", "value": '{"name": "clock", "arguments": {"zone": "é"}}'},
    {"from": "observation", "value": "9"},
    {"from": "gpt", "value": "At 9."},
]


def read(*messages):
    return read_turns(list(messages), CHAT, "a.jsonl:3, messages")


def test_both_programs_forms_of_one_conversation_are_the_same_turns():
    assert read_turns(TRL, CHAT, "") == read_turns(SHAREGPT, CHAT, "") == SAID
    renamed = [
        {**message, "from": {"human": "user", "gpt": "assistant"}.get(message["from"], message["from"])}
        for message in SHAREGPT
    ]
    assert read_turns(renamed, CHAT, "") == SAID
    tool = [{**message, "from": "tool"} if message["from"] == "observation" else message for message in SHAREGPT]
    assert read_turns(tool, CHAT, "") == SAID


@pytest.mark.parametrize(("speaker", "said"), [("role", "content"), ("from", "value")])
def test_a_record_of_lists_is_the_list_of_records(speaker, said):
    columns = {speaker: np.array([b"user", b"assistant"], object), said: [b"1?", "é".encode()]}
    assert read_turns(columns, CHAT, "") == [Turn("user", "1?", learn=False), Turn("assistant", "é", learn=True)]


@pytest.mark.parametrize(
    "written",
    [
        [CALL],
        [CALL["function"]],
        [{"id": "a1", "function": {"name": "clock", "arguments": '{"zone": "é"}'}}],
        {"name": b"clock", "arguments": {"zone": "é"}},
        np.array([CALL], object),
    ],
)
def test_calls_are_read_in_every_form_that_programs_write(written):
    (turn,) = read({"role": "assistant", "content": "", "tool_calls": written})
    name = "a1" if "a1" in str(written) else ""
    assert turn == replace(SAID[2], calls=(ToolCall("clock", '{"zone": "é"}', name),))


def test_arguments_that_are_json_already_stay_as_they_are():
    (turn,) = read(
        {
            "from": "function_call",
            "value": '[{"name": "f", "arguments": "{\\"a\\":  1}"}, {"name": "g", "arguments": {}}]',
        }
    )
    assert turn.calls == (ToolCall("f", '{"a":  1}'), ToolCall("g", "{}"))


@pytest.mark.parametrize(
    ("keys", "learn"),
    [
        ({}, True),
        ({"weight": 1}, True),
        ({"weight": 1.0, "train": True}, True),
        ({"weight": None, "train": None}, True),
        ({"weight": 0}, False),
        ({"train": False}, False),
        ({"weight": 1, "train": False}, False),
        ({"train": np.False_}, False),
    ],
)
def test_a_turn_says_whether_it_is_learnt(keys, learn):
    assert read({"role": "assistant", "content": "x", **keys}) == [Turn("assistant", "x", learn)]
    assert read_turns([{"role": "assistant", "content": "x", **keys}], CHAT, "", learn=False)[0].learn is False


def test_a_turn_may_weigh_less_than_others():
    assert read({"role": "assistant", "content": "x", "weight": 0.25}) == [Turn("assistant", "x", True, weight=0.25)]
    (unlearnt,) = read({"role": "assistant", "content": "x", "weight": 0.25, "train": False})
    assert unlearnt == Turn("assistant", "x", learn=False)
    document = CHAT.document_of([Turn("user", "u", learn=False), Turn("assistant", "x", learn=True, weight=0.25)])
    assert [(piece.learn, piece.weight) for piece in document.pieces] == [(False, 1.0), (True, 0.25)]


@pytest.mark.parametrize(
    ("message", "match"),
    [
        ({}, "must have role and content, or from and value; its keys are none"),
        ({"content": "x"}, "must have role and content"),
        ({"role": "user", "from": "human", "content": "x", "value": "x"}, "its keys are role, from"),
        (
            {"role": "human", "content": "x"},
            "the role 'human' is unknown; those known are system, user, assistant, tool",
        ),
        ({"from": "bing", "value": "x"}, "the from 'bing' is unknown"),
        ({"role": 3, "content": "x"}, "expected a text, got 3"),
        ({"role": "user"}, "expected a text, got None"),
        ({"role": "assistant", "content": None}, "expected a text, got None"),
        ({"role": "user", "content": [{"type": "text", "text": "x"}]}, "a list of 1 parts.*; give one text"),
        ({"role": "user", "content": {"text": "x"}}, "expected a text, got {'text'"),
        ({"role": "user", "content": b"\xff"}, "not UTF-8"),
        ({"role": "user", "content": "x", "tool_calls": [CALL]}, "tool_calls is set in a turn of the user"),
        ({"role": "user", "content": "x", "train": True}, "train is true in a turn of the user"),
        ({"role": "assistant", "content": "x", "weight": 1.5}, "weight is 1.5; give a number from 0"),
        ({"role": "assistant", "content": "x", "weight": float("nan")}, "weight is nan; give a number from 0"),
        ({"role": "assistant", "content": "x", "weight": "1"}, "weight is '1'; give a number from 0"),
        ({"role": "assistant", "content": "x", "train": "no"}, "train is 'no'"),
        (
            {"role": "assistant", "content": "x", "reasoning_content": "so"},
            "reasoning_content is 'so', which isn't learnt",
        ),
        ({"role": "assistant", "content": "x", "function_call": {"name": "f"}}, "function_call is .* isn't learnt"),
        ({"role": "assistant", "content": "", "tool_calls": "clock"}, "must be a list of calls"),
        ({"role": "assistant", "content": "", "tool_calls": [3]}, "call 0: a call needs .* got 3"),
        (
            {"role": "assistant", "content": "", "tool_calls": [{"id": 1}]},
            "call 0: a call needs a function with a name",
        ),
        ({"role": "assistant", "content": "", "tool_calls": [{"name": "f"}]}, "a call needs .* arguments"),
        (
            {"role": "assistant", "content": "", "tool_calls": [{"name": 'f"', "arguments": {}}]},
            "is no name of a function",
        ),
        (
            {"role": "assistant", "content": "", "tool_calls": [{"name": "f", "arguments": [1]}]},
            "must be a JSON object",
        ),
        ({"role": "assistant", "content": "", "tool_calls": [{"name": "f", "arguments": "{"}]}, "not JSON"),
        (
            {"role": "assistant", "content": "", "tool_calls": [{"name": "f", "arguments": '{"a": NaN}'}]},
            "NaN is not JSON",
        ),
        (
            {"role": "assistant", "content": "", "tool_calls": [{"name": "f", "arguments": {"a": CHAT.end}}]},
            r"holds <\|end",
        ),
        ({"role": "assistant", "content": "", "tool_calls": [{"name": CHAT.end, "arguments": {}}]}, r"holds <\|end"),
        ({"role": "assistant", "tool_calls": [{"name": "f", "arguments": {"a": None}}]}, "a null inside, as Parquet"),
        ({"from": "function_call", "value": "clock(9)"}, "value:1: not JSON"),
        ({"from": "function_call", "value": None}, "expected a text, got None"),
        ({"from": "function_call", "value": "[]"}, "a function_call without a call"),
    ],
)
def test_a_message_that_can_not_be_used_is_named(message, match):
    with pytest.raises(InputError, match=match) as caught:
        read({"role": "user", "content": "x"}, message)
    assert str(caught.value).startswith("a.jsonl:3, messages, message 1") and "\n" not in str(caught.value)


def test_what_is_no_conversation_is_refused():
    for value in (3, ["a"], [None], {"role": "user"}, {"role": ["user"], "content": "x"}):
        with pytest.raises(InputError, match="here: expected a text or a list of messages"):
            read_turns(value, CHAT, "here")
    with pytest.raises(InputError, match="here: the lists role, content of one conversation differ in length"):
        read_turns({"role": ["user", "user"], "content": ["x"]}, CHAT, "here")
    assert read_turns([], CHAT, "here") == []


def test_schemas_of_tools_are_a_list_or_its_json():
    schemas = [{"type": "function", "function": {"name": "f", "parameters": {}}}]
    assert read_schemas(schemas, CHAT, "") == read_schemas(json.dumps(schemas), CHAT, "") == schemas
    assert read_schemas(None, CHAT, "") == read_schemas([], CHAT, "") == read_schemas("", CHAT, "") == []
    for value, match in (
        ([1], "expected a list of JSON schemas"),
        (3, "got 3"),
        ("{", "not JSON"),
        ('{"a": 1}', "got {'a'"),
    ):
        with pytest.raises(InputError, match=match):
            read_schemas(value, CHAT, "here")
    with pytest.raises(InputError, match="here: a null inside, as Parquet fills fields"):
        read_schemas([{"name": "f", "parameters": {"x": [None]}}], CHAT, "here")
    with pytest.raises(InputError, match=r"here: the text holds <\|end"):
        read_schemas([{"name": CHAT.end}], CHAT, "here")


def test_texts_are_decoded_and_may_not_hold_the_formats_symbols():
    assert read_text("é".encode(), CHAT, "") == read_text("é", CHAT, "") == "é"
    with pytest.raises(InputError, match=r"here: the text holds <\|user\|>"):
        read_text("a<|user|>", CHAT, "here")


def test_a_list_of_messages_written_as_a_text_is_found():
    for messages in (TRL, SHAREGPT):
        with pytest.raises(InputError, match="here: .* is a list of messages written as a text"):
            check_no_messages(json.dumps(messages), "here")
    check_no_messages("[1, 2]", "here")


def test_what_says_nothing_is_empty():
    assert all(map(is_empty, (None, "", b"", [], {}, np.zeros(0)))) and not any(map(is_empty, (0, "x", [None], False)))


def test_calls_and_answers_keep_the_names_by_which_they_are_told_apart():
    call = {"id": "abcdefgh1", "type": "function", "function": {"name": "clock", "arguments": {}}}
    messages = [
        {"role": "assistant", "content": "", "tool_calls": [call, {**call, "id": None}]},
        {"role": "tool", "content": "9", "tool_call_id": b"abcdefgh1"},
        {"role": "tool", "content": "9", "tool_call_id": 7},
    ]
    called, answer, other = read_turns(messages, ChatFormat(), "row")
    assert ([each.id for each in called.calls], answer.call_id, other.call_id) == (["abcdefgh1", ""], "abcdefgh1", "")
