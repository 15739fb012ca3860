r"""Reading an answer's form: ``\left(1, \frac{1}{2}\right]``, ``x = 5 \text{ cm}``, ``1 < x \le 2``, ``east``."""

import re
from collections.abc import Sequence

from reasoning.tasks.exact.algebra import TooLarge, Value, divide, equal, rational
from reasoning.tasks.exact.expressions import Unreadable, read_expression
from reasoning.tasks.exact.forms import Collection, Form, Matrix, Named, Quantity, Relation, Series, Words
from reasoning.tasks.exact.latex import CALLED, balanced, enclosed, one_spelling, split_at, tokens_of
from reasoning.tasks.exact.units import PERCENT, split_unit

LONGEST = 512
"""Characters of an answer; a longer one is none."""

_SEPARATORS = (";", ",")
# The one that separates more comes first.
_FLIPPED = {">": "<", r"\ge": r"\le"}
_RELATIONS = ("=", "<", ">", r"\le", r"\ge", r"\ne")
_JOINTS = re.compile(r",? *\\text ?\{ ?,? ?(and|or) ?\}|,? *(?<![A-Za-z\\])(and|or)(?![A-Za-z])")
_TEXT = re.compile(r"\\text ?\{([^{}]*)\}")
_WORDS = re.compile(r"[^\W\d_](?:[^\W_]|[' .,!-])*")
_WHOLE_TEXT = re.compile(r"\\text ?\{([^{}]*[0-9][^{}]*)\}")
_NAME = re.compile(
    r"(?:[A-Za-z]|\\[a-zA-Z]+)(?:_\{?[A-Za-z0-9]+\}?)?'?(?:\([A-Za-z0-9](?:,[A-Za-z0-9])*\))?|[A-Z]{2,3}|"
    # lengths, and ratios of sides and areas
    r"\|[A-Z]{2}\||\\frac\{[A-Z]{1,3}\}\{[A-Z]{1,3}\}|[A-Z](?:_\{?\w+\}?)?:[A-Z](?:_\{?\w+\}?)?"
)
_NAMES = re.compile(r"\([A-Za-z](?:,[A-Za-z])+\)")
_CLOCK = re.compile(r"([0-9]{1,2}):([0-9]{2}) ?([aApP])\.? ?[mM]\.?")
_CHOICE = re.compile(r"(?:\(([A-J])\)|([A-J])[).:]|([A-J])$)(.*)")
_OTHER_CHOICE = re.compile(r"\([A-J]\)|(?<![A-Za-z])(?:or|and|[A-J])(?![A-Za-z])|,")
_MATRIX = re.compile(r"\\begin ?\{([pbvB]?matrix|array)\}(?:\{[lcr| ]*\})?(.*)\\end ?\{\1\}", re.DOTALL)
_OF_MATRIX = re.compile(r"[A-Za-z](?:\^\{?(?:-1|T)\}?)? ?= ?(?=(?:\\left ?)?[(\[]? ?\\begin)")
_BRACKETED = re.compile(r"(?:\\left ?)?[(\[] ?(\\begin.*\\end ?\{\w+\}) ?(?:\\right ?)?[)\]]", re.DOTALL)
# Of these math-verify makes sense, though they aren't read here.
_KNOWN_ELSEWHERE = frozenset({r"\sum", r"\prod", r"\int", r"\lim", r"\to", r"\infty", r"\frac", r"\sqrt", r"\pi"})


def read_form(text: str, commas_join: bool = True) -> Form | None:
    """The form of an answer, or None for what is no answer: empty, longer than 512 characters, unbalanced, unreadable.

    ``commas_join`` as in ``one_spelling``; within brackets commas always separate.
    """
    if len(text) > LONGEST or not text.strip():
        return None
    whole = _MATRIX.fullmatch(_BRACKETED.sub(r"\1", _OF_MATRIX.sub("", text.strip().strip("$.").strip())))
    if whole is not None:
        return _read_matrix(whole[2])
    joined, split = (one_spelling(text, commas) for commas in (True, False))
    if joined != split and (not commas_join or not _commas_stand_outside(split)):
        joined = split
    if any(sign.isdigit() and not sign.isascii() for sign in joined):
        return None  # Another script's digits.
    numbered = _WHOLE_TEXT.fullmatch(joined)
    if numbered is not None:
        joined = numbered[1]
    letter = _choice_letter(joined)
    if letter:
        return Quantity((letter,), None, letter=letter)
    words = _words_of(joined)
    if words is not None:
        return words
    joints = {found[1] or found[2] for found in _JOINTS.finditer(joined)}
    tokens = tokens_of(re.sub(r", *,", ",", _JOINTS.sub(" , ", joined)))
    if not tokens or not balanced(tokens):
        return None
    try:
        return _read(tokens, "".join(joints) if len(joints) == 1 else "")
    except (Unreadable, RecursionError):
        return None


