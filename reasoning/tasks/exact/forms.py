"""The forms that mathematical answers have: numbers with units, sequences, sets, relations, matrices, words."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from reasoning.tasks.exact.algebra import Value, key_of
from reasoning.tasks.exact.latex import CALLED


@dataclass(frozen=True)
class Quantity:
    """An expression with its unit, empty for none; ``value`` is None where exact arithmetic would take long.

    ``tokens`` are the expression as it is written, ``other_reading`` the text where a comma may also separate.
    """

    tokens: tuple[str, ...]
    value: Value | None
    unit: str = ""
    letter: str = ""  # of a choice: (A)


@dataclass(frozen=True)
class Series:
    """Parts between brackets, or signs: a tuple or an interval ``(1, 2]``, a ratio ``1:2``; their order counts."""

    opening: str
    closing: str
    items: tuple["Form", ...]


@dataclass(frozen=True)
class Collection:
    """Parts whose order doesn't count: a ``set``, a ``list`` without brackets, a ``union``, or what ``or`` joins."""

    kind: str
    items: tuple["Form", ...]


@dataclass(frozen=True)
class Relation:
    """Expressions with ``=``, ``<``, ``<=`` or ``!=`` between them, smaller ones first."""

    sides: tuple[Quantity, ...]
    signs: tuple[str, ...]


@dataclass(frozen=True)
class Named:
    """What a name is said to be, ``x = 5``; ``relation`` is that as an equation, where both sides are expressions."""

    name: str
    item: "Form"
    relation: Relation | None


@dataclass(frozen=True)
class Matrix:
    """Rows of expressions."""

    rows: tuple[tuple["Form", ...], ...]


@dataclass(frozen=True)
class Words:
    """An answer in words, in small letters."""

    text: str


Form = Quantity | Series | Collection | Relation | Named | Matrix | Words


def spelled(form: Form, unit: str | None = None) -> str:
    """A form as text: answers of one text are equal. ``unit`` is the one that counts as none, None for any."""
    match form:
        case Quantity(tokens, value, own, letter):
            shown = own if unit is not None and own != unit else ""
            text = " ".join(tokens) if value is None else _number_text(value)
            return letter or f"{text} {shown}".strip()
        case Series(opening, closing, items):
            inside = (":" if opening == ":" else ", ").join(spelled(item, unit) for item in items)
            return inside if opening == ":" else f"{opening}{inside}{closing}"
        case Collection(kind, items):
            parts = sorted(spelled(item, unit) for item in items)
            parts = sorted(set(parts)) if kind == "set" else parts
            joint = {"union": r" \cup ", "or": " or ", "and": " and "}.get(kind, ", ")
            return f"{{{joint.join(parts)}}}" if kind == "set" else joint.join(parts)
        case Relation(sides, signs):
            parts = [f" {sign} {spelled(side, unit)}" for sign, side in zip(signs, sides[1:], strict=True)]
            return spelled(sides[0], unit) + "".join(parts)
        case Named(_, item, _):
            return spelled(item, unit)
        case Matrix(rows):
            return "; ".join(" & ".join(spelled(item, unit) for item in row) for row in rows)
        case Words(text):
            return text


def _number_text(value: Value) -> str:
    number = value.rational
    return key_of(value) if number is None else str(number)


def as_latex(tokens: Sequence[str]) -> str:
    r"""An expression's tokens as plain LaTeX: functions with a backslash, roots with braces, decimals as fractions."""
    parts: list[str] = []
    closers: list[str] = []
    rooted = False
    for token in tokens:
        opens = token in ("(", "{", "[")
        if opens:
            closers.append("}" if rooted and token == "(" else {"(": ")", "{": "}", "[": "]"}[token])
        rooted_now = rooted and token == "("
        if token in (")", "}", "]") and closers:
            parts.append(closers.pop())
        else:
            parts.append("{" if rooted_now else _latex_token(token))
        rooted = token in ("sqrt", r"\sqrt")
    return " ".join(parts)


def _latex_token(token: str) -> str:
    if token in CALLED or token in ("sqrt", "pi"):
        return f"\\{token}"
    if token == "*":
        return r"\cdot"
    if not token[:1].isdigit() and token[:1] != "." or token.isdigit() or token == ".":
        return token
    number = Fraction(token)
    return rf"\frac{{{number.numerator}}}{{{number.denominator}}}"
