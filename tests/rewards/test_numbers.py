import re

import pytest

from reasoning.core.errors import InputError
from reasoning.data.chat.format import ChatFormat
from reasoning.rewards.numbers import finished, number, number_even_if_cut, truncated
from reasoning.tasks.problems import Problem
from reasoning.tasks.question_files import GSM8K


def scores(reward, *replies, answer="12", truncated=None):
    return reward(["?"] * len(replies), list(replies), [answer] * len(replies), truncated=truncated)


def test_a_reply_is_right_if_its_last_number_is_the_answers_value():
    assert scores(number, "5 + 7 = 12", "12.0 apples", "12 and then 13", "twelve", "") == [1, 1, 0, 0, 0]
    assert scores(number, "12,000", answer="12000") == [1]


@pytest.mark.parametrize(
    ("answer", "right", "wrong"),
    [
        (
            "2000",
            ["It is 2,000.", "$2,000", "2000.00 in all", "2 x 1,000 = 2,000"],
            ["3,000", "000", "2.000", "2,0000"],
        ),
        ("1,234.50", ["1234.5", "$1,234.50"], ["234.50", "1", "50"]),
        ("5", ["5.0", "9-5", "9\u22125 = 5"], ["The answer is \u22125", "-5", "so .5", "5,000", "\uff15"]),
        ("-5", ["The answer is \u22125", "-5", "-$5", "$-5.00"], ["5", "9-5"]),
        ("3", ["3.", "$3", "3%"], ["-$3", "$-3", "0.3"]),
        ("0.5", [".5", "0.50", "so it's .5."], ["5", "-.5"]),
    ],
)
def test_numbers_are_read_as_people_write_them(answer, right, wrong):
    assert scores(number, *right, answer=answer) == [1] * len(right)
    assert scores(number, *wrong, answer=answer) == [0] * len(wrong)


def test_answers_of_a_thousand_and_more_are_right_with_commas_and_without():
    """Every tenth answer of GSM8K is 1000 or more; there, the last three digits alone are another number."""
    for value in range(1000, 10**6, 3_331):
        problem = GSM8K.problem({"question": "?", "answer": f"So many.\n#### {value:,}"}, "gsm8k", "row 1")
        right = (f"It makes ${value:,}.", f"= {value}", f"{value:,}.00 in all", f"<answer>{value:,} m</answer>")
        wrong = (f"{value % 1000:03}", f"It makes ${value + 1000:,}.", f"{-value:,}", f"{value // 1000}")
        assert scores(number, *right, *wrong, answer=problem.answer) == [1] * 4 + [0] * 4


NO_NUMBERS = (
    "3/4",
    "\\frac{14}{3}",
    "2^10",
    "[1, 5]",
    "2\\sqrt{2}",
    "x=2 or x=7",
    "12:30",
    "1e3",
    "6 apples",
    "",
    "Paris",
)


@pytest.mark.parametrize("answer", NO_NUMBERS)
def test_a_right_answer_that_is_no_number_as_a_whole_is_refused_with_its_problem(answer):
    plain, odd = Problem("1+1?", "2", "sums"), Problem("How much?", answer, "algebra")
    number.check((plain, plain))
    message = f"the reward number can't judge the problem 'How much?' (algebra): it has the right answer {answer!r}"
    with pytest.raises(InputError, match=re.escape(message) + ", which isn't a number as a whole"):
        number.check((plain, odd))
    with pytest.raises(
        InputError, match="the reward number_even_if_cut gets the right answer .* leave the problem out"
    ):
        scores(number_even_if_cut, "4", answer=answer)


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
