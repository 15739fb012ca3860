"""Settings as JSON, to be hashed and recorded, and the user's source files that they lead to."""

import functools
import inspect
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import Field, dataclass, fields, is_dataclass
from enum import Enum
from typing import Any

from reasoning.core.errors import InputError
from reasoning.core.hashes import hash_source
from reasoning.experiment.references import is_user_module, module_of, name_of
from reasoning.experiment.session import SESSION, digest, session_digest, source_of
from reasoning.experiment.types import settings_of, type_name, value_words

Replacement = Callable[[object], object | None]
FieldFilter = Callable[[Field[Any]], bool]
NameOf = Callable[[object], str | None]


def replace_nothing(_: object) -> None:
    """Replaces nothing."""
    return None


def every_field(_: object) -> bool:
    """Wants every field."""
    return True


def is_hashed(field: Field[Any]) -> bool:
    """Whether a field can change a result; ``field(metadata=NOT_HASHED)`` says that it can't."""
    return field.metadata.get("hashed", True)


@dataclass(frozen=True)
class _How:
    replace: Replacement
    wanted: FieldFilter
    text: NameOf


def describe(
    value: object,
    replace: Replacement = replace_nothing,
    wanted: FieldFilter = every_field,
    text: NameOf = name_of,
) -> Any:
    """What a setting amounts to, as JSON-able data: equal settings give equal data, from a file or from Python.

    A dataclass instance is ``{'@': 'stages.GRPO', field: …}`` with every field that is ``wanted`` (``is_hashed`` leaves
    out what can't change a result), a function or class ``'@module.name'``, a tuple or list a list; a text that begins
    with @ gets a second one. ``replace`` is asked about every part, function or other object inside ``value``, not
    about ``value`` itself; what it returns replaces it unless it is None. ``text`` names what can be found by
    name. A function that can't (a lambda, a notebook's cell that ran again) is told apart by its source; one that
    closes over variables is refused with InputError, and so is any other object without a name.
    """
    return _described(value, _How(replace, wanted, text), outermost=True)


def user_sources(
    value: object,
    replace: Replacement = replace_nothing,
    wanted: FieldFilter = every_field,
    text: NameOf = name_of,
) -> dict[str, str]:
    """SHA-256, by name, of the user's own source files whose classes and functions ``value`` uses.

    Modules of this package, of Python and of installed packages are left out: their versions are recorded instead.
    What a module imports in its turn isn't followed. A function typed into a session counts by ``session_digest``.
    ``replace``, ``wanted`` and ``text`` as in describe: what is replaced or unwanted is not looked into.
    """
    hashes: dict[str, str] = {}
    parts = parts_of(value, replace, wanted)
    used_ones = (type(part) if is_dataclass(part) and not isinstance(part, type) else part for part in parts)
    for used in {id(used): used for used in used_ones}.values():
        named = text(used)
        for module in {getattr(used, "__module__", None), named and module_of(named)} - {None}:
            if module == SESSION:
                name = f"{SESSION}.{getattr(used, '__qualname__', '')}"
                # Lambdas share a name.
                hashes[name] = digest(hashes.get(name, "") + session_digest(used))
            elif is_user_module(module):
                hashes[module] = hash_source(sys.modules[module])
    return dict(sorted(hashes.items()))


def _described(value: Any, how: _How, outermost: bool = False) -> Any:
    if value is None or (isinstance(value, bool | int | float) and not isinstance(value, Enum)):
        return value
    if isinstance(value, str) and not isinstance(value, Enum):
        return f"@{value}" if value.startswith("@") else value
    if isinstance(value, tuple | list):
        return [_described(item, how) for item in value]
    if isinstance(value, dict):
        return {_described(key, how): _described(item, how) for key, item in value.items()}
    replaced = None if outermost else how.replace(value)
    if replaced is not None:
        return replaced
    if is_dataclass(value) and not isinstance(value, type):
        names = {field.name for field in fields(value) if how.wanted(field)}
        inner = {name: _described(item, how) for name, item in settings_of(value).items() if name in names}
        return {"@": type_name(type(value)), **inner}
    if isinstance(value, functools.partial):
        parts = {"function": value.func, "arguments": value.args, "keywords": value.keywords}
        return {"@": "functools.partial", **{key: _described(item, how) for key, item in parts.items()}}
    name = how.text(value)
    return f"@{name}" if name else _unnamed(value)


def _unnamed(value: Any) -> str:
    """A function that no name leads to, by its qualified name and a digest of its source and default arguments."""
    if not inspect.isfunction(value) or value.__closure__:
        raise InputError(
            f"{value_words(value)} can't be found again by name; write a function at the top of a module, "
            "a functools.partial of one, or a frozen dataclass with __call__"
        )
    defaults = [list(value.__defaults__ or ()), dict(value.__kwdefaults__ or {})]
    # The source of a lambda is its whole line, on which another may stand: columns and constants tell them apart, the
    # latter since Python 3.12 gives no columns for a lambda that returns a constant.
    code = value.__code__
    columns = [position[2:] for position in code.co_positions()]
    constants = [repr(constant) for constant in code.co_consts if not inspect.iscode(constant)]
    told = [describe(defaults), columns, constants, list(code.co_names)]
    told_apart = digest(source_of(value) + json.dumps(told, sort_keys=True))
    return f"@{value.__module__}.{value.__qualname__}#{told_apart[:16]}"


def parts_of(value: object, replace: Replacement = replace_nothing, wanted: FieldFilter = every_field) -> Iterator[Any]:
    """Every record, function and other object inside a setting, itself included; ``replace``, ``wanted`` as above.

    A record that several others hold is looked into once: as paths through a graph of stages they are thousands.
    """
    return _parts(value, replace, wanted, {}, outermost=True)


def _parts(
    value: Any, replace: Replacement, wanted: FieldFilter, seen: dict[int, Any], outermost: bool = False
) -> Iterator[Any]:
    if value is None or isinstance(value, bool | int | float | str) and not isinstance(value, Enum):
        return
    inner: list[object] = []
    if isinstance(value, tuple | list):
        inner = list(value)
    elif isinstance(value, dict):
        inner = list(value.values())
    elif not outermost and replace(value) is not None:
        return
    elif is_dataclass(value) and not isinstance(value, type):
        if id(value) in seen:
            return
        seen[id(value)] = value  # Kept, so that no other object gets its id.
        yield value
        names = {field.name for field in fields(value) if wanted(field)}
        inner = [item for name, item in settings_of(value).items() if name in names]
    elif isinstance(value, functools.partial):
        inner = [value.func, value.args, value.keywords]
    else:
        yield value
    for item in inner:
        yield from _parts(item, replace, wanted, seen)
