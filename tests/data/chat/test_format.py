import pytest

from reasoning.core.errors import InputError
from reasoning.data.chat.format import ChatFormat
from reasoning.data.documents import Piece

CHAT = ChatFormat()


def test_a_conversation_is_written_turn_by_turn_and_only_replies_are_learnt():
    document = CHAT.document(
        [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "1+1?"},
            {"role": "assistant", "content": "2"},
            {"role": "user", "content": "2+2?"},
            {"role": "assistant", "content": "4"},
        ]
    )
    assert document.text() == ("<|system|>Be brief.<|user|>1+1?<|assistant|>2<|end|><|user|>2+2?<|assistant|>4<|end|>")
    assert [piece.text for piece in document.pieces if piece.learn] == ["2<|end|>", "4<|end|>"]


def test_an_exchange_equals_a_conversation_of_one_question_and_continues_its_prompt():
    exchange = CHAT.exchange("1+1?", "2")
    conversation = CHAT.document([{"role": "user", "content": "1+1?"}, {"role": "assistant", "content": "2"}])
    assert exchange.text() == conversation.text() == CHAT.prompt("1+1?") + "2<|end|>"
    assert exchange.pieces == (Piece(CHAT.prompt("1+1?"), learn=False), Piece("2<|end|>", learn=True))


def test_a_plain_document_is_learnt_whole():
    assert CHAT.plain("abc").pieces == (Piece("<|begin|>abc<|end|>", learn=True),)


def test_what_stands_between_turns_follows_no_last_reply():
    chat = ChatFormat(user="U:", assistant="A:", end=".", after="+", between="-")
    turns = [("user", "1"), ("assistant", "2"), ("user", "3"), ("assistant", "4")]
    messages = [{"role": role, "content": content} for role, content in turns]
    assert chat.document(messages).text() == "U:1A:2.+-U:3A:4.+"
    assert chat.conversation(messages[:3]) == "U:1A:2.+-U:3A:"


@pytest.mark.parametrize(
    ("messages", "match"),
    [
        ([], "no assistant's turn"),
        ([{"role": "user", "content": "1+1?"}], "no assistant's turn"),
        ([{"role": "assistant", "content": "2"}, {"role": "tool", "content": "x"}], "message 1 has role 'tool'"),
        ([{"role": "assistant", "content": None}], "content of type NoneType"),
        ([{"role": "assistant"}], "content of type NoneType"),
    ],
)
def test_a_malformed_conversation_is_refused(messages, match):
    with pytest.raises(InputError, match=match):
        CHAT.document(messages)


@pytest.mark.parametrize("given", [None, "text", ("text", ["turn"]), (1, ())])
def test_functions_of_a_users_format_that_give_something_else_are_refused_by_name(given):
    def own(texts, turns):
        return given

    for chat in (ChatFormat(turns=own), ChatFormat(thinking=own)):
        with pytest.raises(InputError, match=r"own \(test_format.py:\d+\) of a chat format gave"):
            chat.prompt("1+1?")
