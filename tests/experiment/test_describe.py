import functools
import hashlib
import json
import sys
from dataclasses import dataclass, field
from typing import Any

import pytest

from reasoning.core.errors import InputError
from reasoning.core.ranges import NonNegative, Range
from reasoning.data.chat.format import ChatFormat
from reasoning.experiment.describe import describe, is_hashed, parts_of, user_sources

MODULE = """
from dataclasses import dataclass

@dataclass(frozen=True)
class Task:
    digits: int = 2

def reward(text):
    return 1.0

nameless = object()
"""


@dataclass(frozen=True)
class Stage:
    name: str = ""
    start: Any = None
    rate: NonNegative = 0.5
    rewards: tuple[Any, ...] = ()
    table: dict[str, Any] = field(default_factory=dict)
    every: int = field(default=10, metadata={"hashed": False})
    probe: Any = field(default=None, metadata={"hashed": False})
    derived: int = field(default=0, init=False)


NAME = f"{Stage.__module__}.Stage"


def empty(**changes):
    unhashed = {"every": 10, "probe": None}
    return {"@": NAME, "name": "", "start": None, "rate": 0.5, "rewards": [], "table": {}, **unhashed, **changes}


@pytest.fixture
def toy(tmp_path, monkeypatch):
    (tmp_path / "toy_describe.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    import toy_describe

    yield toy_describe
    sys.modules.pop("toy_describe", None)


def test_every_setting_is_described_and_nothing_derived():
    assert describe(Stage()) == empty()


def test_classes_of_this_package_and_functions_go_by_their_short_names():
    described = describe(Stage(start=ChatFormat(), rewards=(ChatFormat.prompt, len, Range)))
    assert described["start"]["@"] == "data.chat.ChatFormat"
    assert described["start"]["think_open"] == "<think>"
    assert described["rewards"] == ["@data.chat.ChatFormat.prompt", "@builtins.len", "@core.ranges.Range"]


def test_equal_settings_are_described_alike_whatever_the_kind_of_number():
    assert json.dumps(describe(Stage(rate=1))) == json.dumps(describe(Stage(rate=1.0)))


def test_a_text_is_never_taken_for_a_reference():
    described = describe(Stage(rewards=("@builtins.len", len), table={"@": "x"}))
    assert described["rewards"] == ["@@builtins.len", "@builtins.len"]
    assert described["table"] == {"@@": "x"}


def test_what_can_be_replaced_is_asked_for_everything_inside_and_not_for_the_outermost():
    base, cold = Stage(name="base"), Stage(name="cold")
    asked = []

    def replace(value):
        asked.append(value)
        return f"hash of {value.name}" if isinstance(value, Stage) else None

    described = describe(Stage(start=base, rewards=(len,), table={"k": [cold]}), replace)
    assert described == empty(start="hash of base", rewards=["@builtins.len"], table={"k": ["hash of cold"]})
    assert asked == [base, len, cold]


def test_fields_that_change_no_result_can_be_left_out_at_every_depth():
    described = describe(Stage(start=Stage()), wanted=is_hashed)
    assert "every" not in described and "every" not in described["start"] and "rate" in described["start"]


def test_wrong_settings_of_a_stage_made_in_python_are_refused():
    with pytest.raises(InputError, match=r"Stage\.rate must be at least 0, not -1.0"):
        describe(Stage(rate=-1))


def make(value):
    def inner():
        return value

    return inner


def test_a_function_without_a_name_is_told_apart_by_its_source_and_defaults():
    first, other = (lambda: 1), (lambda: 2)
    with_default = [lambda k=k: k for k in (1, 2)]
    texts = [describe((function,))[0] for function in (first, other, *with_default)]
    assert all(text.startswith(f"@{__name__}.test_a_function") and "#" in text for text in texts)
    assert len(set(texts)) == 4
    assert describe((first,)) == [texts[0]]


def test_what_cannot_be_told_apart_is_refused():
    for value in (make(1), object(), json.JSONDecoder().decode):
        with pytest.raises(InputError, match="can't be found again by name; write a function at the top of a module"):
            describe(Stage(rewards=(value,)))


def test_a_partial_is_its_function_and_its_arguments():
    assert describe((functools.partial(round, 2.5, ndigits=1),)) == [
        {"@": "functools.partial", "function": "@builtins.round", "arguments": [2.5], "keywords": {"ndigits": 1}}
    ]


def test_an_object_without_a_name_goes_by_the_text_that_is_known_for_it(toy):
    def text(value):
        return "toy_describe.nameless" if value is toy.nameless else None

    assert describe((toy.nameless,), text=text) == ["@toy_describe.nameless"]
    assert user_sources((toy.nameless,), text=text).keys() == {"toy_describe"}


def test_the_user_s_files_are_hashed_and_no_others(toy):
    value = Stage(start=toy.Task(), rewards=(toy.reward, len, json.dumps), table={"a": [toy.reward]})
    sources = user_sources(value)
    digest = hashlib.sha256(MODULE.encode()).hexdigest()
    assert sources == {Stage.__module__: sources[Stage.__module__], "toy_describe": digest}
    assert user_sources((functools.partial(toy.reward, "x"),)) == {"toy_describe": digest}
    assert user_sources((ChatFormat(), 3, "x", None, json.loads)) == {}


def test_files_of_what_is_replaced_are_left_to_its_own_hash(toy):
    parent = Stage(name="parent", rewards=(toy.reward,))
    assert "toy_describe" not in user_sources(Stage(start=parent), lambda value: "hash" if value is parent else None)


def test_files_of_unwanted_fields_are_left_out_at_every_depth(toy):
    probing = Stage(probe=(toy.reward,))
    for value in (probing, Stage(start=probing), Stage(table={"a": probing})):
        assert "toy_describe" in user_sources(value) and "toy_describe" not in user_sources(value, wanted=is_hashed)
    assert "toy_describe" in user_sources(Stage(start=probing, rewards=(toy.reward,)), wanted=is_hashed)


def test_what_many_parts_share_is_looked_into_once():
    shared = Stage("corpus")
    for depth in range(40):  # As paths these are 2^40.
        shared = Stage(f"stage {depth}", start=shared, probe=shared)
    assert sum(isinstance(part, Stage) for part in parts_of(shared)) == 41


def test_a_function_of_the_running_session_counts_by_its_own_source(monkeypatch):
    def reward():
        return 1

    monkeypatch.setattr(reward, "__module__", "__main__")
    monkeypatch.setattr(reward, "__qualname__", "reward")
    (name,) = user_sources((reward,))
    assert name == "__main__.reward"
