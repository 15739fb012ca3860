import re
import sys
from pathlib import Path

import pytest

from reasoning.core.errors import InputError
from reasoning.experiment.build import build_parts
from reasoning.experiment.drafts import draft_parts, load_statements

MODULE = """
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

from reasoning.core.errors import InputError
from reasoning.core.ranges import Count, Fraction, NonNegative


@runtime_checkable
class Task(Protocol):
    def problems(self) -> int: ...


@dataclass(frozen=True)
class Sums:
    digits: Count = 2

    def problems(self) -> int:
        return self.digits


@dataclass(frozen=True)
class Base:
    name: str = ""
    steps: Count = 10
    next: "Zero | Base | None" = None

    def __post_init__(self):
        if self.steps == 13:
            raise InputError("13 steps bring bad luck; take 12")
        if self.steps == 17:
            raise ValueError("a mistake in the class")


@dataclass(frozen=True, kw_only=True)
class Zero:
    name: str
    start: Base
    task: Task
    clip_high: NonNegative = 0.2
    kind: Literal["fast", "slow"] = "fast"
    betas: tuple[Fraction, Fraction] = (0.9, 0.999)
    rewards: tuple[Callable[[str], float], ...] = ()
    grid: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    count: int = field(default=0, init=False)


@dataclass(frozen=True)
class Numbered:
    name: int = 7


@dataclass(frozen=True)
class Wrong:
    steps: Count = 0


@dataclass(frozen=True)
class Lost:
    steps: "Nowhere" = 0


def reward(text: str) -> float:
    return 1.0


TINY = Base(name="tiny")
"""