def _commas_stand_outside(text: str) -> bool:
    """Whether all commas of a text in one spelling stand outside its brackets."""
    tokens = tokens_of(text)
    return split_at(tokens, _SEPARATORS)[1] == [token for token in tokens if token in _SEPARATORS]


def _choice_letter(text: str) -> str:
    r"""The letter of a choice: ``(A)``, ``\text{A}``, ``A.``, ``\text{(A)}\ 12``; empty for anything else."""
    plain = _TEXT.sub(r" \1 ", text).strip()
    found = _CHOICE.match(plain)
    if found is None or _OTHER_CHOICE.search(found[4]):
        return ""
    if found[2] and not plain[2:3].isspace() and len(plain) > 2:
        return ""
    return found[1] or found[2] or found[3]


def _words_of(text: str) -> Words | None:
    r"""An answer in words: all of it in ``\text{…}``, of words that are no variables, or a time of day."""
    plain = re.sub(r"\s+", " ", _TEXT.sub(r" \1 ", text)).strip()
    if clock := _CLOCK.fullmatch(plain):
        return Words(f"{int(clock[1])}:{clock[2]} {clock[3].lower()}m")
    if not _WORDS.fullmatch(plain):
        return None
    said = plain.strip(" .!").casefold()
    parts = re.findall(r"[^\W\d_]+", plain)
    marked = _TEXT.search(text) is not None and not _TEXT.sub("", text).strip()
    mathematical = all(len(part) == 1 or part in CALLED or part in ("pi", "sqrt", "or", "and") for part in parts)
    return None if mathematical and not marked else Words(said)


def _read_matrix(inside: str) -> Form | None:
    rows = [row for row in re.split(r"\\\\(?:\[[^\]]*\])?|\\cr\b", inside) if row.strip()]
    cells = [[read_form(cell) for cell in row.split("&")] for row in rows]
    if not cells or any(cell is None for row in cells for cell in row) or len({len(row) for row in cells}) != 1:
        return None
    return Matrix(tuple(tuple(cell for cell in row if cell is not None) for row in cells))


def _read(tokens: Sequence[str], joint: str = "") -> Form:
    for separator in _SEPARATORS:
        parts, found = split_at(tokens, (separator,))
        if not found:
            continue
        items = tuple(_read(part) for part in parts)
        unequal = any(isinstance(item, Relation) and set(item.signs) != {"="} for item in items)
        return Collection((joint or "and") if unequal else "list", items)
    parts, found = split_at(tokens, (r"\cup",))
    if found:
        return Collection("union", tuple(_read(part) for part in parts))
    parts, found = split_at(tokens, (r"\approx",))
    if found:
        return _read(next((part for part in parts if part), []))
    parts, found = split_at(tokens, (r"\in",))
    if found:
        name = "".join(parts[0])
        if len(parts) != 2 or not _NAME.fullmatch(name):
            raise Unreadable
        return Named(name, _read(parts[1]), None)
    parts, found = split_at(tokens, _RELATIONS)
    return _read_relation(parts, found) if found else _read_term(tokens)


def _read_relation(parts: Sequence[list[str]], signs: Sequence[str]) -> Form:
    name = "".join(parts[0])
    if set(signs) == {"="}:
        if len(parts) == 2 and not _NAME.fullmatch(name) and _NAME.fullmatch("".join(parts[1])):
            parts, name = parts[::-1], "".join(parts[1])  # 5 = x
        if _NAME.fullmatch(name) or _NAMES.fullmatch(name):
            items = [_read_term(part) for part in parts[1:]]
            own = {parts[0][0]} if parts[0][0].lstrip("\\").isalpha() and parts[0][0] != r"\frac" else set()
            if not own & {token for part in parts[1:] for token in part}:
                return Named(name, _one_of(items), _relation([parts[0], parts[-1]], ["="]))
        values = [_quantity(part) for part in parts]
        numbers = all(each.value is not None and each.value.rational is not None for each in values)
        if numbers and parts[0] != parts[-1]:
            return _one_of(values)  # 2 + 3 = 5
    relation = _relation(parts, signs)
    if relation is None:
        raise Unreadable
    return relation


