"""The grammar of experiment files: text to statements whose every word remembers its line and column.

A file holds three kinds of line, ``include 'path'``, ``name = VALUE`` and ``name.field = VALUE``, and comments after
``#``. A value is a Python literal (number, text, True, False, None, tuple, list, dict with text keys), a bare name,
``@dotted.name`` or ``%name``; inside brackets it may run over lines. Nothing is computed and nothing is executed.
"""

import re

from reasoning.experiment.locations import Location, error_at, quoted, suggestion
from reasoning.experiment.nodes import (
    Binding,
    Change,
    ConstantRead,
    Definition,
    DictNode,
    Include,
    LiteralNode,
    PartName,
    Reference,
    SequenceNode,
    Statement,
    ValueNode,
)
from reasoning.experiment.tokens import (
    CLOSERS,
    NAME_PATTERN,
    NO_ARITHMETIC,
    Cursor,
    Token,
    number_of,
    text_of,
    tokenize,
)
from reasoning.experiment.types import value_repr

_CONSTANTS: dict[str, bool | None] = {"True": True, "False": False, "None": None}


def parse_file(text: str, path: str) -> list[Statement]:
    """The statements of a file, ``path`` being what errors call it; raises InputError for bad syntax."""
    cursor = Cursor(list(tokenize(text, path, numbered=True)))
    statements: list[Statement] = []
    while cursor.peek().kind != "end":
        if cursor.peek().kind == "newline":
            cursor.take()
        else:
            statements.append(_statement(cursor))
    return statements


def parse_override(text: str) -> Change:
    """The statement of an override from the command line, ``name=VALUE`` or ``name.field=VALUE``."""
    cursor = Cursor(list(tokenize(text, "command line", numbered=False)))
    first = cursor.peek()
    if first.kind not in ("name", "end", "newline"):
        raise error_at("an override is name=VALUE or part.field=VALUE", first.location)
    statement = _assignment(cursor)
    if cursor.peek().kind != "end":
        raise error_at("an override sets one value; give each its own", cursor.peek().location)
    return statement


def given_override(key: str, value: object) -> Change:
    """The statement of an override from Python, ``{'part.field': value}``; the value is taken as it is."""
    shown = f"{key}={value_repr(value)}".replace("\n", " ")
    start = len(key) + 1
    given = LiteralNode(value, Location("override", shown, start, len(shown) - start))
    return keyed_override(key, Location("override", shown, 0, len(key)), given)


def keyed_override(key: str, location: Location, value: ValueNode) -> Change:
    """The statement of an override whose ``key``, a constant's name or part.field, is a text at ``location``."""
    if re.fullmatch(NAME_PATTERN, key) is None:
        raise error_at("an override's key is a constant's name or part.field", location)
    return _target(Token("name", key, location), value)


def _statement(cursor: Cursor) -> Statement:
    token = cursor.peek()
    if token.kind == "name" and cursor.tokens[cursor.position + 1].kind == "text":
        if token.text != "include":
            raise error_at(f"{quoted(token.text)} before a text{suggestion(token.text, ['include'])}", token.location)
        cursor.take()
        target = cursor.take()
        _line_end(cursor)
        return Include(str(text_of(target)), target.location)
    return _assignment(cursor)


def _assignment(cursor: Cursor) -> Change:
    token = cursor.take()
    if token.kind != "name":
        raise error_at("expected include 'path', name = VALUE or part.field = VALUE", token.location)
    if not cursor.skip("="):
        raise error_at(f"expected '=' after {quoted(token.text)}", cursor.peek().location)
    value = _value(cursor)
    _line_end(cursor)
    return _target(token, value)


