import enum
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field
from typing import Annotated, Any, Literal, NewType, Protocol, runtime_checkable

import numpy as np
import pytest

from reasoning.core.errors import InputError
from reasoning.core.ranges import Count, Fraction, Positive, Range
from reasoning.core.signatures import Takes
from reasoning.experiment.types import Mismatch, coerce, default_of, hints_of, settings_of, value_words

Tokens = NewType("Tokens", int)
Small = Literal["dense", "moe"] | None


@dataclass(frozen=True)
class Optimizer:
    rate: Positive = 1e-3


@dataclass(frozen=True)
class Adam(Optimizer):
    betas: tuple[float, float] = (0.9, 0.999)


@runtime_checkable
class Task(Protocol):
    def problems(self) -> int: ...


class Unchecked(Protocol):
    def problems(self) -> int: ...


@dataclass(frozen=True)
class Sums:
    def problems(self) -> int:
        return 1


class Color(enum.Enum):
    RED = 1


class Size(enum.IntEnum):
    BIG = 3


class Kind(enum.StrEnum):
    FAST = "fast"


ADAM = Adam()


@pytest.mark.parametrize(
    ("value", "hint", "held"),
    [
        (True, bool, True),
        (3, int, 3),
        (3, float, 3.0),
        (2.5, float, 2.5),
        ("a", str, "a"),
        (None, None, None),
        (None, int | None, None),
        (3, int | None, 3),
        (3, float | None, 3.0),
        (3, float | int, 3),
        (True, float | bool, True),
        ("moe", Literal["dense", "moe"], "moe"),
        (1, Literal[1, 2], 1),
        (None, Small, None),
        ((1, 2), tuple[float, ...], (1.0, 2.0)),
        ((), tuple[float, ...], ()),
        ((1, "a"), tuple[int, str], (1, "a")),
        ((1, ("b",)), tuple, (1, ("b",))),
        ({"a": 1}, dict[str, float], {"a": 1.0}),
        ({"a": (1,)}, Mapping[str, tuple[int, ...]], {"a": (1,)}),
        ({"a": [1]}, dict, {"a": [1]}),
        (len, Callable[[str], int], len),
        (len, Callable, len),
        (coerce, Callable[[int, int], int], coerce),
        (coerce, Annotated[Callable[..., int], Takes(("value",), named=("hint",))], coerce),
        (4, Count, 4),
        (1, Fraction, 1.0),
        (5, Count | None, 5),
        (None, Annotated[float | None, Range(minimum=0)], None),
        (ADAM, Optimizer, ADAM),
        (ADAM, Optimizer | None, ADAM),
        (Sums(), Task, Sums()),
        (7, Tokens, 7),
        (Color.RED, Color, Color.RED),
        (Color.RED, Any, Color.RED),
        (ADAM, Any, ADAM),
        ([1, (2,)], Any, [1, (2,)]),
        (Kind.FAST, str, "fast"),
        (Size.BIG, int, 3),
        (np.float64(0.5), float, 0.5),
        (np.float64(0.5), Any, 0.5),
    ],
)
def test_a_value_of_the_type_is_held_as_the_type_says(value, hint, held):
    found = coerce(value, hint)
    assert found == held and type(found) is type(held)
    if isinstance(held, tuple):
        assert [type(item) for item in found] == [type(item) for item in held]


