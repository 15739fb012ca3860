"""Code typed into a session counts with all of the session that it uses, and what can't be told apart is refused."""

import itertools
import linecache
import re
from typing import Any

import numpy as np
import pytest

from reasoning.core.errors import InputError
from reasoning.experiment.describe import describe, user_sources
from reasoning.experiment.session import session_digest

cells = itertools.count()


def typed(text: str, **session: Any) -> dict[str, Any]:
    """Runs a cell as a notebook does: its lines can be found again, and its names are those of ``__main__``."""
    name = f"<cell {next(cells)}>"
    linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
    scope = {"__name__": "__main__", **session}
    exec(compile(text, name, "exec"), scope)
    return scope


def of(text: str, **session: Any) -> str:
    return session_digest(typed(text, **session)["reward"])


BONUS = "def reward(completions, **columns):\n    return [BONUS * len(text) for text in completions]\n"


def test_the_same_cell_typed_again_is_the_same_and_another_one_is_not():
    assert of(BONUS, BONUS=1.0) == of(BONUS, BONUS=1.0)
    assert of(BONUS, BONUS=1.0) != of(BONUS.replace("BONUS *", "BONUS +"), BONUS=1.0)


@pytest.mark.parametrize(
    ("one", "other"),
    [(1, 2), (1, 1.0), ((1, 2), [1, 2]), ({"a": 1}, {"a": 2}), (re.compile("a"), re.compile("b")), ({1, 2}, {1, 3})],
)
def test_a_variable_of_another_cell_counts_by_its_value(one: Any, other: Any):
    assert of(BONUS, BONUS=one) == of(BONUS, BONUS=one)
    assert of(BONUS, BONUS=one) != of(BONUS, BONUS=other)


def test_a_variable_that_only_a_comprehension_or_an_inner_function_reads_counts_too():
    text = "def reward(completions, **columns):\n    def inner():\n        return FACTOR\n    return [inner()]\n"
    assert of(text, FACTOR=1) != of(text, FACTOR=2)


def test_helpers_count_with_their_own_sources_and_variables():
    def digest(helper: str, weight: float) -> str:
        scope = typed(helper, WEIGHT=weight)
        return of("def reward(completions, **columns):\n    return helper(completions)\n", helper=scope["helper"])

    helper = "def helper(texts):\n    return [WEIGHT for text in texts]\n"
    assert digest(helper, 1.0) == digest(helper, 1.0) != digest(helper, 2.0)
    assert digest(helper, 1.0) != digest(helper.replace("[WEIGHT", "[-WEIGHT"), 1.0)


def test_attributes_that_have_the_name_of_a_variable_are_not_it():
    text = "def reward(completions, **columns):\n    return [len(text.data) for text in completions]\n"
    assert of(text, data=np.zeros(3)) == of(text, data=np.ones(3))


def test_functions_that_call_themselves_or_each_other_end():
    text = "def even(n):\n    return n == 0 or odd(n - 1)\ndef odd(n):\n    return n > 0 and even(n - 1)\n"
    both = typed(text)
    assert session_digest(both["even"]) != session_digest(both["odd"])


def test_defaults_and_installed_modules_count():
    one, other = (of(f"WEIGHT = {w}\ndef reward(completions, weight=WEIGHT):\n    return np.full(3, weight)\n", np=np)
                  for w in (1, 1))  # fmt: skip
    assert one == other
    text = "def reward(completions, weight=WEIGHT):\n    return np.full(3, weight)\n"
    assert of(text, np=np, WEIGHT=1) != of(text, np=np, WEIGHT=2)


def test_a_variable_that_can_not_be_told_apart_is_refused_with_what_to_do():
    with pytest.raises(InputError) as refused:
        of(BONUS, BONUS=np.zeros(2))
    assert str(refused.value).startswith("reward uses the variable BONUS of this session, ")
    assert "write plain values, make it inside of the function, or put the function into a module" in str(refused.value)


def test_a_function_without_a_source_is_refused():
    scope: dict[str, Any] = {"__name__": "__main__"}
    exec("def reward(completions): return []", scope)
    with pytest.raises(InputError, match="the source of .* can't be found; put it into a module's file"):
        session_digest(scope["reward"])


def test_what_a_setting_uses_is_told_apart_by_it():
    one, other = (user_sources((typed(BONUS, BONUS=value)["reward"],)) for value in (1.0, 2.0))
    assert list(one) == list(other) == ["__main__.reward"] and one != other


def test_two_lambdas_of_one_cell_both_count():
    def sources(first: int, second: int) -> dict[str, str]:
        scope = typed("a = lambda c, **k: [A for _ in c]\nb = lambda c, **k: [B for _ in c]\n", A=first, B=second)
        return user_sources((scope["a"], scope["b"]))

    assert sources(1, 1) == sources(1, 1)
    assert sources(1, 1) != sources(2, 1) and sources(1, 1) != sources(1, 2)


def test_a_cell_that_ran_again_is_described_by_its_source():
    scope = typed(BONUS, BONUS=1.0)
    assert describe((scope["reward"],))[0].startswith("@__main__.reward#")
