"""Numbers as people write them: each has one exact value, and what is no number as a whole has none."""

import unicodedata
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasoning.tasks import answers
from reasoning.tasks.answers import (
    answer_value,
    last_number,
    number_value,
    phrase_value,
    phrase_words,
    without_thousands,
)

LONG = "1" * 40


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("", None),
        ("none", None),
        ("=6", "6"),
        ("3+8=1,1-5=6=6", "6"),
        ("1-5", "5"),
        ("it is -5.", "-5"),
        ("x=-0.25 m", "-0.25"),
        ("(3+2)-5", "5"),
        ("[3]-5, {3}-5", "5"),
        ("5%-3", "3"),
        ("9 - 5", "5"),
        ("9 -5", "-5"),
        ("gr\u00f6\u00dfe-5", "5"),  # letters are those of all scripts
        ("_-5_", "-5"),
        ("1.2.3", "3"),
        ("007", "007"),
        ("B6", "6"),
        ("6 \u0667", "6"),
        ("\uff16", None),
        ("\u00b2", None),
        ("twelve", None),
        ("The answer is \u22125", "\u22125"),
        ("9\u22125", "5"),
        ("so .5", ".5"),
        ("-.5", "-.5"),
        ("sec.5 and 3..5", "5"),
        ("-$3", "-$3"),
        ("$-3", "$-3"),
        ("-\\$3", "-\\$3"),
        ("5$-3", "3"),
        ("\u20ac1,250.50 in all", "1,250.50"),
        ("The answer is 72.", "72"),
        ("1,500", "1,500"),
        ("1,234,567 people", "1,234,567"),
        ("3, 4 and 5", "5"),
        ("3,4,5", "5"),
        ("between 1,00 and", "00"),  # no group of three: the number after the comma
        ("1,0000", "0000"),
        ("1,000,5", "5"),
        (LONG, LONG),
        (LONG + "1", None),
        (f"7 {LONG}1", None),  # what was written last can't be read; what stood before it wasn't meant
    ],
)
def test_the_last_number_is_found_as_it_is_written(text, number):
    assert last_number(text) == number


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("72", 72),
        (" 72\n", 72),
        ("-5", -5),
        ("\u22125", -5),
        ("+5", 5),
        ("6.", 6),
        ("6.0", 6),
        ("06", 6),
        (".5", Fraction(1, 2)),
        ("-.5", Fraction(-1, 2)),
        ("1,250.50", Fraction(2501, 2)),
        ("0.1", Fraction(1, 10)),  # exactly, which a float isn't
        ("$1,000", 1000),
        ("-$3", -3),
        ("$-3", -3),
        ("\\$3", 3),
        ("3 \u20ac", 3),
        ("50%", 50),
        ("50\\%.", 50),
        (LONG, int(LONG)),
    ],
)
def test_a_text_that_is_a_number_has_its_exact_value(text, value):
    assert number_value(text) == value == answer_value(text)


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", ".", "-", "$", "%", "x", "6 apples", "3/4", "\\frac{14}{3}", "2^10", "[1, 5]", "2\\sqrt{2}"),
        *("x=2 or x=7", "12:30", "1e3", "9-5", "1 000", "1,00", "1.2.3", "5, 6", "\uff16", "\u0666", LONG + "1"),
    ],
)
def test_any_other_text_is_no_number_and_is_compared_as_it_stands(text):
    assert number_value(text) is None and answer_value(f" {text}\n") == text.strip()


SPELLINGS = (
    "{}",
    "{:,}",
    "{:,}.",
    "{:.2f}",
    "{:,.2f}",
    "= {:,}",
    "It is {:.3f} m.",
    "(about {:,})",
    "so {:,}, I think",
)


@given(st.decimals(0, 10**9, places=2), st.sampled_from(SPELLINGS), st.sampled_from(["", "-", "\u2212", "-$", "$-"]))
def test_a_number_has_one_value_however_it_is_spelled(value: Decimal, spelling: str, sign: str):
    text = spelling.format(value)
    digits = next(place for place, character in enumerate(text) if character.isdigit())
    written = last_number(text[:digits] + sign + text[digits:])
    assert written is not None and number_value(written) == (-1 if sign else 1) * Fraction(value)


@given(st.text(st.sampled_from("019.,-\u2212$ a)%"), max_size=12))
def test_what_is_found_in_a_text_is_a_number_as_a_whole(text: str):
    found = last_number(text)
    assert (found is None) == (not any("0" <= character <= "9" for character in text))
    assert found is None or number_value(found) is not None


HOSTILE = ("1", "1,", ",000", "1,000", "-", "-$", "$-", "-\\$", ".", ".1", "1.", "-.5", "\u2212")


@pytest.mark.parametrize("piece", HOSTILE)
def test_no_arithmetic_is_done_with_more_than_forty_characters(piece: str, monkeypatch: pytest.MonkeyPatch):
    computed: list[str] = []
    monkeypatch.setattr(answers, "Fraction", lambda text: computed.append(text) or Fraction(text))
    for times in (10, 10**5):
        text = piece * times
        for answer in (text, last_number(text) or ""):
            answer_value(answer)
    assert all(len(text) <= 40 for text in computed)


def test_thousands_may_be_written_as_in_latex_or_with_narrow_spaces():
    for text in ("12{,}000", "$12{,}000", "12\u202f000", "12,000"):
        assert number_value(text) == 12000
        assert without_thousands(text).lstrip("$") == "12000"
    assert last_number(r"\boxed{9{,}500}") == "9{,}500"
    assert [number_value(text) for text in ("3{,}5", "12{,}0000", "12{,}", "{,}000", "3,5")] == [None] * 5
    assert without_thousands("3,5") == "3,5"


@given(st.text())
def test_answers_that_differ_by_composition_alone_are_one(text):
    assert answer_value(unicodedata.normalize("NFD", text)) == answer_value(unicodedata.normalize("NFC", text))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("The U.S.", "us"),
        ("Port-au-Prince", "port au prince"),
        ("  a  Cat, an OWL; the end! ", "cat owl end"),
        ("Theodor", "theodor"),
        ("A", "a"),
        ("The The", "the the"),
        ("Straße", "strasse"),
        ("e\u0301té", "été"),
        ("ﬁn 北京。", "fin 北京"),
        ("?!", ""),
    ],
)
def test_names_are_their_words_without_case_punctuation_and_articles(text, words):
    assert " ".join(phrase_words(text)) == words


def test_short_answers_are_numbers_by_value_and_else_names():
    assert phrase_value("1,000.0") == phrase_value("1000") == 1000
    assert phrase_value("The  Hague.") == phrase_value("hague") == "hague"
    assert phrase_value("?!") == "?!" != phrase_value("!")
