import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasoning.core.text import abridged, printable, shortened, steady

ATTACKS = {
    "colour": ("\x1b[31mred\x1b[0m", "red"),
    "clear the screen": ("a\x1b[2Jb", "ab"),
    "window title": ("a\x1b]0;owned\x07b", "ab"),
    "link": ("\x1b]8;;http://x\x1b\\text\x1b]8;;\x1b\\", "text"),
    "one-byte control sequence": ("a\x9b31mb", "ab"),
    "escape inside an escape": ("\x1b\x1b[0m[0mx", "[0mx"),
    "lone escape at the end": ("abc\x1b", "abc"),
    "backspaces that overwrite": ("yes\b\b\bno", "yesno"),
    "carriage return that overwrites": ("wrong\rright", "wrong\nright"),
    "right-to-left override": ("\u202e42\u202c", "42"),
    "isolates": ("\u2066a\u2069", "a"),
    "line separator": ("a\u2028b", "a\nb"),
    "half a surrogate pair": ("a\ud800b", "a\ufffdb"),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_codes_that_act_on_a_terminal_are_gone(name):
    given_text, expected = ATTACKS[name]
    assert printable(given_text) == expected


@given(st.text(alphabet=st.characters(exclude_categories=["Cs", "Cc"])).filter(lambda text: text.isprintable()))
def test_plain_text_stays_as_it_is(text):
    assert printable(text) == text


@given(st.text(alphabet=st.one_of(st.characters(), st.sampled_from("\x1b[]0m;\x07\x9b\\?J\n\t"))))
def test_no_control_character_is_ever_left(text):
    result = printable(text)
    bidirectional = {unicodedata.bidirectional(character) for character in result}
    assert not {character for character in result if unicodedata.category(character) == "Cc"} - {"\n", "\t"}
    assert not bidirectional & {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
    assert printable(result) == result


@given(st.text(alphabet=st.sampled_from("\x1b[]0m;\x07\x9b\x90\x9c\\?J P\r\n\ufffdx")), st.integers(0, 40))
def test_what_is_steady_of_a_beginning_is_shown_the_same_whatever_follows(text, size):
    assert printable(text).startswith(printable(steady(text[:size])))


def test_all_is_steady_but_an_escape_or_a_character_that_may_still_end():
    assert steady("3\ufffd+4\n") == "3\ufffd+4\n" and steady("\x1b[31mred") == "\x1b[31mred"
    assert steady("3+\x1b[3") == steady("3+\x1b]0;title") == steady("3+\ufffd\ufffd") == "3+"


def test_long_text_says_how_much_is_left_out():
    assert shortened("abcdef", 6) == "abcdef"
    assert shortened("abcdefg", 3) == "abc… (+4 characters)"


def test_an_abridged_text_keeps_its_beginning_and_its_end():
    assert abridged("abcdef", 6) == "abcdef"
    assert abridged("a" * 50 + "b" * 50, 9) == "aaaaaa… (91 characters) …bbb"
