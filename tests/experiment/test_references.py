import enum
import json
import math
import sys
from pathlib import Path

import pytest

from reasoning.core.errors import InputError
from reasoning.core.ranges import Range
from reasoning.data.chat.format import ChatFormat
from reasoning.experiment.locations import Location
from reasoning.experiment.references import (
    References,
    find_object,
    importable,
    is_user_module,
    module_of,
    name_of,
)

HERE = Location("f:1", "x = @toy", 4, 4)


class Color(enum.Enum):
    RED = 1


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """A package of the user's on the path, forgotten after the test."""
    package = tmp_path / "toy_package"
    package.mkdir()
    (package / "__init__.py").write_text("from toy_package.inner import shown\n")
    (package / "inner.py").write_text(
        "class Outer:\n"
        "    class Inner:\n        pass\n"
        "    @classmethod\n    def make(cls):\n        pass\n"
        "def shown():\n    pass\n"
        "nameless = object()\n"
        "number = 5\n"
    )
    (package / "broken.py").write_text("import json\n1 / 0\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in [name for name in sys.modules if name.partition(".")[0] == "toy_package"]:
        del sys.modules[name]


def test_this_package_comes_first_then_any_module():
    assert find_object("core.ranges.Range") is Range
    assert find_object("reasoning.core.ranges.Range") is Range
    assert find_object("data.chat.ChatFormat") is ChatFormat
    assert find_object("math.tau") == math.tau
    assert find_object("json.decoder.JSONDecoder") is json.JSONDecoder


def test_the_longest_module_is_imported_and_the_rest_are_attributes(toy):
    assert find_object("toy_package.inner.Outer.Inner").__name__ == "Inner"
    assert find_object("toy_package.shown") is find_object("toy_package.inner.shown")
    assert module_of("toy_package.shown") == "toy_package"
    assert module_of("toy_package.inner.Outer.Inner") == "toy_package.inner"
    assert module_of("core.ranges.Range") == "reasoning.core.ranges"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("core.ranges.Rang", "@core.ranges.Rang: reasoning.core.ranges has no 'Rang'; did you mean 'Range'?"),
        ("core.rangse.Range", "reasoning.core has no 'rangse'; did you mean 'ranges'?"),
        ("", "there is no module ''"),
        (".", "there is no module ''"),
        ("a..b", "there is no module 'a'"),
        ("/", "there is no module '/'"),
        ("corr.ranges", "there is no module 'corr' in reasoning, .*; did you mean 'core'?"),
        ("core.ranges", "@core.ranges is a module; name something in it"),
        ("toy_package.inner.Outr", "toy_package.inner has no 'Outr'; did you mean 'Outer'?"),
        ("toy_package.broken.x", "importing toy_package.broken failed: ZeroDivisionError: division by zero"),
    ],
)
def test_what_cannot_be_found_is_named_with_the_nearest_name(toy, text, message):
    with pytest.raises(InputError, match=message):
        find_object(text)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Range, "core.ranges.Range"),
        (ChatFormat.prompt, "data.chat.ChatFormat.prompt"),
        (len, "builtins.len"),
        (json.JSONDecoder, "json.decoder.JSONDecoder"),
        (3, None),
        ("text", None),
        (Range(), None),
        (lambda: 1, None),
        (json.JSONDecoder().decode, None),
    ],
)
def test_a_name_is_given_where_it_finds_the_very_object(value, text):
    assert name_of(value) == text


def test_names_of_nested_classes_class_methods_and_enum_members(toy):
    inner = find_object("toy_package.inner.Outer.Inner")
    make = find_object("toy_package.inner.Outer.make")
    assert name_of(inner) == "toy_package.inner.Outer.Inner"
    assert name_of(make) == "toy_package.inner.Outer.make"
    assert name_of(Color.RED) == f"{name_of(Color)}.RED"


def test_what_a_package_exports_is_named_by_the_package(monkeypatch):
    import reasoning.core

    monkeypatch.setattr(reasoning.core, "Range", Range, raising=False)
    assert name_of(Range) == "core.Range"


def test_a_function_that_was_replaced_in_its_module_has_no_name(toy):
    inner = find_object("toy_package.inner.shown")
    sys.modules["toy_package.inner"].__dict__["shown"] = len
    assert name_of(inner) is None


def test_only_the_text_of_an_object_without_a_name_must_be_remembered(toy):
    references = References()
    nameless = references.find("toy_package.inner.nameless", HERE)
    shown = references.find("toy_package.shown", HERE)
    assert references.text(nameless) == "toy_package.inner.nameless"
    assert references.text(shown) == "toy_package.inner.shown"
    assert references.text(object()) is None


def test_a_number_behind_a_reference_is_only_a_number(toy):
    references = References()
    assert references.find("toy_package.inner.number", HERE) == 5
    assert references.text(5) is None


def test_an_unknown_reference_is_shown_at_its_place():
    with pytest.raises(InputError, match="there is no module 'toy'") as error:
        References().find("toy", HERE)
    assert str(error.value).endswith(str(HERE))


def test_folders_are_importable_only_inside_and_stand_last(tmp_path):
    before = list(sys.path)
    with importable(tmp_path, Path(before[-1])):
        assert sys.path == [*before, str(tmp_path.resolve())]
    assert sys.path == before


def test_folders_are_taken_away_after_an_error_too(tmp_path):
    before = list(sys.path)
    with pytest.raises(KeyError), importable(tmp_path):
        raise KeyError
    assert sys.path == before


def test_a_module_of_the_same_name_in_another_folder_is_refused(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "toy_twice.py").write_text("def f():\n    pass\n")
    try:
        for _ in range(2):
            with importable(tmp_path / "a"):
                References().find("toy_twice.f", HERE)
        with (
            importable(tmp_path / "b"),
            pytest.raises(InputError, match="'toy_twice' was already imported from") as error,
        ):
            References().find("toy_twice.f", HERE)
        assert str(tmp_path / "a") in str(error.value) and str(tmp_path / "b") in str(error.value)
    finally:
        del sys.modules["toy_twice"]


def test_modules_of_this_package_of_python_and_of_installed_packages_are_not_the_user_s(toy):
    find_object("toy_package.inner.Outer")
    answers = {
        name: is_user_module(name) for name in ("toy_package.inner", "json", "numpy", "reasoning.core.ranges", "no")
    }
    assert [name for name, own in answers.items() if own] == ["toy_package.inner"]
