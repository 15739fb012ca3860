"""The grammar of experiment files: text to statements whose every word remembers its line and column.

A file holds three kinds of line, ``include 'path'``, ``name = VALUE`` and ``name.field = VALUE``, and comments after
``#``. A value is a Python literal (number, text, True, False, None, tuple, list, dict with text keys), a bare name,
``@dotted.name`` or ``%name``; inside brackets it may run over lines. Nothing is computed and nothing is executed.
"""

import re
import reprlib

from reasoning.experiment.nodes import (
    Binding,
    Change,
    ConstantRead,
    Definition,
    Given,
    Group,
    Include,
    Literal,
    Node,
    PartName,
    Reference,
    Statement,
    Table,
)
from reasoning.experiment.places import Place, located, suggestion
from reasoning.experiment.tokens import CLOSERS, NAME, NO_ARITHMETIC, Cursor, Token, number_of, text_of, tokens

_CONSTANTS: dict[str, bool | None] = {"True": True, "False": False, "None": None}


def parse(text: str, path: str) -> list[Statement]:
    """The statements of a file, ``path`` being what errors call it; raises InputError for bad syntax."""
    cursor = Cursor(list(tokens(text, path, numbered=True)))
    statements: list[Statement] = []
    while cursor.peek().kind != "end":
        if cursor.peek().kind == "newline":
            cursor.take()
        else:
            statements.append(_statement(cursor))
    return statements


def parse_override(text: str) -> Change:
    """The statement of an override from the command line, ``name=VALUE`` or ``name.field=VALUE``."""
    cursor = Cursor(list(tokens(text, "command line", numbered=False)))
    first = cursor.peek()
    if first.kind not in ("name", "end", "newline"):
        raise located("an override is name=VALUE or part.field=VALUE", first.place)
    statement = _assignment(cursor)
    if cursor.peek().kind != "end":
        raise located("an override sets one value; give each its own", cursor.peek().place)
    return statement


def given_override(key: str, value: object) -> Change:
    """The statement of an override from Python, ``{'part.field': value}``; the value is taken as it is."""
    shown = f"{key}={reprlib.repr(value)}".replace("\n", " ")
    start = len(key) + 1
    given = Given(value, Place("override", shown, start, len(shown) - start))
    return keyed_override(key, Place("override", shown, 0, len(key)), given)


def keyed_override(key: str, place: Place, value: Node) -> Change:
    """The statement of an override whose ``key``, a constant's name or part.field, is a text at ``place``."""
    if re.fullmatch(NAME, key) is None:
        raise located("an override's key is a constant's name or part.field", place)
    return _target(Token("name", key, place), value)


def _statement(cursor: Cursor) -> Statement:
    token = cursor.peek()
    if token.kind == "name" and cursor.tokens[cursor.position + 1].kind == "text":
        if token.text != "include":
            raise located(f"'{token.text}' before a text{suggestion(token.text, ['include'])}", token.place)
        cursor.take()
        target = cursor.take()
        _line_end(cursor)
        return Include(str(text_of(target)), target.place)
    return _assignment(cursor)


def _assignment(cursor: Cursor) -> Change:
    token = cursor.take()
    if token.kind != "name":
        raise located("expected include 'path', name = VALUE or part.field = VALUE", token.place)
    if not cursor.skip("="):
        raise located(f"expected '=' after '{token.text}'", cursor.peek().place)
    value = _value(cursor)
    _line_end(cursor)
    return _target(token, value)


def _target(token: Token, value: Node) -> Change:
    names = token.text.split(".")
    if names[0] in (*_CONSTANTS, "include"):
        raise located(f"'{names[0]}' is a word of the language; choose another name", token.place)
    if len(names) == 1:
        return Definition(token.text, value, token.place)
    if len(names) > 2:
        raise located(
            f"'{token.text}' has {len(names)} names; only part.field can be set: give the inner part a name of its own",
            token.place,
        )
    part, field = names
    return Binding(part, field, value, token.place.part(0, len(part)), token.place.part(len(part) + 1, len(field)))


def _line_end(cursor: Cursor) -> None:
    token = cursor.peek()
    if token.kind == "symbol" and token.text == ",":
        raise located("a tuple needs brackets: (a, b)", token.place)
    if token.kind not in ("newline", "end"):
        raise located(f"expected the end of the line, found '{token.text}'{NO_ARITHMETIC}", token.place)


def _value(cursor: Cursor) -> Node:
    token = cursor.take()
    if token.kind == "text":
        return _texts(cursor, token)
    if token.kind == "number":
        return Literal(number_of(token), token.place)
    if token.kind == "reference":
        return Reference(token.text[1:], token.place)
    if token.kind == "constant":
        return ConstantRead(token.text[1:], token.place)
    if token.kind == "name":
        if token.text in _CONSTANTS:
            return Literal(_CONSTANTS[token.text], token.place)
        return PartName(token.text, token.place)
    if token.text in ("+", "-") and cursor.peek().kind == "number":
        digits = cursor.take()
        number, gap = number_of(digits), digits.place.column - token.place.column
        return Literal(-number if token.text == "-" else number, token.place.part(0, gap + digits.place.width))
    if token.text in ("(", "["):
        return _group(cursor, token)
    if token.text == "{":
        return _table(cursor, token)
    found = f", found '{token.text}'" if token.text.strip() else ""
    raise located(f"expected a value{found}{NO_ARITHMETIC}", token.place)


def _group(cursor: Cursor, opening: Token) -> Node:
    items: list[Node] = []
    commas = 0
    while not cursor.skip(CLOSERS[opening.text]):
        if len(items) > commas:
            raise _unclosed(cursor, opening)
        _check_open(cursor, opening)
        items.append(_value(cursor))
        commas += cursor.skip(",")
    if opening.text == "(" and len(items) == 1 and not commas:
        return items[0]
    return Group(tuple(items), opening.text == "[", opening.place)


def _table(cursor: Cursor, opening: Token) -> Table:
    entries: dict[str, Node] = {}
    keys: dict[str, Place] = {}
    commas = 0
    while not cursor.skip("}"):
        if len(entries) > commas:
            raise _unclosed(cursor, opening)
        _check_open(cursor, opening)
        key = cursor.take()
        name = text_of(key) if key.kind == "text" else None
        if name is None:
            raise located("the keys of a dict are texts in quotes", key.place)
        if name in entries:
            raise located(f"the key {name!r} stands twice in this dict", key.place)
        if not cursor.skip(":"):
            raise located("expected ':' after the key of a dict", cursor.peek().place)
        entries[name], keys[name] = _value(cursor), key.place
        commas += cursor.skip(",")
    return Table(entries, opening.place, keys)


def _check_open(cursor: Cursor, opening: Token) -> None:
    if cursor.peek().kind == "end":
        raise _unclosed(cursor, opening)


def _unclosed(cursor: Cursor, opening: Token) -> Exception:
    closer, token = CLOSERS[opening.text], cursor.peek()
    if token.kind == "end":
        return located(f"this '{opening.text}' is never closed", opening.place)
    return located(
        f"expected ',' or '{closer}', found '{token.text}'{NO_ARITHMETIC}; the bracket opens here",
        token.place,
        opening.place,
    )


def _texts(cursor: Cursor, first: Token) -> Literal:
    """Texts that stand side by side are one, as in Python."""
    whole = text_of(first)
    while cursor.peek().kind == "text":
        whole += text_of(cursor.take())
    return Literal(whole, first.place)
