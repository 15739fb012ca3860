import pytest

from reasoning.core.errors import InputError
from reasoning.data.chat.format import ChatFormat
from reasoning.rewards.choices import Chose, letter, letter_given
from reasoning.rewards.reward import reward_name
from reasoning.tasks.problems import Problem

CHAT = ChatFormat()


@pytest.mark.parametrize(
    ("reply", "given"),
    [
        ("B", "B"),
        (" B", "B"),
        ("(B)", "B"),
        ("B. Lima", "B"),
        ("B) Lima", "B"),
        ("**B**", "B"),
        ("B: Lima\nA: Cusco", "B"),
        ("The answer is B.", "B"),
        ("the answer is (B), not (A)", "B"),
        ("Answer: B", "B"),
        ("A city, so the answer is: B", "B"),
        ("Answer: A\nNo. Answer: B", "B"),
        ("It is (C)... rather (B)", "B"),
        (r"So A? \boxed{B}", "B"),
        (r"\boxed{\text{B}}", "B"),
        (r"\boxed{A dog}", None),
        ("<think>A</think><answer>B</answer>", "B"),
        ("<think>The answer is A.</think>\nB", "B"),
        ("A dog", None),
        ("Answer: A dog", None),
        ("I think so", None),
        ("Lima", None),
        ("b", None),
        ("K", None),
        ("BC", None),
        ("", None),
    ],
)
def test_the_letter_is_found_as_it_is_given_and_words_are_none(reply, given):
    assert letter_given(reply, CHAT) == given
    assert letter.read(reply, "B", CHAT) == given


def test_the_right_letter_is_right_and_shares_are_of_all_letters():
    replies = ["B", "C", "Lima", "(B)"]
    given = {"prompts": ["?"] * 4, "completions": replies, "answer": ["B"] * 4}
    assert letter(**given, truncated=[False, False, False, True]) == [1, 0, 0, 0]
    assert Chose("B")(**given) == [1, 0, 0, 1] and Chose("C")(**given) == [0, 1, 0, 0]
    assert reward_name(Chose("B")) == "chose_B" and reward_name(letter) == "letter"


def test_an_answer_that_is_no_letter_is_refused():
    letter.check([Problem("?", "J", "k")])
    for answer in ("Lima", "K", "AB", ""):
        with pytest.raises(InputError, match="is no letter from A to J"):
            letter.check([Problem("?", answer, "k")])
