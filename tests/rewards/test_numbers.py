from fractions import Fraction

import pytest

from reasoning.data.chat.format import ChatFormat
from reasoning.rewards.numbers import finished, last_number_value, number, number_even_if_cut, truncated


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("The answer is 72.", 72),
        ("$1,250.50 in all", Fraction(2501, 2)),
        ("1,000", 1000),
        ("she pays 3, 4 and 5", 5),
        ("between 1,00 and", 0),  # no group of three: the number after the comma
        ("9 - 5", 5),
        ("9-5", 5),
        ("it is -3", -3),
        ("x = -3", -3),
        ("6.0", 6),
        ("\u0663", None),  # a digit of another script
        ("none", None),
        ("1" * 41, None),
    ],
)
def test_the_last_number_of_a_text_is_read_exactly(text, value):
    assert last_number_value(text) == value


def scores(reward, *replies, answer="12", truncated=None):
    return reward(["?"] * len(replies), list(replies), [answer] * len(replies), truncated=truncated)


def test_a_reply_is_right_if_its_last_number_is_the_answers_value():
    assert scores(number, "5 + 7 = 12", "12.0 apples", "12 and then 13", "twelve", "") == [1, 1, 0, 0, 0]
    assert scores(number, "12,000", answer="12000") == [1]


def test_thinking_does_not_count_where_an_answer_follows():
    assert scores(number, "<think>12</think><answer>13</answer>", "<think>13</think><answer>12</answer>") == [0, 1]


def test_a_reply_that_was_cut_off_is_wrong_unless_asked_otherwise():
    replies = ("so 12", "so 12")
    assert scores(number, *replies, truncated=[True, False]) == [0, 1]
    assert scores(number_even_if_cut, *replies, truncated=[True, False]) == [1, 1]
    assert truncated(replies, truncated=[True, False]) == [1, 0]
    assert finished(replies, truncated=[True, False]) == [0, 1] and finished(replies) == [1, 1]


def test_the_two_have_names_of_their_own_in_tables():
    assert (number.__name__, number_even_if_cut.__name__) == ("number", "number_even_if_cut")


def test_a_format_without_answer_tags_is_read_behind_the_thinking():
    chat = ChatFormat(answer_open="", answer_close="")
    assert number(["?"], ["<think>9</think>\n\n12"], ["12"], chat=chat) == [1]
