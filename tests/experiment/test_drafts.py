import sys
from pathlib import Path

import pytest

from reasoning.core.errors import InputError
from reasoning.experiment.drafts import draft_parts, load_statements
from reasoning.experiment.nodes import LiteralNode

MODULE = """
from dataclasses import dataclass, field

@dataclass(frozen=True)
class Zero:
    steps: int = 1
    rate: float = 0.1
    total: float = field(default=0.0, init=False)

READY = Zero(steps=7)

def function():
    pass
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "toy_drafts.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    sys.modules.pop("toy_drafts", None)


def write(folder, files):
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def drafts_of(folder, text, overrides=(), **includes):
    write(folder, {"main.gin": text, **{name.replace("_gin", ".gin"): body for name, body in includes.items()}})
    return draft_parts(load_statements(Path("main.gin")), overrides)


def bound(drafts, part):
    return {name: line.value.value for name, line in drafts.parts[part].bindings.items()}


def blamed(error: InputError) -> list[tuple[str, str]]:
    """The label of every location in a message and the word above its carets."""
    lines = str(error).split("\n")[1:]
    found = []
    for above, below in zip(lines[::2], lines[1::2], strict=True):
        start = below.index("^")
        found.append((above.strip().split(": ")[0], above[start : start + below.count("^")]))
    return found


def test_a_copy_is_the_part_as_it_stands_on_that_line(folder):
    drafts = drafts_of(folder, "a = @toy_drafts.Zero\na.steps = 2\nb = a\na.steps = 3\nb.rate = 0.5\n")
    assert bound(drafts, "a") == {"steps": 3}
    assert bound(drafts, "b") == {"steps": 2, "rate": 0.5}
    assert drafts.parts["b"].location.label == "main.gin:3"


def test_an_override_touches_only_the_part_that_it_names(folder):
    text = "a = @toy_drafts.Zero\na.steps = 2\nb = a\n"
    drafts = drafts_of(folder, text, ["a.steps=9", "a.steps=10"])
    assert (bound(drafts, "a"), bound(drafts, "b")) == ({"steps": 10}, {"steps": 2})
    drafts = drafts_of(folder, text, {"b.steps": 7})
    assert (bound(drafts, "a"), bound(drafts, "b")) == ({"steps": 2}, {"steps": 7})
    assert bound(drafts_of(folder, text, "a.rate=0.5"), "a") == {"steps": 2, "rate": 0.5}


def test_an_overridden_constant_is_another_constant(folder):
    drafts = drafts_of(folder, "w = 1\na = @toy_drafts.Zero\na.steps = %w\n", ["w=2"])
    assert isinstance(drafts.constants["w"].value, LiteralNode) and drafts.constants["w"].value.value == 2


def test_an_including_file_may_rebind_a_field(folder):
    inner = "a = @toy_drafts.Zero\na.steps = 2\n"
    drafts = drafts_of(folder, "include 'inner.gin'\na.steps = 5\n", inner_gin=inner)
    assert bound(drafts, "a") == {"steps": 5}


def test_includes_are_relative_to_the_file_that_includes(folder):
    write(folder, {"deep/one.gin": "include '../side/two.gin'\n", "side/two.gin": "a = @toy_drafts.Zero\n"})
    drafts = drafts_of(folder, "include 'deep/one.gin'\n")
    assert drafts.parts["a"].location.label == "side/two.gin:1"


def test_a_file_that_two_files_include_is_read_once(folder):
    shared = "a = @toy_drafts.Zero\n"
    drafts = drafts_of(
        folder,
        "include 'left.gin'\ninclude 'right.gin'\n",
        left_gin="include 'shared.gin'\na.steps = 4\n",
        right_gin="include './shared.gin'\n",
        shared_gin=shared,
    )
    assert bound(drafts, "a") == {"steps": 4}


def test_a_reference_to_something_else_than_a_dataclass_is_a_constant(folder):
    drafts = drafts_of(folder, "f = @toy_drafts.function\na = @toy_drafts.Zero\na.steps = %f\n")
    assert (set(drafts.parts), set(drafts.constants)) == ({"a"}, {"f"})


def test_a_record_that_a_module_holds_is_a_part_whose_fields_can_be_set(folder):
    drafts = drafts_of(folder, "a = @toy_drafts.READY\nb = a\na.rate = 0.5\n", ["a.steps=9"])
    assert bound(drafts, "a") == {"steps": 9, "rate": 0.5}
    assert bound(drafts, "b") == {"steps": 7, "rate": 0.1}
    with pytest.raises(InputError, match="has no field 'stepz'; did you mean 'steps'"):
        drafts_of(folder, "a = @toy_drafts.READY\na.stepz = 3\n")


ZERO = "a = @toy_drafts.Zero\n"


@pytest.mark.parametrize(
    ("text", "message", "locations"),
    [
        (ZERO + "a = @toy_drafts.Zero", "'a' is defined twice", [("main.gin:2", "a"), ("main.gin:1", "a")]),
        ("w = 1\nw = 2", "'w' is defined twice", [("main.gin:2", "w"), ("main.gin:1", "w")]),
        (ZERO + "a = 3", "'a' is defined twice", [("main.gin:2", "a"), ("main.gin:1", "a")]),
        (ZERO + "a.stepz = 3", "has no field 'stepz'; did you mean 'steps'", [("main.gin:2", "stepz")]),
        (ZERO + "a.total = 3", "works out 'total' itself", [("main.gin:2", "total")]),
        (ZERO + "aa.steps = 3", "there is no part 'aa'; did you mean 'a'", [("main.gin:2", "aa")]),
        ("a.steps = 3\n" + ZERO, "'a' is not defined yet", [("main.gin:1", "a"), ("main.gin:2", "a")]),
        ("b = a\n" + ZERO, "'a' is not defined yet", [("main.gin:1", "a"), ("main.gin:2", "a")]),
        (ZERO + "b = zero", "there is no part 'zero'", [("main.gin:2", "zero")]),
        ("w = 1\nb = w", "'w' is a constant, which is read as %w", [("main.gin:2", "w"), ("main.gin:1", "w")]),
        ("w = 1\nw.x = 2", "'w' is a constant", [("main.gin:2", "w"), ("main.gin:1", "w")]),
        ("a = @toy_drafts.Zer", "toy_drafts has no 'Zer'; did you mean 'Zero'", [("main.gin:1", "@toy_drafts.Zer")]),
        (
            "widht = 1\n" + ZERO + "a.steps = %width",
            "nothing reads the constant 'widht'.*mean 'width'",
            [("main.gin:1", "widht")],
        ),
        (
            "spare = 1\n" + ZERO,
            r"nothing reads the constant 'spare' \(as %spare\); take it out",
            [("main.gin:1", "spare")],
        ),
    ],
)
def test_wrong_names_are_shown_at_their_places(folder, text, message, locations):
    with pytest.raises(InputError, match=message) as error:
        drafts_of(folder, text)
    assert blamed(error.value) == locations


@pytest.mark.parametrize(
    ("override", "message", "word"),
    [
        ("a.stepz=3", "has no field 'stepz'; did you mean 'steps'", "stepz"),
        ("b.steps=3", "there is no part 'b'", "b"),
        ("widht=3", "there is no constant 'widht'; did you mean 'width'", "widht"),
        ("a=3", "'a' is a part; an override sets one of its fields, as in a.steps=…", "a"),
        ("width.x=3", "'width' is a constant", "width"),
    ],
)
@pytest.mark.parametrize("mapped", [False, True])
def test_wrong_overrides_are_shown_as_they_were_given(folder, override, message, word, mapped):
    key, _, value = override.partition("=")
    text = "width = 1\n" + ZERO + "a.steps = %width\n"
    with pytest.raises(InputError, match=message) as error:
        drafts_of(folder, text, {key: int(value)} if mapped else [override])
    assert blamed(error.value)[0] == ("override" if mapped else "command line", word)
    assert override in str(error.value)


def test_two_definitions_in_two_files_are_both_shown(folder):
    with pytest.raises(InputError, match="'w' is defined twice") as error:
        drafts_of(folder, "include 'inner.gin'\nw = 2\n", inner_gin="w = 1\n")
    assert blamed(error.value) == [("main.gin:2", "w"), ("inner.gin:1", "w")]


def test_files_that_include_each_other_are_refused_with_the_lines_of_the_circle(folder):
    with pytest.raises(InputError, match="include each other in a circle") as error:
        drafts_of(
            folder, "\ninclude 'one.gin'\n", one_gin="include 'two.gin'\n", two_gin="# back\ninclude './one.gin'\n"
        )
    assert blamed(error.value) == [("one.gin:1", "'two.gin'"), ("two.gin:2", "'./one.gin'")]
    with pytest.raises(InputError, match="circle") as error:
        drafts_of(folder, "include 'main.gin'\n")
    assert blamed(error.value) == [("main.gin:1", "'main.gin'")]


def test_a_missing_include_is_shown_at_its_line_with_the_nearest_file(folder):
    (folder / "tiny.gin").write_text("")
    with pytest.raises(InputError, match="no experiment file tinny.gin; did you mean 'tiny.gin'") as error:
        drafts_of(folder, "include 'tinny.gin'\n")
    assert blamed(error.value) == [("main.gin:1", "'tinny.gin'")]


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "there is no experiment file x.gin"), (b"a = '\xff'", "x.gin is not UTF-8 text")],
)
def test_a_file_that_cannot_be_read_is_named(folder, content, message):
    if content is not None:
        (folder / "x.gin").write_bytes(content)
    with pytest.raises(InputError, match=message):
        load_statements(Path("x.gin"))
    with pytest.raises(InputError, match="can't be read: Is a directory"):
        load_statements(folder)
