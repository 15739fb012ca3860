"""What a user's code raises is one line with the user's own frames; ours, the disk's and memory's errors pass."""

import contextlib
import errno
import functools
import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from reasoning.core.errors import InputError
from reasoning.core.statistics import pass_at_k
from reasoning.core.user_code import answering_for, answering_for_users, check_shape, concerned, is_ours

MINE = """\
import jax.numpy as jnp
from reasoning.core.statistics import pass_at_k

def reward(completions):
    return [grade(text) for text in completions]

def grade(text):
    return 1 / len(text)

def loss(new_BT, old_BT):
    return new_BT - old_BT[0]

def own(k):
    return pass_at_k(None, 3, k)

def leave():
    raise SystemExit(3)

def raising(error):
    raise error
"""


@pytest.fixture
def mine(tmp_path: Path) -> ModuleType:
    """A module of the user's."""
    (tmp_path / "mine.py").write_text(MINE)
    spec = importlib.util.spec_from_file_location("mine", tmp_path / "mine.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def told(call: Any) -> str:
    with pytest.raises(InputError) as refused, answering_for_users():
        call()
    assert "\n" not in str(refused.value) and refused.value.__cause__ is not None
    return str(refused.value)


def test_an_error_is_told_by_the_innermost_function_of_the_users_with_the_frames_that_led_there(mine: ModuleType):
    inner = "return [grade(text) for text in completions]"
    message = told(lambda: functools.reduce(lambda _, texts: mine.reward(texts), [["ab", ""]], None))
    assert message.startswith(
        "mine.grade raised ZeroDivisionError: division by zero (mine.py:8 in grade: return 1 / len"
    )
    assert ", called from mine.py:5 in reward" in message.replace("<listcomp>, called from mine.py:5 in ", "")
    assert inner not in message and str(Path(mine.__file__ or "").parent) not in message


def test_an_error_while_a_function_is_traced_shows_the_shapes_that_it_got(mine: ModuleType):
    arrays = jnp.zeros((4, 8)), jnp.zeros((4, 7))
    message = told(lambda: jax.jit(mine.loss)(*arrays))
    assert "mine.loss raised ValueError: Incompatible shapes" in message
    assert "(mine.py:11 in loss: return new_BT - old_BT[0], called from" in message
    assert message.endswith("where new_BT is float32[4, 8], old_BT is float32[4, 7]")


def test_what_our_own_code_raises_at_a_users_call_is_the_users_fault(mine: ModuleType):
    assert "mine.own raised " in told(lambda: mine.own(2)) and "mine.py:14 in own" in told(lambda: mine.own(2))


def test_leaving_the_program_is_an_error_too(mine: ModuleType):
    assert told(mine.leave).startswith("mine.leave raised SystemExit: 3 (mine.py:17")


@pytest.mark.parametrize(
    "error",
    [InputError("said"), OSError(errno.ENOSPC, "full"), MemoryError(), RuntimeError("RESOURCE_EXHAUSTED: 7 TiB")],
)
def test_our_own_errors_and_those_of_disk_and_memory_pass(mine: ModuleType, error: Exception):
    with pytest.raises(type(error)) as passed, answering_for("the reward mine.raising"):
        mine.raising(error)
    assert passed.value is error


def test_where_no_code_of_the_users_takes_part_the_error_is_the_programs_own():
    parse = functools.partial(json.loads, "{")
    with pytest.raises(json.JSONDecodeError):
        _answered(parse)


def _answered(call: Any) -> Any:
    """Calls from code that isn't the user's, as the package does."""
    return contextlib.ContextDecorator.__call__(answering_for_users(), call)()


def test_a_function_of_another_package_is_blamed_by_name():
    with pytest.raises(InputError, match="^the reward json.loads raised TypeError: .* for the text 'x' "):
        with answering_for("the reward json.loads", lambda error: " for the text 'x'"):
            json.loads(**{"nothing": 1})


def test_a_long_message_is_one_short_line(mine: ModuleType):
    message = told(lambda: mine.raising(ValueError("a" * 5000 + "\nmore")))
    assert len(message) < 600 and "raised ValueError: aaa" in message and "… (" in message


def test_the_text_that_a_function_was_looking_at_is_found_among_its_variables(mine: ModuleType):
    try:
        mine.reward(["ab", "", "abc"])
    except ZeroDivisionError as error:
        assert concerned(error, ["ab", "", "abc"]) == "" and concerned(error, ["other"]) is None


def test_what_is_ours_and_what_is_not(mine: ModuleType):
    assert is_ours(pass_at_k) and is_ours(InputError("said")) and is_ours(InputError)
    assert not is_ours(mine.reward) and not is_ours(len) and not is_ours(functools.partial(mine.reward))


@pytest.mark.parametrize(
    ("values", "shape", "complaint"),
    [
        (np.zeros((2, 3)), (2, 3), None),
        (0.5, (), None),
        (np.float32(0.5), (), None),
        (np.zeros(6), (2, 3), r"gave an array of shape \[6\], where one of shape \[2, 3\] is wanted"),
        (0.5, (2,), r"gave an array of shape \[\], where one of shape \[2\] is wanted"),
        (None, (), r"gave None, where one of shape \[\] is wanted"),
        ([1.0, 2.0], (2,), r"gave \[1.0, 2.0\], where"),
    ],
)
def test_an_array_of_another_shape_is_refused_with_the_functions_name(values: Any, shape: Any, complaint: str | None):
    if complaint is None:
        check_shape("kl", len, values, shape)
        return
    with pytest.raises(InputError, match=f"^kl builtins.len {complaint}"):
        check_shape("kl", len, values, shape)


def test_this_test_is_a_users_own_code():
    assert "test_user_code.py" in told(lambda: sys.modules["nothing of this name"])
