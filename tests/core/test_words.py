"""Texts that say the same in another typography are one; texts that say something else are two."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasoning.core.words import OPERATORS, plain_words, words_of

SAME = [
    ("Tom had 1,000 apples.", "TOM HAD 1000 APPLES"),
    ("Tom had 1000.0 apples", "tom had \uff11\uff10\uff10\uff10 apples!"),
    ("It cost $1,234,567.50 today", "it cost 1234567.5 (today)"),
    ("12\u202f000 and 3\u00a0456 and 7'890", "12000 and 3456 and 7890"),
    ("1{,}000 seats", "1000 seats"),
    ("\u0661\u066c\u0660\u0660\u0660 seats", "1000 seats"),
    ("007 and .5 and 0.50", "7 and 0.5 and 0.5"),
    ("He said \u201cdon\u2019t\u201d \u2014 twice", "he said 'don't' - twice"),
    ("dont", "don't"),
    ("In 1969 -- by then", "in 1969 by then"),
    ("9 - (-5)", "9-(5)"),
    ("a well\u2010known\tpoint;\n\nyes", "A well-known point: yes"),
    ("3 \u2212 4 \u00d7 5 \u00f7 6 = ?", "3-4*5/6"),
    ("3+4 =", "3 + 4"),
    ("\uff37\uff28\uff29\uff23\uff28 \u2460 caf\u00e9", "which 1 cafe\u0301"),
    ("stra\u00dfe **bold** x", "STRASSE bold X"),
    ("\u00bd cup", "1/2 cup"),
]

DIFFERENT = [
    ("3+4-5?", "3-4+5?"),
    ("9-5", "9 5"),
    ("9--5", "9 5"),
    ("1,00 and 2", "100 and 2"),
    ("1.5 litres", "15 litres"),
    ("10 apples", "100 apples"),
    ("caf\u00e9", "cafe"),
    ("2, 300 and 4", "2300 and 4"),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_case_punctuation_space_and_forms_of_numbers_do_not_count(one: str, other: str):
    assert plain_words(one) == plain_words(other)


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_numbers_operators_and_letters_count(one: str, other: str):
    assert plain_words(one) != plain_words(other)


def test_words_are_what_a_reader_would_call_so():
    assert plain_words("The 3rd of May, 1,999: 5*(2-1)!") == [
        "the",
        "3",
        "rd",
        "of",
        "may",
        "1999",
        "5",
        "*",
        "2",
        "-",
        "1",
    ]
    assert plain_words("\u4eca\u5929\u662f 5 \u6708") == ["\u4eca", "\u5929", "\u662f", "5", "\u6708"]
    assert plain_words("?! \u2014 ...") == plain_words("") == []


@given(st.text())
def test_any_text_has_words_that_are_their_own_words(text: str):
    words = plain_words(text)
    assert all(words)
    joined = [word for word in words if word not in OPERATORS]
    assert plain_words(" ; ".join(joined)) == joined or not text.isascii()


def test_what_makes_questions_the_same_is_their_words_and_nothing_else():
    assert words_of(" cafe\u0301 \n\u00a0noir ") == "caf\u00e9 noir" != words_of("Caf\u00e9 noir")
