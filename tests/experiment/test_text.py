import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasoning.core.errors import InputError
from reasoning.experiment.reader import read_experiment

MODULE = """
import enum
import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


class Color(enum.Enum):
    RED = 1
    BLUE = 2


def reward(text):
    return 1.0


half = functools.partial(round, ndigits=1)


@dataclass(frozen=True)
class Leaf:
    rate: float = 1
    text: str = "a"
    flag: bool | None = None
    sizes: tuple[int, ...] = (1,)
    color: Color = Color.RED
    call: Callable[..., Any] = len


@dataclass(frozen=True)
class Branch:
    name: str = ""
    leaf: Leaf = Leaf(rate=2)
    pair: tuple[Leaf, Leaf] = (Leaf(), Leaf(text="b"))
    children: "tuple[Branch | Leaf, ...]" = ()
    table: dict[str, Any] = field(default_factory=dict)
    fresh: Leaf = field(default_factory=Leaf)
    derived: int = field(default=0, init=False)


@dataclass(frozen=True)
class Local:
    value: Any = None


TINY = Leaf(text="tiny")
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("text")
    (folder / "toy_text.py").write_text(MODULE)
    sys.path.append(str(folder))
    import toy_text

    assert toy_text
    yield folder
    sys.path.remove(str(folder))
    del sys.modules["toy_text"]


def read_text(folder, text, overrides=()):
    (folder / "f.gin").write_text(text, encoding="utf-8")
    return read_experiment(folder / "f.gin", overrides)


def test_the_resolved_text_says_everything_in_the_order_of_need(folder):
    text = (
        "w = 3\n"
        "top = @toy_text.Local\ntop.value = (a, {'k': [a, 'it\\'s']}, @toy_text.reward)\n"
        "a = @toy_text.Leaf\na.rate = %w\n"
    )
    assert read_text(folder, text).resolved() == (
        "a = @toy_text.Leaf\n"
        "a.rate = 3.0\n"
        "a.text = 'a'\n"
        "a.flag = None\n"
        "a.sizes = (1,)\n"
        "a.color = @toy_text.Color.RED\n"
        "a.call = @builtins.len\n"
        "\n"
        "top = @toy_text.Local\n"
        "top.value = (a, {'k': [a, \"it's\"]}, @toy_text.reward)\n"
    )


def definitions(text):
    return [
        line.split(" = ")[0] for line in text.split("\n") if " = @toy_text" in line and "." not in line.split(" = ")[0]
    ]


def test_nested_defaults_get_names_of_their_own_that_collide_with_none(folder):
    text = read_text(folder, "a = @toy_text.Branch\na_leaf = @toy_text.Branch\n").resolved()
    assert definitions(text) == [
        *("a_leaf_2", "a_pair_0", "a_pair_1", "a_fresh", "a"),
        *("a_leaf_leaf", "a_leaf_pair_0", "a_leaf_pair_1", "a_leaf_fresh", "a_leaf"),
    ]
    assert "a.leaf = a_leaf_2\n" in text and "a.pair = (a_pair_0, a_pair_1)\n" in text
    assert "a.name = 'a'\n" in text and "derived" not in text


def test_only_what_the_roots_reach_is_written(folder):
    experiment = read_text(folder, "a = @toy_text.Leaf\nb = @toy_text.Local\nb.value = c\nc = @toy_text.Leaf\n")
    assert definitions(experiment.resolved(["b"])) == ["c", "b"]
    assert definitions(experiment.resolved(["b", "a"])) == ["c", "b", "a"]
    with pytest.raises(InputError, match="defines no part 'd'"):
        experiment.resolved(["d"])


def test_an_object_handed_over_twice_stays_one_object(folder):
    leaf = sys.modules["toy_text"].Leaf(rate=0.5)
    text = "a = @toy_text.Local\nb = @toy_text.Local\n"
    again = read_text(folder, read_text(folder, text, {"a.value": leaf, "b.value": (leaf,)}).resolved())
    assert again.part("a").value is again.part("b").value[0]
    assert again.part("a").value == leaf


def test_what_a_reference_named_is_written_as_that_reference(folder):
    text = "a = @toy_text.Local\na.value = (@toy_text.TINY, @toy_text.half)\n"
    resolved = read_text(folder, text).resolved()
    assert resolved == text
    assert read_text(folder, resolved).part("a").value[0] is sys.modules["toy_text"].TINY


def test_a_value_that_no_text_expresses_is_named(folder):
    experiment = read_text(folder, "a = @toy_text.Local\n", {"a.value": ({"k": lambda: 1},)})
    with pytest.raises(InputError, match="a_value_0_k: <function .* can't be found by name"):
        experiment.resolved()


def test_a_class_that_no_text_names_is_refused(folder):
    local = type("Local", (sys.modules["toy_text"].Local,), {})
    experiment = read_text(folder, "a = @toy_text.Local\n", {"a.value": local()})
    with pytest.raises(InputError, match="the class of 'a_value', .*Local, can't be found by name"):
        experiment.resolved()


def test_a_value_is_written_as_an_override_would_hold_it(folder):
    experiment = read_text(folder, "a = @toy_text.Leaf\nb = @toy_text.Local\nb.value = (a, (1.5, 'x'))\n")
    b = experiment.part("b")
    assert experiment.text(b.value) == "(a, (1.5, 'x'))"
    assert experiment.text(b) == "b"
    with pytest.raises(InputError, match="is not a part of this experiment"):
        experiment.text(sys.modules["toy_text"].Leaf())


LITERALS = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=2),
        st.lists(inner, max_size=2).map(tuple),
        st.dictionaries(st.text(max_size=3), inner, max_size=2),
    ),
    max_leaves=4,
)


@st.composite
def branches(draw):
    toy = sys.modules["toy_text"]
    leaves = st.builds(
        toy.Leaf,
        rate=st.one_of(st.integers(-9, 9), st.floats(allow_nan=False, allow_infinity=False)),
        text=st.text(),
        flag=st.sampled_from([None, True, False]),
        sizes=st.lists(st.integers(), max_size=2).map(tuple),
        color=st.sampled_from(toy.Color),
        call=st.sampled_from([len, toy.reward]),
    )
    shared = draw(leaves)
    leaf = st.one_of(leaves, st.just(shared))
    tables = st.dictionaries(st.text(max_size=3), st.one_of(LITERALS, leaf), max_size=2)
    tree = st.recursive(
        leaf,
        lambda inner: st.builds(
            toy.Branch, name=st.text(max_size=3), children=st.lists(inner, max_size=3).map(tuple), table=tables
        ),
        max_leaves=4,
    )
    return draw(tree)


@settings(max_examples=40)
@given(data=st.data())
def test_any_nested_settings_read_back_equal_and_give_the_same_text(folder, data):
    value = data.draw(branches())
    text = "root = @toy_text.Local\nroot_value = @toy_text.Leaf\n"
    first = read_text(folder, text, {"root.value": value})
    resolved = first.resolved()
    second = read_text(folder, resolved)
    assert second.part("root").value == value
    assert {name: second.parts[name] for name in first.parts} == dict(first.parts)
    assert second.resolved() == resolved
    assert second.resolved(["root"]) == first.resolved(["root"])
