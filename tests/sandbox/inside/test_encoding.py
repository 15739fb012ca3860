import json
import math
from collections import Counter, OrderedDict, namedtuple
from enum import IntEnum

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from reasoning.sandbox.inside.encoding import as_json, tagged
from reasoning.sandbox.inside.script import _received

LEAVES = some.none() | some.booleans() | some.integers() | some.floats(allow_nan=False) | some.text(max_size=8)
JSON = some.recursive(LEAVES, lambda inner: some.lists(inner) | some.dictionaries(some.text(max_size=4), inner))
HASHABLE = LEAVES | some.binary() | some.complex_numbers(allow_nan=False)
PLAIN = some.recursive(
    HASHABLE | some.frozensets(HASHABLE),
    lambda inner: some.lists(inner) | some.tuples(inner, inner) | some.dictionaries(HASHABLE, inner),
)
Point = namedtuple("Point", "x y")


class Colour(IntEnum):
    RED = 3


class Equal(int):
    def __eq__(self, other):
        return True

    def __repr__(self):
        return "42"

    __hash__ = int.__hash__


def no_other(value):
    raise TypeError(type(value).__name__)


@settings(max_examples=40)
@given(JSON)
def test_json_says_what_the_json_module_says(value):
    assert json.loads(as_json(value)) == json.loads(json.dumps(value))


def exact(value):
    """A value with the types of all its parts, so that 1, 1.0 and True differ."""
    if isinstance(value, list | tuple):
        return type(value), [exact(part) for part in value]
    if isinstance(value, dict):
        return dict, [(exact(key), exact(part)) for key, part in value.items()]
    return type(value), value


@settings(max_examples=40)
@given(PLAIN)
def test_plain_data_comes_out_as_it_went_in(value):
    assert exact(_received(json.loads(tagged(value, no_other)))) == exact(value)


@pytest.mark.parametrize("value", [{1, 2}, object(), b"x", 1j, {(1, 2): 3}])
def test_what_is_no_json_is_refused(value):
    with pytest.raises(TypeError, match="is no JSON"):
        as_json(value)


def test_keys_and_numbers_that_json_lacks_are_written_as_the_json_module_does():
    value = {1: math.nan, None: math.inf, False: -math.inf, 1.5: (1, 2)}
    assert as_json(value) == json.dumps(value, separators=(",", ":"))


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (Point(1, 2), (1, 2)),
        (Counter("aab"), {"a": 2, "b": 1}),
        (OrderedDict(a=1), {"a": 1}),
        (Colour.RED, 3),
        (Equal(7), 7),
        (-(2**80), -(2**80)),
        (math.inf, math.inf),
        (bytearray(b"\xff"), bytearray(b"\xff")),
        ({1, 2}, {1, 2}),
    ],
)
def test_subclasses_of_plain_types_are_plain_and_lose_their_methods(value, plain):
    found = _received(json.loads(tagged(value, no_other)))
    assert found == plain
    assert type(found) in (tuple, dict, int, float, bytearray, set)


def test_a_number_of_any_length_gets_through():
    assert _received(json.loads(tagged(10**5000, no_other))) == 10**5000
