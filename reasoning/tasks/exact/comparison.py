"""Whether an answer equals the right one: exactly where both are known, by asking where only somebody else can tell."""

from collections.abc import Callable, Iterable, Sequence

from reasoning.tasks.exact.algebra import TooLarge, Value, add, atoms_of, equal, negate, scaled_to_lead
from reasoning.tasks.exact.forms import Collection, Form, Matrix, Named, Quantity, Relation, Series, Words, as_latex
from reasoning.tasks.exact.reading import LONGEST, read_form

Ask = Callable[[str, str], bool | None]
"""``ask(right, given)``, two expressions in LaTeX: whether they are equal, or None where that isn't known yet."""

_MOST_UNORDERED = 24
_MIXED = {("[", ")"), ("(", "]")}
_ENDLESS = r"\infty"


def same(right: str, given: str, ask: Ask) -> bool | None:
    """Whether the answer ``given`` says what ``right`` says; None where that hangs on what ``ask`` doesn't know yet.

    The right answer's form decides: of ``(1,2)`` only a pair or interval in round brackets is right, of ``1,2`` only
    two values without brackets, in any order. A name before either (``x = 5``) may be left out; a unit, too, and the
    sign of a percentage: of ``50\\%`` both ``50`` and ``0.5`` are right, of ``50`` and ``0.5`` no other number is.
    What can't be read is never right.
    """
    if right.strip() and right == given:
        return len(right) <= LONGEST
    expected, answer = read_form(right), read_form(given)
    if expected is None or answer is None:
        return False
    if isinstance(expected, Collection) and expected.kind == "list" and isinstance(answer, Quantity):
        answer = read_form(given, commas_join=False) or answer
    try:
        return _same(expected, answer, ask)
    except TooLarge:
        return False


def _same(right: Form, given: Form, ask: Ask) -> bool | None:
    match right, given:
        case Named(), _:
            return _same_named(right, given, ask)
        case Relation(), Named():
            return given.relation is not None and _same(right, given.relation, ask)
        case _, Named():
            return _same(right, given.item, ask)
        case Relation(), Series():
            interval = _interval(right)
            return interval is not None and _same(interval, given, ask)
        case Series(), Relation():
            ends = any(isinstance(item, Quantity) and _ENDLESS in item.tokens for item in right.items)
            interval = _interval(given) if ends or (right.opening, right.closing) in _MIXED else None
            return interval is not None and _same(right, interval, ask)
        case _:
            return _same_kind(right, given, ask)


def _same_kind(right: Form, given: Form, ask: Ask) -> bool | None:
    """Whether two forms of one kind are the same; those of two kinds are not."""
    match right, given:
        case Quantity(), Quantity():
            return _same_quantity(right, given, ask)
        case Series(), Series():
            alike = (right.opening, right.closing, len(right.items)) == (given.opening, given.closing, len(given.items))
            return alike and _all(_same(*both, ask) for both in zip(right.items, given.items, strict=True))
        case Collection(), Collection():
            return right.kind == given.kind and _same_unordered(right, given, ask)
        case Matrix(), Matrix():
            shapes = [(len(each.rows), len(each.rows[0])) for each in (right, given)]
            pairs = zip(sum(right.rows, ()), sum(given.rows, ()), strict=False)
            return shapes[0] == shapes[1] and _all(_same(*both, ask) for both in pairs)
        case Relation(), Relation():
            return _same_relation(right, given, ask)
        case _:
            return isinstance(right, Words) and right == given


def _all(verdicts: Iterable[bool | None]) -> bool | None:
    """Kleene's and: False where one is, else None where one isn't known."""
    known = True
    for verdict in verdicts:
        if verdict is False:
            return False
        known = known and verdict is not None
    return True if known else None


def _any(verdicts: Iterable[bool | None]) -> bool | None:
    known = True
    for verdict in verdicts:
        if verdict:
            return True
        known = known and verdict is not None
    return False if known else None


def _same_quantity(right: Quantity, given: Quantity, ask: Ask) -> bool | None:
    """Whether two quantities are the same; of 50 % the bare number is right, and its value: 50, and 0.5."""
    if right.percentage is None or given.percentage is not None or given.unit:
        return _same_amount(right, given, ask)
    return _any(_same_amount(each, given, ask) for each in (right, right.percentage))


def _same_amount(right: Quantity, given: Quantity, ask: Ask) -> bool | None:
    if right.letter or given.letter:
        return (right.letter or "".join(right.tokens)) == (given.letter or "".join(given.tokens))
    if right.unit and given.unit and right.unit != given.unit:
        return False
    if right.tokens == given.tokens:
        return True
    if right.value is not None and given.value is not None:
        if equal(right.value, given.value):
            return True
        if not (right.value.opaque or given.value.opaque):
            return False
    elif not (_elsewhere(right) or _elsewhere(given)):
        return False  # Too large to look at.
    return ask(as_latex(right.tokens), as_latex(given.tokens))


