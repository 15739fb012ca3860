import ast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasoning.core.errors import InputError
from reasoning.experiment.tokens import Token, number_of, text_of, tokenize


def words(text: str) -> list[Token]:
    return [token for token in tokenize(text, "f", numbered=True) if token.kind != "end"]


def test_every_word_knows_its_kind_its_line_and_its_column():
    text = "# start\nzero.lr = -1e-3 # note\n\trun = (@a.b, %w,\n  'x#y')\n"
    found = [(token.kind, token.text, token.location.label, token.location.column) for token in words(text)]
    assert [entry for entry in found if entry[0] != "newline"] == [
        ("name", "zero.lr", "f:2", 0),
        ("symbol", "=", "f:2", 8),
        ("symbol", "-", "f:2", 10),
        ("number", "1e-3", "f:2", 11),
        ("name", "run", "f:3", 1),
        ("symbol", "=", "f:3", 5),
        ("symbol", "(", "f:3", 7),
        ("reference", "@a.b", "f:3", 8),
        ("symbol", ",", "f:3", 12),
        ("constant", "%w", "f:3", 14),
        ("symbol", ",", "f:3", 16),
        ("text", "'x#y'", "f:4", 2),
        ("symbol", ")", "f:4", 7),
    ]


def test_line_ends_inside_brackets_are_no_line_ends():
    assert [token.kind for token in words("a = (\n1,\n\n2)\nb = 1")].count("newline") == 1


def test_a_word_after_a_text_of_several_lines_is_on_the_right_line():
    (last,) = [token for token in words("a = ('''one\ntwo\n''',\n  b)") if token.text == "b"]
    assert (last.location.label, last.location.column) == ("f:4", 2)


def test_a_text_of_several_lines_is_underlined_to_the_end_of_its_first():
    (text,) = [token for token in words("a = '''one\ntwo'''") if token.kind == "text"]
    assert text.location.line[text.location.column :][: text.location.width] == "'''one"


@given(st.text())
def test_texts_mean_what_python_says(text):
    (token,) = words(repr(text))
    assert token.kind == "text" and text_of(token) == text


@pytest.mark.parametrize(
    "text", [r"r'\d+'", r"'\n\x41\u00e9'", '"""a\n"b" c"""', "'it\\'s'", "''", '""', "R'x'", "'é ∑'"]
)
def test_forms_of_texts_mean_what_python_says(text):
    (token,) = words(text)
    assert text_of(token) == ast.literal_eval(text)


@given(st.one_of(st.floats(min_value=0, allow_infinity=False), st.integers(min_value=0)))
def test_numbers_mean_what_python_says(number):
    (token,) = words(repr(number))
    assert token.kind == "number"
    assert number_of(token) == number and type(number_of(token)) is type(number)


@pytest.mark.parametrize("text", ["1_000", "0x1F", "0b101", ".5", "5.", "1e5", "1E+5", "2.5e-3"])
def test_forms_of_numbers_mean_what_python_says(text):
    (token,) = words(text)
    assert number_of(token) == ast.literal_eval(text)


@pytest.mark.parametrize("text", ["012", "1.2.3", "12abc", "1__0", "1e", "3j", "1e999", "0xg"])
def test_what_is_no_finite_real_number_is_refused(text):
    (token,) = words(text)
    with pytest.raises(InputError, match=f"'{text}' is not a"):
        number_of(token)


@pytest.mark.parametrize("text", [r"'\d'", r"'\xZZ'", r"'\u12'"])
def test_an_escape_that_python_does_not_know_is_refused(text):
    (token,) = words(text)
    with pytest.raises(InputError, match="double the backslash"):
        text_of(token)


@pytest.mark.parametrize(
    ("text", "message", "column"),
    [
        ("a = $b", r"unexpected '\$'", 4),
        ("a = 'oops", "never closed", 4),
        ("a = '''oops'", "never closed", 4),
        ("a = @", "'@' needs a name", 4),
        ("a = % b", "'%' needs a name", 4),
        ("a = b;", "unexpected ';'", 5),
    ],
)
def test_a_character_that_begins_no_word_is_shown(text, message, column):
    with pytest.raises(InputError, match=message) as error:
        words(text)
    above, below = str(error.value).split("\n")[1:]
    assert below.index("^") - above.index("a = ") == column