@pytest.mark.parametrize(
    ("value", "hint", "complaint"),
    [
        ("oops", float, "must be a number, not 'oops'"),
        ("0.2", float, "must be a number, not '0.2'; remove the quotes"),
        (True, int, "must be a whole number, not True"),
        (True, float, "must be a number, not True"),
        (1, bool, "must be True or False, not 1"),
        ("true", bool, "must be True or False, not 'true'; write True without quotes"),
        (2.0, int, "must be a whole number, not 2.0; write 2"),
        (2.5, int, "must be a whole number, not 2.5"),
        (float("inf"), float, "must be finite, not inf"),
        (float("nan"), Any, "must be finite, not nan"),
        (10**400, float, "must be a number that a float can hold"),
        (3, str, "must be a text in quotes, not 3"),
        (3, None, "must be None, not 3"),
        ("a", int | None, "must be a whole number or None, not 'a'"),
        ("fsat", Literal["fast", "slow"], "must be 'fast' or 'slow', not 'fsat'; did you mean 'fast'?"),
        (True, Literal[1, 2], "must be 1 or 2, not True"),
        ("mo", Small, "must be 'dense' or 'moe', not 'mo'; did you mean 'moe'?"),
        ([1], tuple[int, ...], "must be a tuple, not [1]; write (…) instead of […]"),
        (1, tuple[int, ...], "must be a tuple, not 1; a tuple of one is written (x,)"),
        ((1,), tuple[int, int], "must be a tuple of 2, not one of 1"),
        ((1, "a"), tuple[int, ...], "[1] must be a whole number, not 'a'"),
        (((0, 1), (0, "x")), tuple[tuple[int, int], ...], "[1][1] must be a whole number, not 'x'"),
        ({"a": "b"}, dict[str, int], "['a'] must be a whole number, not 'b'"),
        ({1: 2}, dict[str, int], "must have texts as keys, not 1"),
        (3, dict[str, int], "must be a dict, not 3"),
        (3, Callable[[int], int], "must be a function, not 3"),
        ("len", Callable, "must be a function, not 'len'"),
        (coerce, Callable[[int], int], "which can't be called as (value): missing a required argument: 'hint'"),
        (coerce, Annotated[Callable[..., int], Takes(named=("rows",))], "types.coerce (types.py:"),
        (coerce, Annotated[Callable[..., int], Takes(named=("rows",))], "which has no parameter **columns; add it"),
        (0, Count, "must be at least 1, not 0"),
        (0, Count | None, "must be at least 1, not 0"),
        (0, Positive, "must be above 0, not 0.0"),
        (1.5, Fraction, "must be at most 1, not 1.5"),
        ((1, -1), tuple[Count, ...], "[1] must be at least 1, not -1"),
        ([1], list[int], "is declared as list[int], which settings can't hold; declare it as a tuple"),
        ((1,), Sequence[int], "which settings can't hold; declare it as a tuple"),
        (Sums(), Unchecked, "Unchecked, which can't be checked; a Protocol must be marked runtime_checkable"),
        (Sums, Task, "Task, not the class "),
        (3, Task, "Task, not 3"),
        ("x", Optimizer | None, "or None, not 'x'"),
        ("x", Optimizer, "Optimizer, not 'x'; a part's name is written without quotes"),
        (Optimizer(), Adam, "must be a part of class "),
    ],
)
def test_a_value_of_another_type_is_refused_in_words(value, hint, complaint):
    with pytest.raises(Mismatch) as error:
        coerce(value, hint)
    assert complaint in str(error.value)


def test_the_path_leads_to_the_item_that_is_to_blame():
    with pytest.raises(Mismatch) as error:
        coerce({"grid": ((1, 2), (3, "x"))}, dict[str, tuple[tuple[int, ...], ...]])
    assert error.value.path == ("grid", 1, 1)


def test_long_values_are_cut_in_errors():
    with pytest.raises(Mismatch) as error:
        coerce("x" * 10_000, int)
    assert len(str(error.value)) < 200


@dataclass(frozen=True)
class Loose:
    needed: int
    rate: float = 1
    bad: Count = 0
    made: tuple[float, ...] = field(default_factory=lambda: (1, 2))
    fixed: int = field(default=3, init=False)


def test_a_default_is_held_as_its_type_says():
    hints = hints_of(Loose)
    assert default_of(Loose, "needed", hints["needed"]) is MISSING
    assert repr(default_of(Loose, "rate", hints["rate"])) == "1.0"
    assert repr(default_of(Loose, "made", hints["made"])) == "(1.0, 2.0)"


def test_a_default_out_of_its_own_range_is_the_class_s_fault():
    with pytest.raises(InputError, match=r"the default of .*Loose\.bad must be at least 1, not 0; mend the class"):
        default_of(Loose, "bad", hints_of(Loose)["bad"])


def test_settings_are_the_fields_that_can_be_set_checked_and_converted():
    assert repr(settings_of(Loose(needed=1, bad=1))) == "{'needed': 1, 'rate': 1.0, 'bad': 1, 'made': (1.0, 2.0)}"
    with pytest.raises(InputError, match=r"Optimizer\.rate must be above 0, not -1.0"):
        settings_of(Optimizer(rate=-1))


def test_annotations_that_cannot_be_read_are_named():
    Lost = type("Lost", (), {"__annotations__": {"x": "Nowhere"}, "x": 1})
    with pytest.raises(InputError, match="Lost can't be read: name 'Nowhere' is not defined"):
        hints_of(dataclass(frozen=True)(Lost))


def test_values_are_shown_by_what_they_are():
    assert value_words(len) == "@builtins.len"
    assert value_words(3) == "3"
    assert value_words(ADAM).startswith("a part of class ") and value_words(ADAM).endswith("Adam")
    assert value_words(Adam).startswith("the class ")
