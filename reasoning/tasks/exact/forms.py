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
    percentage: "Quantity | None" = None  # of 50\\%: 50, whose sign may be left out as a unit may


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


def spelled(form: Form, right: Form | None = None) -> str:
    """A form as text; two of one text both say what ``right`` says, or neither does.

    Units and names are left out where they don't count: all of them where ``right`` has none, else its own. Where it is
    a percentage, numbers above 1 without a sign are taken for percentages too, unless it is equal to such a number.
    """
    return _spelled(form, _Left(_units(right), _names(right), _percentage(right)))


@dataclass(frozen=True)
class _Left:
    """The units and names that are left out, None for all; the right percentage, as 50, None where it is none."""

    units: frozenset[str] | None
    names: frozenset[str] | None
    percentage: Fraction | None


def _units(right: Form | None) -> frozenset[str] | None:
    right = right.item if isinstance(right, Named) else right
    return frozenset({right.unit}) if isinstance(right, Quantity) and right.unit else None


def _percentage(right: Form | None) -> Fraction | None:
    right = right.item if isinstance(right, Named) else right
    number = right.percentage if isinstance(right, Quantity) else None
    return None if number is None or number.value is None else number.value.rational


def _names(right: Form | None) -> frozenset[str] | None:
    parts = right.items if isinstance(right, Collection) else (right,)
    names = frozenset(part.name for part in parts if isinstance(part, Named))
    return names if len(names) == 1 else frozenset() if names else None


def _spelled(form: Form, left: _Left) -> str:
    match form:
        case Quantity(tokens, value, unit, letter):
            shown = "" if left.units is None or unit in left.units else unit
            text = " ".join(tokens) if value is None else _number_text(value)
            if left.percentage is not None and form.percentage is None and not unit and value is not None:
                text = text if value.rational is None else str(_of_hundred(value.rational, left.percentage))
            return letter or f"{text} {shown}".strip()
        case Series(opening, closing, items):
            inside = (":" if opening == ":" else ", ").join(_spelled(item, left) for item in items)
            return inside if opening == ":" else f"{opening}{inside}{closing}"
        case Collection(kind, items):
            parts = sorted(_spelled(item, left) for item in items)
            parts = sorted(set(parts)) if kind == "set" else parts
            nested = any(isinstance(item, Collection) for item in items)
            joint = {"union": r" \cup ", "or": " or ", "and": " and "}.get(kind, "; " if nested else ", ")
            return f"{{{joint.join(parts)}}}" if kind == "set" else joint.join(parts)
        case Relation(sides, signs):
            parts = [f" {sign} {_spelled(side, left)}" for sign, side in zip(signs, sides[1:], strict=True)]
            return _spelled(sides[0], left) + "".join(parts)
        case Named(name, item, _):
            shown = left.names is not None and name not in left.names
            return (f"{name} = " if shown else "") + _spelled(item, left)
        case Matrix(rows):
            return "; ".join(" & ".join(_spelled(item, left) for item in row) for row in rows)
        case Words(text):
            return text


def _of_hundred(number: Fraction, right: Fraction) -> Fraction:
    """What a number without a sign means where ``right``, as 50, is the right percentage."""
    if number in (right, right / 100):
        return right / 100
    return number if abs(number) <= 1 else number / 100


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