def _one_of(items: Sequence[Form]) -> Form:
    """What a chain of equal things comes to, its last one. Raises Unreadable where they aren't equal."""
    last = items[-1]
    if not all(_known_equal(item, last) for item in items[:-1]):
        raise Unreadable
    return last


def _known_equal(one: Form, other: Form) -> bool:
    if not isinstance(one, Quantity) or not isinstance(other, Quantity) or one.unit not in ("", other.unit):
        return False
    return one.value is not None and other.value is not None and equal(one.value, other.value)


def _relation(parts: Sequence[Sequence[str]], signs: Sequence[str]) -> Relation | None:
    try:
        sides = [_quantity(part) for part in parts]
    except Unreadable:
        return None
    if set(signs) <= set(_FLIPPED):
        sides, signs = sides[::-1], [_FLIPPED[sign] for sign in reversed(signs)]
    known = set(signs) <= {"<", r"\le"} or (len(signs) == 1 and signs[0] in ("=", r"\ne")) or set(signs) == {"="}
    return Relation(tuple(sides), tuple(signs)) if known else None


def _read_term(tokens: Sequence[str]) -> Form:
    if list(tokens) == [r"\emptyset"]:
        return Collection("set", ())
    if enclosed(tokens):
        parts, found = split_at(tokens[1:-1], _SEPARATORS)
        if tokens[0] == r"\{":
            if "|" in tokens and (described := _read_described(tokens[1:-1])):
                return described
            inner = [part for part in parts if part]
            return Collection("set", tuple(_read_term(part) for part in inner))
        if found and tokens[0] != "{":
            return Series(tokens[0], tokens[-1], tuple(_read_term(part) for part in parts))
        if tokens[0] == "{" and tokens[-1] == "}":
            return _read(tokens[1:-1])
    parts, found = split_at(tokens, (":",))
    if found:
        return Series(":", ":", tuple(_quantity(part) for part in parts))
    if r"\pm" in tokens or r"\mp" in tokens:
        above, below = _quantity(tokens), _quantity(tokens, sign=-1)
        return Collection("list", (above, below))
    return _quantity(tokens)


def _read_described(tokens: Sequence[str]) -> Relation | None:
    r"""What ``\{x | 1 < x\}`` says of x; None for what is no such set."""
    place = list(tokens).index("|")
    if not _NAME.fullmatch("".join(tokens[:place])):
        return None
    said = _read(tokens[place + 1 :])
    return said if isinstance(said, Relation) else None


def _quantity(tokens: Sequence[str], sign: int = 1) -> Quantity:
    """An expression with its unit. Raises Unreadable."""
    bare, unit = split_unit(tokens)
    signs = {r"\pm": "+", r"\mp": "-"} if sign > 0 else {r"\pm": "-", r"\mp": "+"}
    bare = [signs.get(token, token) for token in bare]
    numeral = len(bare) > 2 and bare[0].isalnum() and bare[0][0].isdigit() and bare[1] == "_"
    if numeral:
        return Quantity(("".join(token for token in bare if token not in "{}"),), None, letter="")
    value = _value(bare)
    if unit == PERCENT:
        number = Quantity(tuple(bare), value)
        tokens = (r"\frac", "{", *bare, "}", "{", "100", "}")
        return Quantity(tokens, value and divide(value, rational(100)), percentage=number)
    return Quantity(tuple(bare), value, unit)


def _value(tokens: Sequence[str]) -> Value | None:
    """The value of an expression, None where only somebody else can tell, or it would take long. Raises Unreadable."""
    try:
        return read_expression(tokens)
    except TooLarge:
        return None
    except Unreadable:
        if set(tokens) & _KNOWN_ELSEWHERE & {r"\sum", r"\prod", r"\int", r"\lim"} and all(map(_is_known, tokens)):
            return None
        raise


def _is_known(token: str) -> bool:
    return not token.startswith("\\") or token in _KNOWN_ELSEWHERE or token[1:] in CALLED
