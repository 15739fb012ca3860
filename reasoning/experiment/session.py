"""What code typed into a session (a notebook, a script) amounts to: its source and whatever it uses of the session.

A module's code is told apart by its file. A session has none, and a function's own source isn't all that it does: a
number or a helper of another cell is part of it too. What can't be told apart is refused, because a changed stage would
then get the hash, and so the result, of the stage as it was.
"""

import dis
import functools
import hashlib
import inspect
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from types import CodeType, FunctionType, ModuleType
from typing import Any

from reasoning.core.errors import InputError
from reasoning.core.hashes import hash_source
from reasoning.experiment.references import is_user_module
from reasoning.experiment.types import value_words

SESSION = "__main__"
_GLOBAL_READS = ("LOAD_GLOBAL", "LOAD_NAME")


def session_digest(value: Any) -> str:
    """SHA-256, as hex, of a function or class of ``__main__``: its source and, down through all of the session's own
    functions, the values of the variables that it reads.

    Raises InputError, with what to do, for a source that can't be found and for a variable whose value can't be told
    from another one's.
    """
    return digest(json.dumps(_told(value, "", ()), sort_keys=True))


def source_of(value: Any) -> str:
    """The source text of a function or class. Raises InputError where there is none to be found."""
    try:
        return inspect.getsource(value)
    except (OSError, TypeError) as error:
        raise InputError(f"the source of {value_words(value)} can't be found; put it into a module's file") from error


def digest(text: str) -> str:
    """SHA-256 of a text, as hex."""
    return hashlib.sha256(text.encode()).hexdigest()


def _told(value: Any, where: str, path: tuple[Any, ...]) -> Any:
    """A value as JSON-able data that differs where the value does; ``where`` says in words who uses it.

    ``path`` are the functions and classes that led here: one that calls itself is told once.
    """
    if value is None or isinstance(value, bool | int | float | complex | str | bytes | re.Pattern):
        return repr(value)
    if isinstance(value, tuple | list):
        return [type(value).__name__, *(_told(item, where, path) for item in value)]
    if isinstance(value, set | frozenset):
        return ["set", *sorted(json.dumps(_told(item, where, path), sort_keys=True) for item in value)]
    if isinstance(value, dict):
        return ["dict", *([_told(key, where, path), _told(item, where, path)] for key, item in value.items())]
    if isinstance(value, functools.partial):
        return ["partial", *(_told(part, where, path) for part in (value.func, value.args, value.keywords))]
    if isinstance(value, ModuleType):
        return _named(value.__name__, value.__name__)
    if is_dataclass(value) and not isinstance(value, type):
        inner = {field.name: _told(getattr(value, field.name), where, path) for field in fields(value)}
        return [_told(type(value), where, path), inner]
    name, module = getattr(value, "__qualname__", None), getattr(value, "__module__", None)
    if not isinstance(name, str) or not isinstance(module, str):
        raise InputError(
            f"{where} {value_words(value)}, whose value can't be told from another one's, so a result would "
            "be taken for that of other code; write plain values, make it inside of the function, or put the function "
            "into a module"
        )
    if module != SESSION:
        return _named(f"{module}.{name}", module)
    return [name] if any(value is earlier for earlier in path) else _typed(value, name, (*path, value))


def _typed(value: Any, name: str, path: tuple[Any, ...]) -> list[Any]:
    """A function or class of the session: source, defaults, and what its code reads."""
    methods = FunctionType | staticmethod | classmethod | property
    parts = [part for part in vars(value).values() if isinstance(part, methods)] if isinstance(value, type) else [value]
    used = {
        key: _told(item, f"{name} uses the variable {key} of this session,", path)
        for part in parts
        for key, item in _reads(part)
    }
    return [name, source_of(value), used]


def _reads(part: Any) -> Iterator[tuple[str, Any]]:
    """Names and values of the variables that a function reads from outside of itself, its defaults among them."""
    function = getattr(part, "fget", None) or getattr(part, "__func__", part)
    function = inspect.unwrap(function)
    if not isinstance(function, FunctionType):
        return
    yield "(defaults)", [list(function.__defaults__ or ()), dict(function.__kwdefaults__ or {})]
    for name in sorted(_global_names(function.__code__)):
        if name in function.__globals__:
            yield name, function.__globals__[name]
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        yield name, cell.cell_contents


def _global_names(code: CodeType) -> set[str]:
    names = {step.argval for step in dis.get_instructions(code) if step.opname in _GLOBAL_READS}
    inner = (_global_names(constant) for constant in code.co_consts if isinstance(constant, CodeType))
    return names.union(*inner)


def _named(name: str, module: str) -> list[str]:
    """Something that a module's file says all about: the user's own by its hash, others by their version elsewhere."""
    return [name, hash_source(sys.modules[module])] if is_user_module(module) else [name]