def _target(token: Token, value: ValueNode) -> Change:
    names = token.text.split(".")
    if names[0] in (*_CONSTANTS, "include"):
        raise error_at(f"'{names[0]}' is a word of the language; choose another name", token.location)
    if len(names) == 1:
        return Definition(token.text, value, token.location)
    if len(names) > 2:
        raise error_at(
            f"{quoted(token.text)} has {len(names)} names; only part.field can be set: give the inner part a "
            "name of its own",
            token.location,
        )
    part, field = names
    return Binding(
        part, field, value, token.location.part(0, len(part)), token.location.part(len(part) + 1, len(field))
    )


def _line_end(cursor: Cursor) -> None:
    token = cursor.peek()
    if token.kind == "symbol" and token.text == ",":
        raise error_at("a tuple needs brackets: (a, b)", token.location)
    if token.kind not in ("newline", "end"):
        raise error_at(f"expected the end of the line, found {quoted(token.text)}{NO_ARITHMETIC}", token.location)


def _value(cursor: Cursor) -> ValueNode:
    token = cursor.take()
    if token.kind == "text":
        return _texts(cursor, token)
    if token.kind == "number":
        return LiteralNode(number_of(token), token.location)
    if token.kind == "reference":
        return Reference(token.text[1:], token.location)
    if token.kind == "constant":
        return ConstantRead(token.text[1:], token.location)
    if token.kind == "name":
        if token.text in _CONSTANTS:
            return LiteralNode(_CONSTANTS[token.text], token.location)
        return PartName(token.text, token.location)
    if token.text in ("+", "-") and cursor.peek().kind == "number":
        digits = cursor.take()
        number, gap = number_of(digits), digits.location.column - token.location.column
        return LiteralNode(
            -number if token.text == "-" else number, token.location.part(0, gap + digits.location.width)
        )
    if token.text in ("(", "["):
        return _group(cursor, token)
    if token.text == "{":
        return _table(cursor, token)
    found = f", found {quoted(token.text)}" if token.text.strip() else ""
    raise error_at(f"expected a value{found}{NO_ARITHMETIC}", token.location)


def _group(cursor: Cursor, opening: Token) -> ValueNode:
    items: list[ValueNode] = []
    commas = 0
    while not cursor.skip(CLOSERS[opening.text]):
        if len(items) > commas or cursor.peek().kind == "end":
            raise _unclosed(cursor, opening)
        items.append(_value(cursor))
        commas += cursor.skip(",")
    if opening.text == "(" and len(items) == 1 and not commas:
        return items[0]
    return SequenceNode(tuple(items), opening.text == "[", opening.location)


def _table(cursor: Cursor, opening: Token) -> DictNode:
    entries: dict[str, ValueNode] = {}
    keys: dict[str, Location] = {}
    commas = 0
    while not cursor.skip("}"):
        if len(entries) > commas or cursor.peek().kind == "end":
            raise _unclosed(cursor, opening)
        key = cursor.take()
        name = text_of(key) if key.kind == "text" else None
        if name is None:
            raise error_at("the keys of a dict are texts in quotes", key.location)
        if name in entries:
            raise error_at(f"the key {quoted(name)} stands twice in this dict", key.location)
        if not cursor.skip(":"):
            raise error_at("expected ':' after the key of a dict", cursor.peek().location)
        entries[name], keys[name] = _value(cursor), key.location
        commas += cursor.skip(",")
    return DictNode(entries, opening.location, keys)


def _unclosed(cursor: Cursor, opening: Token) -> Exception:
    closer, token = CLOSERS[opening.text], cursor.peek()
    if token.kind == "end":
        return error_at(f"this '{opening.text}' is never closed", opening.location)
    return error_at(
        f"expected ',' or '{closer}', found {quoted(token.text)}{NO_ARITHMETIC}; the bracket opens here",
        token.location,
        opening.location,
    )


def _texts(cursor: Cursor, first: Token) -> LiteralNode:
    """Texts that stand side by side are one, as in Python."""
    whole = text_of(first)
    while cursor.peek().kind == "text":
        whole += text_of(cursor.take())
    return LiteralNode(whole, first.location)