def _elsewhere(quantity: Quantity) -> bool:
    return any(token in (r"\sum", r"\prod", r"\int", r"\lim") for token in quantity.tokens)


def _same_named(right: Named, given: Form, ask: Ask) -> bool | None:
    if isinstance(given, Named):
        return right.name == given.name and _same(right.item, given.item, ask)
    if isinstance(given, Relation):
        varies = isinstance(right.item, Quantity) and right.item.value is not None and bool(atoms_of(right.item.value))
        if isinstance(right.item, Series):
            return _same(right.item, given, ask)
        return varies and right.relation is not None and _same_relation(right.relation, given, ask)
    return _same(right.item, given, ask)


def _same_unordered(right: Collection, given: Collection, ask: Ask) -> bool | None:
    items, others = (_distinct(each) for each in (right, given))
    if len(items) != len(others) or len(items) > _MOST_UNORDERED:
        return False
    left = list(others)
    unsettled: list[Form] = []
    for item in items:
        match = next((other for other in left if _same(item, other, _nobody)), None)
        if match is None:
            unsettled.append(item)
        else:
            left.remove(match)
    return _matched(unsettled, left, ask)


def _nobody(right: str, given: str) -> None:
    return None


def _matched(items: Sequence[Form], others: Sequence[Form], ask: Ask) -> bool | None:
    """Whether the items can be paired off: for at most four, as more that need asking about are nobody's answer."""
    if not items:
        return True
    if len(items) > 4:
        return False
    first, rest = items[0], items[1:]
    return _any(
        _all([_same(first, other, ask), _matched(rest, [*others[:place], *others[place + 1 :]], ask)])
        for place, other in enumerate(others)
        if _same(first, other, ask) is not False
    )


def _distinct(collection: Collection) -> list[Form]:
    if collection.kind == "list":
        return list(collection.items)
    kept: list[Form] = []
    for item in collection.items:
        if not any(_same(item, other, _nobody) and _same(other, item, _nobody) for other in kept):
            kept.append(item)
    return kept


def _same_relation(right: Relation, given: Relation, ask: Ask) -> bool | None:
    if len(right.sides) == len(given.sides) and right.signs == given.signs:
        verdict = _all(_same_quantity(*both, ask) for both in zip(right.sides, given.sides, strict=True))
        if verdict is not False:
            return verdict
    if len(right.sides) != 2 or len(given.sides) != 2 or (_solved(right) and not _solved(given)):
        return False
    differences = [_difference(each) for each in (right, given)]
    if None in differences:
        return False
    (one, sign), (other, other_sign) = (scaled_to_lead(each) for each in differences if each is not None)
    ordered = right.signs[0] in ("<", r"\le")
    return right.signs == given.signs and one == other and (not ordered or sign == other_sign)


def _difference(relation: Relation) -> Value | None:
    first, second = (side.value for side in relation.sides)
    return None if first is None or second is None else add(first, negate(second))


def _solved(relation: Relation) -> bool:
    """Whether a relation tells a variable's values at once: ``x < 5`` does, ``2x < 10`` doesn't."""
    names = [_name(side) for side in relation.sides]
    numbers = [side.value is not None and not atoms_of(side.value) for side in relation.sides]
    return any(names) and any(numbers)


def _name(side: Quantity) -> str:
    return side.tokens[0] if len(side.tokens) == 1 and side.tokens[0].isalpha() else ""


def _interval(relation: Relation) -> Series | None:
    """The interval that ``1 < x \\le 2`` or ``x < 2`` describes."""
    names = [_name(side) for side in relation.sides]
    if not set(relation.signs) <= {"<", r"\le"}:
        return None
    opening, closing = ("[" if relation.signs[0] == r"\le" else "(", "]" if relation.signs[-1] == r"\le" else ")")
    endless = {sign: read_form(f"{sign}\\infty") for sign in "+-"}
    if len(names) == 3 and names[1] and not names[0] and not names[2]:
        return Series(opening, closing, (relation.sides[0], relation.sides[2]))
    if len(names) == 2 and names[0] and not names[1] and endless["-"]:
        return Series("(", closing, (endless["-"], relation.sides[1]))
    if len(names) == 2 and names[1] and not names[0] and endless["+"]:
        return Series(opening, ")", (relation.sides[0], endless["+"]))
    return None
