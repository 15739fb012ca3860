import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasoning.core.errors import InputError
from reasoning.data.chat.format import ChatFormat
from reasoning.data.chat.formats import QWEN_2_5, formats
from reasoning.data.columns import find_layout, read_columns, read_row

CHAT = ChatFormat()
MESSAGES = [{"role": "user", "content": "1+1?"}, {"role": "assistant", "content": "2"}]


@pytest.mark.parametrize(
    ("columns", "layout"),
    [
        (("id", "text"), ("text",)),
        (("messages",), ("messages",)),
        (("conversations", "system", "tools", "id"), ("conversations",)),
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


@pytest.mark.parametrize("key", ["function_call", "reasoning_content"])
def test_keys_that_change_what_is_learnt_and_are_not_read_are_refused(key):
    with pytest.raises(InputError, match=f"row 3, m, message 1: {key} is .* isn't learnt from"):
        read_row({"m": [MESSAGES[0], MESSAGES[1] | {key: "so"}]}, ("m",), CHAT, "row 3")


@pytest.mark.parametrize(("key", "value"), [("weight", 0), ("train", False)])
def test_a_turn_that_says_so_is_only_read(key, value):
    turns = [*MESSAGES, {"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "4"}]
    turns[1] = turns[1] | {key: value}
    document = read_row({"m": turns}, ("m",), CHAT, "")
    assert document.text() == CHAT.document([{k: turn[k] for k in ("role", "content")} for turn in turns]).text()
    assert [(piece.text, piece.learn) for piece in document.pieces] == [
        ("<|user|>1+1?<|assistant|>2<|end|><|user|>2+2?<|assistant|>", False),
        ("4<|end|>", True),
    ]
    with pytest.raises(
        InputError, match="row 3, m: none of the assistant's turns in a conversation of 2 messages is to"
    ):
        read_row({"m": turns[:2]}, ("m",), CHAT, "row 3")


def test_a_prompt_of_messages_is_read_and_its_completion_learnt():
    """As TRL's completion_only_loss: what the assistant said in the prompt isn't learnt."""
    asked = [*MESSAGES, {"role": "user", "content": "2+2?"}]
    row = {"prompt": asked, "completion": [{"role": "assistant", "content": "4"}]}
    document = read_row(row, ("prompt", "completion"), CHAT, "")
    assert [(piece.text, piece.learn) for piece in document.pieces] == [
        ("<|user|>1+1?<|assistant|>2<|end|><|user|>2+2?<|assistant|>", False),
        ("4<|end|>", True),
    ]
    assert read_row({**row, "completion": "4"}, ("prompt", "completion"), CHAT, "") == document
    one = read_row({"prompt": "1+1?", "completion": [MESSAGES[1]]}, ("prompt", "completion"), CHAT, "")
    assert one == CHAT.exchange("1+1?", "2")
    with pytest.raises(InputError, match="row 3, completion: none of the assistant's turns"):
        read_row({"prompt": asked, "completion": [asked[2]]}, ("prompt", "completion"), CHAT, "row 3")


def test_columns_beside_a_conversation_say_what_the_system_says_and_which_tools_there_are():
    said = [{"from": "human", "value": "1+1?"}, {"from": "gpt", "value": "2"}]
    layout = ("conversations",)
    assert read_columns(layout, ["id", "tools", "conversations", "system"]) == ["conversations", "system", "tools"]
    system = {"role": "system", "content": "Be brief."}
    found = read_row({"conversations": said, "system": "Be brief.", "tools": None}, layout, CHAT, "")
    assert found == CHAT.document([system, *MESSAGES])
    assert read_row({"conversations": said, "system": "", "tools": []}, layout, CHAT, "") == CHAT.document(MESSAGES)
    with pytest.raises(InputError, match="row 3, system: the conversation begins with a message of the system too"):
        twice = [{"from": "system", "value": "x"}, *said]
        read_row({"conversations": twice, "system": "Be brief."}, layout, CHAT, "row 3")
    offered = [{"type": "function", "function": {"name": "f"}}]
    with pytest.raises(InputError, match="row 3, conversations: this chat format writes no tools"):
        read_row({"conversations": said, "tools": offered}, layout, CHAT, "row 3")
    shown = read_row({"conversations": said, "tools": json.dumps(offered)}, layout, QWEN_2_5, "")
    assert json.dumps(offered[0]) in shown.pieces[0].text and not shown.pieces[0].learn


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


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.binary(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["role", "from", "content", "value", "function", "name", "x"]), inner, max_size=3
        )
    ),
    max_leaves=6,
)
KEYS = ("role", "content", "from", "value", "tool_calls", "weight", "train", "reasoning_content", "function_call")
SPEAKERS = st.sampled_from(["user", "assistant", "system", "tool", "human", "gpt", "function_call", "observation"])
MESSAGE = st.dictionaries(
    st.sampled_from(KEYS), SPEAKERS | st.just([{"name": "f", "arguments": "{}"}]) | ANYTHING, max_size=4
)


@settings(max_examples=150)
@given(
    st.lists(MESSAGE | st.sampled_from(MESSAGES), max_size=4) | ANYTHING,
    st.sampled_from([{}, {"tools": [{"name": "f"}]}]) | st.fixed_dictionaries({"tools": ANYTHING, "system": ANYTHING}),
    st.sampled_from([CHAT, *formats().values()]),
)
def test_whatever_stands_in_a_row_makes_a_document_or_is_told_in_one_line(value, beside, chat):
    for row, layout in (
        ({"messages": value}, ("messages",)),
        ({"prompt": value, "answer": value}, ("prompt", "answer")),
    ):
        try:
            document = read_row(row | beside, layout, chat, "here")
        except InputError as error:
            assert str(error).startswith("here, ") and "\n" not in str(error)
        else:
            assert document.text() and any(piece.learn for piece in document.pieces)


def test_a_row_may_weigh_less_than_others():
    (asked, learnt) = read_row(
        {"prompt": "u", "completion": "x", "loss_weight": 0.25}, ("prompt", "completion"), CHAT, ""
    ).pieces
    assert (asked.learn, asked.weight, learnt.learn, learnt.weight) == (False, 1.0, True, 0.25)
    turns = [{"role": "user", "content": "u"}, {"role": "assistant", "content": "x", "weight": 0.5}]
    found = read_row({"messages": turns, "loss_weight": np.float32(0.5)}, ("messages",), CHAT, "")
    assert found.pieces[1].weight == 0.25
    (text,) = read_row({"text": "x", "loss_weight": 0.5}, ("text",), CHAT, "").pieces
    assert text.weight == 0.5
    assert read_columns(("text",), ("text", "loss_weight", "id")) == ["text", "loss_weight"]


@pytest.mark.parametrize(
    ("weight", "match"), [(0, "nothing of the row is learnt"), (2, "a number from 0"), ("1", "a number")]
)
def test_a_weight_of_a_row_that_is_none_is_refused(weight, match):
    with pytest.raises(InputError, match=f"here, loss_weight is .*{match}"):
        read_row({"text": "x", "loss_weight": weight}, ("text",), CHAT, "here")
