import json

import pytest

from reasoning.core.errors import InputError
from reasoning.data.chat.format import ChatFormat
from reasoning.data.columns import find_layout, read_row

CHAT = ChatFormat()
MESSAGES = [{"role": "user", "content": "1+1?"}, {"role": "assistant", "content": "2"}]


@pytest.mark.parametrize(
    ("columns", "layout"),
    [
        (("id", "text"), ("text",)),
        (("messages",), ("messages",)),
        (("completion", "prompt"), ("prompt", "completion")),
        (("answer", "prompt"), ("prompt", "answer")),
        (("question", "answer", "level"), ("question", "answer")),
    ],
)
def test_known_columns_are_found_in_any_order(columns, layout):
    assert find_layout(columns, (), "here") == layout


def test_chosen_columns_win_over_known_ones():
    assert find_layout(("text", "problem", "solution"), ("problem", "solution"), "here") == ("problem", "solution")


@pytest.mark.parametrize(
    ("columns", "chosen", "match"),
    [
        (("body", "id"), (), "here: columns found: body, id; none of the known layouts"),
        (("text", "messages"), (), r"several layouts fit \(text; messages\)"),
        (("text", "id"), ("body",), r"columns = \('body',\) must name one or two of the columns found: id, text"),
        (("a", "b", "c"), ("a", "b", "c"), "must name one or two"),
        ((), (), "columns found: none"),
    ],
)
def test_columns_that_decide_nothing_are_listed(columns, chosen, match):
    with pytest.raises(InputError, match=match):
        find_layout(columns, chosen, "here")


def test_bytes_and_text_make_equal_documents():
    assert read_row({"t": "é".encode()}, ("t",), CHAT, "") == read_row({"t": "é"}, ("t",), CHAT, "") == CHAT.plain("é")
    pair = read_row({"q": b"1+1?", "a": "2"}, ("q", "a"), CHAT, "")
    assert pair == CHAT.exchange("1+1?", "2")


def test_a_list_of_records_and_tfds_record_of_lists_make_the_same_conversation():
    as_tfds = {"role": [b"user", b"assistant"], "content": [b"1+1?", b"2"]}
    found = read_row({"m": as_tfds}, ("m",), CHAT, "")
    assert found == read_row({"m": MESSAGES}, ("m",), CHAT, "") == CHAT.document(MESSAGES)


@pytest.mark.parametrize("symbol", CHAT.structure())
def test_content_cannot_forge_the_structure_of_a_conversation(symbol):
    for row in ({"m": f"a{symbol}b"}, {"m": [{"role": "assistant", "content": symbol}]}):
        with pytest.raises(InputError, match=f"row 3, m.*holds {symbol.replace('|', '.')}"):
            read_row(row, ("m",), CHAT, "row 3")


def test_content_may_hold_the_tags_of_reasoning():
    assert "<think>" in read_row({"q": "?", "a": "<think>x</think>"}, ("q", "a"), CHAT, "").text()


@pytest.mark.parametrize(
    ("value", "match"),
    [
        (None, "expected a text, got None"),
        (3.5, "expected a text or a list of messages"),
        (["a"], "expected a text or a list of messages"),
        (b"\xff", "not UTF-8"),
        ([{"role": "user", "content": "1?"}], "row 3, m: .*no assistant's turn"),
        ([{"role": "user", "content": 5}], "message 0: expected a text"),
    ],
)
def test_a_value_that_is_no_text_is_refused_with_its_place(value, match):
    with pytest.raises(InputError, match=match) as caught:
        read_row({"m": value}, ("m",), CHAT, "row 3")
    assert str(caught.value).startswith("row 3, m")


def test_keys_beside_role_and_content_change_nothing():
    beside = {"name": None, "tool_calls": None, "function_call": [], "id": 7, "weight": 1, "note": CHAT.end}
    found = read_row({"m": [message | beside for message in MESSAGES]}, ("m",), CHAT, "")
    as_tfds = {key: [message[key].encode() for message in MESSAGES] for key in MESSAGES[0]} | {"tool_calls": None}
    assert found == read_row({"m": as_tfds}, ("m",), CHAT, "") == CHAT.document(MESSAGES)


@pytest.mark.parametrize(
    ("key", "value"), [("tool_calls", [{"id": 1}]), ("weight", 0), ("train", False), ("reasoning_content", "so")]
)
def test_keys_that_change_what_is_learnt_are_refused(key, value):
    with pytest.raises(InputError, match=f"row 3, m, message 1: {key} is .* isn't learnt from"):
        read_row({"m": [MESSAGES[0], MESSAGES[1] | {key: value}]}, ("m",), CHAT, "row 3")


def test_lists_of_one_conversation_that_differ_in_length_are_refused():
    with pytest.raises(InputError, match="row 3, m: the lists role, content .* differ in length"):
        read_row({"m": {"role": [b"user", b"assistant"], "content": [b"1?"]}}, ("m",), CHAT, "row 3")


@pytest.mark.parametrize("write", [json.dumps, str, lambda value: f" \n{json.dumps(value, indent=1)}".encode()])
@pytest.mark.parametrize("layout", [("messages",), ("prompt", "completion")])
def test_a_conversation_that_was_written_as_a_text_is_refused(write, layout):
    row = dict.fromkeys(layout, "2") | {layout[0]: write(MESSAGES)}
    with pytest.raises(InputError, match=rf"here, {layout[0]}: .* is a list of messages written as a text; store the"):
        read_row(row, layout, CHAT, "here")
    assert read_row({"text": json.dumps(MESSAGES)}, ("text",), CHAT, "here") == CHAT.plain(json.dumps(MESSAGES))


@pytest.mark.parametrize("text", ["[1, 2]", '[{"a": "role"}]', "[{x}] is a set in a list", "role: content", "["])
def test_other_texts_with_brackets_stay_texts(text):
    assert read_row({"prompt": text, "completion": "2"}, ("prompt", "completion"), CHAT, "") == CHAT.exchange(text, "2")
