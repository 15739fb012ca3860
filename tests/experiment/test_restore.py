import json
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from reasoning.core.errors import InputError
from reasoning.core.ranges import Range
from reasoning.data.chat.format import ChatFormat
from reasoning.data.chat.turns import SystemInQuestion
from reasoning.experiment.describe import describe
from reasoning.experiment.restore import restore
from reasoning.rewards.accuracy import strict
from reasoning.tasks.chains import Chains


@dataclass(frozen=True)
class Holder:
    value: Any = None


def restored(value: Any) -> Any:
    """The value of a holder that went through a file of JSON."""
    return restore(json.loads(json.dumps(describe(Holder(value))))).value


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        3,
        0.5,
        "text",
        "@text",
        "@@text",
        (1, ("a", 2.0), ()),
        {"key": (1,), "@": "v", "@@k": "@v"},
        strict,
        Range,
        Chains(minimum_operands=2),
        ChatFormat(user="U:", turns=SystemInQuestion(last=True)),
        (strict, {"task": Chains()}),
    ],
)
def test_what_was_described_comes_back_equal(value: Any):
    assert restored(value) == value and type(restored(value)) is type(value)


def test_lists_come_back_as_tuples():
    assert restored([1, [2]]) == (1, (2,))


def test_what_no_name_leads_to_is_refused():
    with pytest.raises(InputError, match="@.*lambda"):
        restored(lambda chat, turns: ("", turns))
    with pytest.raises(InputError, match="no module 'no_such_module'"):
        restore("@no_such_module.f")


def test_nothing_but_records_of_settings_is_made():
    with pytest.raises(InputError, match="@functools.partial is no record of settings"):
        restored(partial(print, "x"))
    with pytest.raises(InputError, match="@subprocess.Popen is no record"):
        restore({"@": "subprocess.Popen", "args": ["true"]})


def test_a_field_that_a_record_no_longer_has_is_named():
    with pytest.raises(InputError, match="data.chat.ChatFormat has no field system_place, trim; another version"):
        restore({"@": "data.chat.ChatFormat", "user": "U:", "trim": True, "system_place": "turn"})


@pytest.mark.parametrize(
    ("described", "reason"),
    [
        ({"@": 5}, "5 names no record of settings"),
        ({"@": None}, "None names no record of settings"),
        ({"@": "data.chat.ChatFormat", "user": 3}, "data.chat.ChatFormat: the recorded settings don't fit it: .*text"),
        ({"@": "tasks.chains.Chains", "minimum_operands": "2"}, "the recorded settings don't fit it: .*whole number"),
        ({"@": "models.config.Stack"}, "the recorded settings don't fit it: .*'count'"),
    ],
)
def test_settings_of_another_type_are_refused(described: Any, reason: str):
    with pytest.raises(InputError, match=reason):
        restore(described)