HEAD = """\
sums = @toy_build.Sums
base = @toy_build.Base
zero = @toy_build.Zero
zero.start = base
zero.task = sums
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "toy_build.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    sys.modules.pop("toy_build", None)


@pytest.fixture
def built(folder):
    def build_text(text, overrides=()):
        (folder / "f.gin").write_text(text)
        return build_parts(draft_parts(load_statements(Path("f.gin")), overrides))

    return build_text


def blamed(error: InputError) -> list[tuple[str, str]]:
    """The label of every location in a message and the word above its carets."""
    lines = str(error).split("\n")[1:]
    found = []
    for above, below in zip(lines[::2], lines[1::2], strict=True):
        start = below.index("^")
        found.append((above.strip().split(": ")[0], above[start : start + below.count("^")]))
    return found


def test_fields_hold_what_the_file_says_and_else_their_defaults(built):
    text = (
        HEAD
        + "w = (0.5, 1)\nzero.betas = %w\nzero.rewards = (@toy_build.reward,)\nzero.grid = {'a.b': (base, 'x', 1)}\n"
    )
    parts = built(text)
    module = sys.modules["toy_build"]
    base = module.Base(name="base")
    assert parts == {
        "sums": module.Sums(),
        "base": base,
        "zero": module.Zero(
            name="zero",
            start=base,
            task=module.Sums(),
            betas=(0.5, 1.0),
            rewards=(module.reward,),
            grid={"a.b": (base, "x", 1)},
        ),
    }
    assert list(parts) == ["sums", "base", "zero"]
    assert repr(parts["zero"].betas) == "(0.5, 1.0)"


def test_one_part_is_one_object_wherever_it_is_named(built):
    parts = built(
        HEAD + "zero.grid = {'x': (base, base)}\nlater = @toy_build.Base\nlater.next = end\nend = @toy_build.Base\n"
    )
    assert parts["zero"].start is parts["base"]
    assert all(item is parts["base"] for item in parts["zero"].grid["x"])
    assert parts["later"].next is parts["end"]


def test_a_copy_is_an_object_of_its_own_that_shares_what_the_original_names(built):
    parts = built(HEAD + "rl1 = zero\nrl1.clip_high = 0.3\n")
    assert parts["rl1"] is not parts["zero"] and parts["rl1"].start is parts["zero"].start
    assert (parts["rl1"].name, parts["zero"].name) == ("rl1", "zero")


def test_a_name_is_filled_in_where_it_is_a_text_that_nobody_bound(built):
    parts = built("a = @toy_build.Base\nb = @toy_build.Base\nb.name = 'other'\nc = @toy_build.Numbered\n")
    assert (parts["a"].name, parts["b"].name, parts["c"].name) == ("a", "other", 7)


def test_an_override_of_a_constant_reaches_everything_that_reads_it(built):
    text = "w = 3\nv = %w\na = @toy_build.Base\na.steps = %w\nb = a\nc = @toy_build.Base\nc.steps = %v\n"
    assert [part.steps for part in built(text).values()] == [3, 3, 3]
    assert [part.steps for part in built(text, ["w=5"]).values()] == [5, 5, 5]
    assert [part.steps for part in built(text, {"w": 5, "b.steps": 6}).values()] == [5, 6, 5]


def test_an_override_may_name_a_part_and_python_may_hand_one_over(built):
    text = HEAD + "cold = @toy_build.Base\n"
    parts = built(text, ["zero.start=cold"])
    assert parts["zero"].start is parts["cold"]
    tiny = sys.modules["toy_build"].TINY
    assert built(text, {"zero.start": tiny})["zero"].start is tiny
    assert built(text, {"zero.kind": "slow"})["zero"].kind == "slow"
    assert built(text, ["zero.kind='slow'"])["zero"].kind == "slow"


def test_an_instance_is_a_plain_value(built):
    parts = built("a = @toy_build.Base\na.next = @toy_build.TINY\n")
    assert parts["a"].next is sys.modules["toy_build"].TINY


@pytest.mark.parametrize(
    ("line", "message", "locations"),
    [
        ("zero.clip_high = 'oops'", "zero.clip_high must be a number, not 'oops'", [("f.gin:6", "'oops'")]),
        ("zero.clip_high = -1", "zero.clip_high must be at least 0, not -1.0", [("f.gin:6", "-1")]),
        ("zero.betas = (0.9,\n  1.5)", r"zero.betas\[1\] must be at most 1, not 1.5", [("f.gin:7", "1.5")]),
        ("zero.grid = {'x': 3}", r"zero.grid\['x'\] must be a tuple, not 3", [("f.gin:6", "3")]),
        ("zero.kind = 'fsat'", "did you mean 'fast'", [("f.gin:6", "'fsat'")]),
        ("base.steps = True", "base.steps must be a whole number, not True", [("f.gin:6", "True")]),
        ("w = 'x'\nbase.steps = %w", "base.steps must be", [("f.gin:7", "%w"), ("f.gin:6", "'x'")]),
        (
            "w = (0.5, 'x')\nzero.betas = %w",
            r"zero.betas\[1\] must be a number",
            [("f.gin:7", "%w"), ("f.gin:6", "'x'")],
        ),
        (
            "zero.start = bsae",
            r"no part 'bsae' \(a text needs quotes: 'bsae'\); did you mean 'base'",
            [("f.gin:6", "bsae")],
        ),
        ("zero.start = none", "did you mean 'None'", [("f.gin:6", "none")]),
        (
            "zero.start = sums",
            "zero.start must be a part of class toy_build.Base, not a part of class toy_build.Sums",
            [("f.gin:6", "sums")],
        ),
        ("zero.start = 'base'", "a part's name is written without quotes", [("f.gin:6", "'base'")]),
        ("zero.task = base", "zero.task must be a toy_build.Task", [("f.gin:6", "base")]),
        ("zero.rewards = @toy_build.reward", "a tuple of one is written", [("f.gin:6", "@toy_build.reward")]),
        (
            "zero.rewards = (@toy_build.rewards,)",
            "toy_build has no 'rewards'; did you mean 'reward'",
            [("f.gin:6", "@toy_build.rewards")],
        ),
        (
            "zero.start = @toy_build.Base",
            "@toy_build.Base is a dataclass; define a part",
            [("f.gin:6", "@toy_build.Base")],
        ),
        (
            "base.steps = %widht\nwidth = 1\nzero.clip_high = %width",
            "no constant 'widht'; did you mean 'width'",
            [("f.gin:6", "%widht")],
        ),
        ("w = 1\nzero.clip_high = %w\nbase.steps = w", "'w' is a constant; write %w", [("f.gin:8", "w")]),
        ("base.steps = %sums", "'sums' is a part; its name is written without %", [("f.gin:6", "%sums")]),
        ("base.steps = sums.digits", "'sums.digits' is a field", [("f.gin:6", "sums.digits")]),
        (
            "a = %b\nb = (%a,)\nbase.steps = %a",
            "constants need each other in a circle: a → b → a",
            [("f.gin:6", "a"), ("f.gin:7", "b")],
        ),
        ("base.steps = 13", "base: 13 steps bring bad luck; take 12", [("f.gin:2", "base")]),
        (
            "wrong = @toy_build.Wrong",
            "wrong: the default of toy_build.Wrong.steps must be at least 1",
            [("f.gin:6", "wrong")],
        ),
        ("lost = @toy_build.Lost", "lost: the annotations of toy_build.Lost can't be read", [("f.gin:6", "lost")]),
        (
            "two = @toy_build.Zero",
            r"the part 'two' \(toy_build.Zero\) needs 'start', 'task'; add two.start = …",
            [("f.gin:6", "two")],
        ),
        (
            "base.next = zero",
            "parts need each other in a circle: base → zero → base; break it",
            [("f.gin:6", "zero"), ("f.gin:4", "base")],
        ),
        ("base.next = base", "circle: base → base", [("f.gin:6", "base")]),
    ],
)
def test_wrong_values_are_shown_at_their_places(built, line, message, locations):
    with pytest.raises(InputError, match=message) as error:
        built(HEAD + line + "\n")
    assert blamed(error.value) == locations


@pytest.mark.parametrize(
    ("override", "message", "word"),
    [
        ("zero.clip_high='oops'", "zero.clip_high must be a number, not 'oops'", "'oops'"),
        ("zero.kind=fast", "no part 'fast' .a text needs quotes: \"…='fast'\"", "fast"),
        ("base.steps=%x", "there is no constant 'x'", "%x"),
        ("zero.betas=(0.5, 2)", "must be at most 1", "2"),
    ],
)
def test_wrong_values_of_overrides_are_shown_as_they_were_given(built, override, message, word):
    with pytest.raises(InputError, match=message) as error:
        built(HEAD, [override])
    assert blamed(error.value) == [("command line", word)]
    assert f"command line: {override}" in str(error.value)


def test_a_wrong_override_of_a_constant_shows_also_where_it_is_read(built):
    with pytest.raises(InputError, match="base.steps must be a whole number") as error:
        built("w = 1\n" + HEAD + "base.steps = %w\n", ["w='x'"])
    assert blamed(error.value) == [("f.gin:7", "%w"), ("command line", "'x'")]


def test_an_error_inside_a_users_class_is_told_with_its_line_and_the_place_in_the_file(built):
    with pytest.raises(InputError, match="^base: toy_build.Base.__post_init__ raised ValueError: a mistake") as error:
        built(HEAD + "base.steps = 17\n")
    assert re.search(r"\(toy_build.py:\d+ in __post_init__: raise ValueError\(.*\n  f.gin:2: base", str(error.value))
    assert isinstance(error.value.__cause__, InputError) and isinstance(error.value.__cause__.__cause__, ValueError)
