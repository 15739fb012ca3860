"""What becomes of the thinking in replies, by examples written out by hand."""

from dataclasses import replace

import pytest

from reasoning.data.chat.format import ChatFormat
from reasoning.data.chat.thinking import CutEarlier, Framed

PLAIN = ChatFormat(user="U:", assistant="A:", end=".")
KEPT = "<think>t</think>2"
TALK = (("user", "1"), ("assistant", KEPT), ("user", "3"), ("assistant", KEPT))


def pieces(chat, *turns):
    document = chat.document([{"role": role, "content": content} for role, content in turns])
    return [piece.text if piece.learn else f"({piece.text})" for piece in document.pieces]


def test_thinking_stays_unless_the_family_says_otherwise():
    assert pieces(PLAIN, *TALK) == ["(U:1A:)", f"{KEPT}.", "(U:3A:)", f"{KEPT}."]


def test_earlier_thinking_is_cut_and_such_replies_are_not_learnt():
    chat = replace(PLAIN, thinking=CutEarlier())
    assert pieces(chat, *TALK) == ["(U:1A:2.U:3A:)", f"{KEPT}."]
    assert pieces(chat, TALK[0], ("assistant", "2"), *TALK[2:]) == ["(U:1A:)", "2.", "(U:3A:)", f"{KEPT}."]


def test_a_last_reply_that_closes_what_it_did_not_open_is_opened():
    chat = replace(PLAIN, thinking=CutEarlier(), opening="<think>")
    assert pieces(chat, TALK[0], ("assistant", "t</think>2")) == ["(U:1A:<think>)", "t</think>2."]
    assert pieces(chat, TALK[0], ("assistant", "2")) == ["(U:1A:)", "2."]


@pytest.mark.parametrize(
    ("reply", "written"),
    [
        (KEPT, "<think>\nt\n</think>\n\n2."),
        ("2", "<think>\n\n</think>\n\n2."),
        ("t</think>\n2", "<think>\nt\n</think>\n\n2."),
    ],
)
def test_the_last_reply_is_framed_whether_it_thought_or_not(reply, written):
    assert pieces(replace(PLAIN, thinking=Framed()), TALK[0], ("assistant", reply)) == ["(U:1A:)", written]


def test_of_replies_before_the_last_those_after_the_question_keep_a_frame_where_they_thought():
    chat = replace(PLAIN, thinking=Framed())
    framed = "<think>\nt\n</think>\n\n2."
    assert pieces(chat, *TALK) == ["(U:1A:2.U:3A:)", framed]
    assert pieces(chat, TALK[0], TALK[1], ("assistant", "5"), ("assistant", KEPT)) == [
        "(U:1A:)",
        framed,
        "(A:)",
        "5.",
        "(A:)",
        framed,
    ]
    assert pieces(chat, ("assistant", KEPT), ("assistant", "3")) == ["(A:2.A:)", "3."]  # nobody asked
