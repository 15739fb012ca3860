"""What a function is called with is told from its parameters, and where its code begins."""

import functools
import math
from dataclasses import dataclass
from typing import Any

import pytest

from reasoning.core.signatures import Takes, function_words, needed, signature_of, takes_any_name, underlying

REWARD = Takes(named=("completions", "kind"), more=True)
LOSS = Takes(("new", "old"), offered=("sampler",))


def two(new: Any, old: Any) -> None: ...
def three(new: Any, old: Any, mask: Any) -> None: ...
def sampled(new: Any, old: Any, sampler: Any) -> None: ...
def defaulted(new: Any, old: Any, clip: float = 0.2) -> None: ...
def by_name(*, new: Any, old: Any) -> None: ...
def open_reward(completions: list[str], tests: list[Any], **columns: Any) -> None: ...
def closed_reward(completions: list[str]) -> None: ...
def whole_reward(completions: list[str], kind: list[str]) -> None: ...
def positional_reward(completions: list[str], kind: list[str], /, **columns: Any) -> None: ...


@dataclass(frozen=True)
class Record:
    """A callable record."""

    weight: float = 1.0

    def __call__(self, completions: list[str], **columns: Any) -> None: ...


@pytest.mark.parametrize(
    ("takes", "function", "complaint"),
    [
        (LOSS, two, None),
        (LOSS, sampled, None),
        (LOSS, defaulted, None),
        (LOSS, lambda *values: None, None),
        (LOSS, functools.partial(three, mask=1), None),
        (LOSS, math.hypot, None),
        (LOSS, three, "can't be called as (new, old): missing a required argument: 'mask'"),
        (LOSS, lambda new: None, "can't be called as (new, old): too many positional arguments"),
        (LOSS, by_name, "can't be called as (new, old): too many positional arguments"),
        (REWARD, open_reward, None),
        (REWARD, whole_reward, None),
        (REWARD, Record(), None),
        (REWARD, functools.partial(open_reward, tests=[]), None),
        (REWARD, lambda **columns: None, None),
        (REWARD, closed_reward, "has no parameter **columns; add it, since everything comes by name and more than"),
        (REWARD, positional_reward, "can't be called as (completions=, kind=): "),
        (REWARD, len, "has no parameter **columns"),
    ],
)
def test_a_function_of_another_form_is_complained_of(takes: Takes, function: Any, complaint: str | None):
    found = takes.complaint(function)
    assert found is None if complaint is None else found is not None and found.startswith(complaint)


def test_what_must_be_given_and_whether_any_name_is_taken():
    signature = signature_of(open_reward)
    assert signature is not None and [*needed(signature)] == ["completions", "tests"] and takes_any_name(signature)
    signature = signature_of(functools.partial(defaulted, 1))
    assert signature is not None and [*needed(signature)] == ["old"] and not takes_any_name(signature)
    assert signature_of(dict) is None


def test_a_function_is_told_by_its_module_its_name_and_the_line_where_it_begins():
    line = two.__code__.co_firstlineno
    assert function_words(two) == f"{__name__}.two (test_signatures.py:{line})"
    assert function_words(functools.partial(two, 1)) == function_words(two)
    call = Record.__call__.__code__.co_firstlineno
    assert function_words(Record()) == f"{__name__}.Record (test_signatures.py:{call})"
    assert function_words(len) == "builtins.len"
    assert function_words(lambda: None).startswith(f"{__name__}.<lambda> (test_signatures.py:")
    assert underlying(functools.partial(functools.partial(two, 1), 2)) is two and underlying(two) is two
