"""The words of experiment files: tokens that remember their line and column, and what numbers and texts mean."""

import ast
import math
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

from reasoning.core.errors import InputError
from reasoning.experiment.locations import Location, error_at, quoted

NAME_PATTERN = r"[^\W\d]\w*(?:\.[^\W\d]\w*)*"
_TOKEN = re.compile(
    rf"""
    (?P<space>[ \t\f\r]+|\#[^\n]*)
  | (?P<newline>\n)
  | (?P<text>[rR]?(?:
        '''(?:[^\\]|\\.)*?''' | \"\"\"(?:[^\\]|\\.)*?\"\"\"
      | '(?!'')(?:[^'\\\n]|\\.)*' | "(?!"")(?:[^"\\\n]|\\.)*"))
  | (?P<number>\.?\d(?:[eE][+-]|[\w.])*)
  | (?P<reference>@{NAME_PATTERN})
  | (?P<constant>%[^\W\d]\w*)
  | (?P<name>{NAME_PATTERN})
  | (?P<symbol>[()\[\]{{}},:=+-])
    """,
    re.VERBOSE | re.DOTALL,
)
DEPTH = 100
"""How deep brackets, constants, parts and included files may nest."""

LENGTH = 2**18
"""Characters that an experiment file with all that it includes may have, and an override by itself."""

_BITS = 1024
"""Of a whole number: those with more are no float either."""

CLOSERS = {"(": ")", "[": "]", "{": "}"}
NO_ARITHMETIC = "; a value is a literal, a part's name, @module.name or %constant, and nothing is computed"


@dataclass(frozen=True, slots=True)
class Token:
    """One word; ``kind`` is text, number, reference, constant, name, symbol, newline or end."""

    kind: str
    text: str
    location: Location


@dataclass
class Cursor:
    """The tokens that remain to be read."""

    tokens: list[Token]
    position: int = 0

    def peek(self) -> Token:
        return self.tokens[self.position]

    def take(self) -> Token:
        token = self.tokens[self.position]
        self.position += token.kind != "end"
        return token

    def skip(self, text: str) -> bool:
        """Whether the next token was the symbol ``text``, which is then consumed."""
        matched = self.peek().kind == "symbol" and self.peek().text == text
        self.position += matched
        return matched


def tokenize(text: str, path: str, numbered: bool) -> Iterator[Token]:
    """The words of ``text`` without spaces, comments and the line ends inside brackets; the last one is the end.

    ``path`` is what errors call the text, with the line's number after it where ``numbered``. Raises InputError for a
    character that begins no word, for a text that is too long, and for brackets that nest too deeply.
    """
    if len(text) > LENGTH:
        raise InputError(f"{path} has {len(text):,} characters; an experiment file has at most {LENGTH:,}")
    lines = text.split("\n")
    position, row, start, depth = 0, 0, 0, 0
    label = f"{path}:1" if numbered else path

    def location(width: int) -> Location:
        column = position - start
        return Location(label, lines[row], column, max(1, min(width, len(lines[row]) - column)))

    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise error_at(_stray(text[position]), location(1))
        kind, word = match.lastgroup or "", match.group()
        depth += (word in CLOSERS) - (word in CLOSERS.values() and depth > 0)
        if depth > DEPTH:
            raise error_at(f"brackets nest more than {DEPTH} deep here; make them flatter", location(1))
        if kind != "space" and not (kind == "newline" and depth):
            yield Token(kind, word, location(len(word)))
        position = match.end()
        if "\n" in word:
            row += word.count("\n")
            label = f"{path}:{row + 1}" if numbered else path
            start = match.start() + word.rindex("\n") + 1
    yield Token("end", "", location(1))


def _stray(character: str) -> str:
    if character in "'\"":
        return "this text is never closed; end it with the same quote, or use three for text of several lines"
    if character in "@%":
        return f"'{character}' needs a name right after it"
    return f"unexpected '{character}'{NO_ARITHMETIC}"


def text_of(token: Token) -> str:
    """What a text in quotes says; raises InputError for an escape that Python doesn't know."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return ast.literal_eval(token.text)
    except UnicodeEncodeError as error:
        raise error_at("bad text (bytes that are not UTF-8); mend it", token.location) from error
    except (SyntaxError, ValueError) as error:
        raise error_at(f"bad text ({error.args[0]}); double the backslash, or write r'…'", token.location) from error


def number_of(token: Token) -> int | float:
    """The number that a token writes; raises InputError unless it is a finite integer or real."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            number = ast.literal_eval(token.text)
    except (SyntaxError, ValueError) as error:
        raise error_at(f"{quoted(token.text)} is not a number; names begin with a letter", token.location) from error
    if not isinstance(number, int | float) or (isinstance(number, float) and not math.isfinite(number)):
        raise error_at(f"{quoted(token.text)} is not a finite real number", token.location)
    if isinstance(number, int) and number.bit_length() > _BITS:
        raise error_at(f"{quoted(token.text)} is too large a number", token.location)
    return number
