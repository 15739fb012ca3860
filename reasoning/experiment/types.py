"""Checks a value against the type of a settings field, so that bad settings fail at once and not hours later."""

import collections.abc
import math
import reprlib
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from reasoning.core.errors import InputError
from reasoning.core.ranges import Range
from reasoning.core.signatures import Takes, function_words
from reasoning.experiment.locations import suggestion
from reasoning.experiment.references import name_of

_BITS = 63
"""Of a whole number that has a range, without its sign."""


class Mismatch(Exception):
    """A value that its type refuses.

    ``complaint`` goes on from the field's name ("must be …"), ``path`` leads to the offending item inside the value,
    and ``close`` says that the kind was right and only the choice or the range was wrong. As a text it goes on from the
    field's name too: ``[1] must be …``.
    """

    def __init__(self, complaint: str, path: tuple[int | str, ...] = (), close: bool = False):
        super().__init__("".join(f"[{step!r}]" for step in path) + " " + complaint)
        self.complaint, self.path, self.close = complaint, path, close


def coerce(value: object, hint: object) -> Any:
    """The value as a field of type ``hint`` holds it; an int becomes a float where a float is wanted.

    Understands bool, int, float (finite), str, None, unions, Literal, tuples, dicts with text keys, Callable,
    Annotated with Range, Any, aliases, and classes (dataclasses, runtime-checkable Protocols, enums) by isinstance.
    Raises Mismatch.
    """
    hint = _named(hint)
    origin = get_origin(hint)
    return _CONVERTERS.get(hint if origin is None else origin, _instance)(value, hint)


def hints_of(target: type) -> dict[str, Any]:
    """The types of a dataclass's fields, ranges included; raises InputError where an annotation can't be read."""
    try:
        return typing.get_type_hints(target, include_extras=True)
    except (NameError, TypeError, AttributeError, SyntaxError) as error:
        raise InputError(f"the annotations of {type_name(target)} can't be read: {error}") from error


def default_of(target: type, name: str, hint: object) -> Any:
    """What the field ``name`` of a dataclass holds unless set, or MISSING; raises InputError for a bad default."""
    field = {field.name: field for field in fields(target)}[name]
    value = field.default if field.default_factory is MISSING else field.default_factory()
    if value is MISSING:
        return value
    try:
        return coerce(value, hint)
    except Mismatch as error:
        raise InputError(f"the default of {type_name(target)}.{name}{error}; mend the class") from error


def settings_of(value: Any) -> dict[str, Any]:
    """The settings of a dataclass instance as its types hold them; raises InputError where one is of a wrong type."""
    target = type(value)
    hints = hints_of(target)
    converted: dict[str, Any] = {}
    for field in fields(value):
        if field.init:
            try:
                converted[field.name] = coerce(getattr(value, field.name), hints[field.name])
            except Mismatch as error:
                raise InputError(f"{type_name(target)}.{field.name}{error}") from error
    return converted


def type_name(target: type) -> str:
    """What messages call a class: ``stages.GRPO``."""
    return name_of(target) or f"{target.__module__}.{target.__qualname__}"


def value_words(value: object) -> str:
    """A value in the words of an error."""
    if isinstance(value, type):
        return f"the class {type_name(value)}"
    if is_dataclass(type(value)):
        return f"a part of class {type_name(type(value))}"
    name = name_of(value)
    return f"@{name}" if name else value_repr(value)


def value_repr(value: object) -> str:
    """A value as Python writes it, shortened, and its type where a whole number is too long to be written."""
    try:
        return reprlib.repr(value)
    except ValueError:
        return f"a value of type {type(value).__name__}"


def _named(hint: Any) -> Any:
    """What an alias or a NewType stands for."""
    while not isinstance(hint, type) and (inner := getattr(hint, "__value__", getattr(hint, "__supertype__", None))):
        hint = inner
    return hint


def _type_words(hint: Any) -> str:
    hint = _named(hint)
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _type_words(arguments[0])
    if origin in (Union, types.UnionType):
        return " or ".join(map(_type_words, arguments))
    if origin is Literal:
        return " or ".join(map(repr, arguments))
    if tuple in (hint, origin):
        return f"a tuple of {len(arguments)}" if arguments and arguments[-1] is not ... else "a tuple"
    if hint in _WORDS:
        return _WORDS[hint]
    if (origin or hint) in (dict, Mapping):
        return "a dict"
    if (origin or hint) is collections.abc.Callable:
        return "a function"
    target = origin or hint
    if not isinstance(target, type):
        return str(hint)
    name = type_name(target)
    return f"a part of class {name}" if is_dataclass(target) else f"a {name}"


def _refused(value: object, hint: Any, advice: str = "", close: bool = False) -> Mismatch:
    return Mismatch(f"must be {_type_words(hint)}, not {value_words(value)}{advice}", close=close)


def _anything(value: object, hint: Any) -> object:
    """Any: literals of exactly Python's own types, so that they are written and read back the same."""
    if isinstance(value, tuple | list):
        items = _items(value, [Any] * len(value))
        return list(items) if isinstance(value, list) else items
    if isinstance(value, dict):
        return _dict(value, dict[str, Any])
    if isinstance(value, Enum):
        return value
    for scalar in (bool, int, float, str):
        if isinstance(value, scalar):
            return _scalar(value, scalar)
    return value


def _scalar(value: Any, hint: Any) -> object:
    if hint in (None, types.NoneType):
        if value is None:
            return None
        raise _refused(value, hint)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError as error:
            raise Mismatch(f"must be a number that a float can hold, not {value_words(value)}") from error
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        raise _refused(value, hint, _scalar_advice(value, hint))
    if hint is float and not math.isfinite(value):
        raise Mismatch(f"must be finite, not {value}", close=True)
    # Subclasses (numpy's float64, IntEnum) become the plain type. str() of an enum member would be its name.
    if type(value) is hint:
        return value
    return str.__str__(value) if isinstance(value, str) else hint(value)


def _scalar_advice(value: object, hint: Any) -> str:
    if isinstance(value, str) and hint in (int, float):
        try:
            hint(value)
        except ValueError:
            return ""
        return "; remove the quotes"
    if isinstance(value, str) and hint is bool and value.lower() in ("true", "false"):
        return f"; write {value.capitalize()} without quotes"
    if isinstance(value, float) and hint is int and value.is_integer():
        return f"; write {int(value)}"
    return ""


def _annotated(value: object, hint: Any) -> object:
    inner, *marks = get_args(hint)
    converted = coerce(value, inner)
    ranged = any(isinstance(mark, Range) for mark in marks)
    if ranged and isinstance(converted, int) and converted.bit_length() > _BITS:
        raise Mismatch(f"must fit into {_BITS + 1} bits, not {value_words(converted)}", close=True)
    for mark in marks:
        if isinstance(mark, Takes) and callable(converted):
            _check_call(converted, mark)
        if isinstance(mark, Range) and isinstance(converted, int | float):
            complaint = mark.complaint(converted)
            if complaint:
                raise Mismatch(f"{complaint}, not {converted!r}", close=True)
    return converted


def _union(value: object, hint: Any) -> object:
    converted: list[object] = []
    refused: list[Mismatch] = []
    for member in get_args(hint):
        try:
            converted.append(coerce(value, member))
        except Mismatch as error:
            refused.append(error)
    # 1 for ``float | int`` stays 1: a member that leaves the value as it is goes before one that changes it.
    for result in converted:
        if type(result) is type(value):
            return result
    if converted:
        return converted[0]
    telling = [error for error in refused if error.path or error.close]
    raise telling[0] if len(telling) == 1 else _refused(value, hint)


def _literal(value: object, hint: Any) -> object:
    choices = get_args(hint)
    for choice in choices:
        if type(choice) is type(value) and choice == value:
            return choice
    texts = [choice for choice in choices if isinstance(choice, str)]
    near = suggestion(value, texts) if isinstance(value, str) else ""
    advice = near if "did you mean" in near else ""
    raise _refused(value, hint, advice, close=isinstance(value, str) and bool(texts))


def _tuple(value: object, hint: Any) -> tuple[object, ...]:
    if not isinstance(value, tuple):
        advice = "; write (…) instead of […]" if isinstance(value, list) else "; a tuple of one is written (x,)"
        raise _refused(value, hint, advice)
    wanted = get_args(hint)
    if not wanted and hint is tuple:
        wanted = (Any, ...)
    if len(wanted) == 2 and wanted[1] is ...:
        return _items(value, [wanted[0]] * len(value))
    if len(wanted) != len(value):
        raise Mismatch(f"must be {_type_words(hint) if wanted else 'the empty tuple'}, not one of {len(value)}")
    return _items(value, wanted)


def _items(values: collections.abc.Sequence[object], wanted: collections.abc.Sequence[Any]) -> tuple[object, ...]:
    return tuple(_item(value, hint, index) for index, (value, hint) in enumerate(zip(values, wanted, strict=True)))


def _item(value: object, hint: Any, step: int | str) -> object:
    try:
        return coerce(value, hint)
    except Mismatch as error:
        raise Mismatch(error.complaint, (step, *error.path), error.close) from error


def _dict(value: object, hint: Any) -> dict[str, object]:
    if not isinstance(value, Mapping):
        raise _refused(value, hint)
    key_hint, item_hint = get_args(hint) or (str, Any)
    for key in value:
        if not isinstance(key, str):
            raise Mismatch(f"must have texts as keys, not {value_words(key)}")
        _item(key, key_hint, key)
    return {str.__str__(key): _item(item, item_hint, key) for key, item in value.items()}


def _callable(value: object, hint: Any) -> object:
    if not callable(value):
        raise _refused(value, hint)
    parameters = get_args(hint)[0] if get_args(hint) else ...
    if isinstance(parameters, list):
        _check_call(value, Takes(in_order=("value",) * len(parameters)))
    return value


def _check_call(function: Callable[..., Any], takes: Takes) -> None:
    complaint = takes.complaint(function)
    if complaint is not None:
        raise Mismatch(f"is {function_words(function)}, which {complaint}", close=True)


def _mutable(value: object, hint: Any) -> object:
    raise Mismatch(f"is declared as {hint}, which settings can't hold; declare it as a tuple")


def _instance(value: object, hint: Any) -> object:
    target = get_origin(hint) or hint
    try:
        fits = isinstance(value, target)
    except TypeError as error:
        raise Mismatch(
            f"is declared as {type_name(target) if isinstance(target, type) else hint}, which can't be checked; "
            "a Protocol must be marked runtime_checkable"
        ) from error
    # A class has the methods that a Protocol asks of its instances.
    if not fits or (isinstance(value, type) and getattr(target, "_is_protocol", False)):
        advice = "; a part's name is written without quotes" if isinstance(value, str) else ""
        raise _refused(value, hint, advice)
    return value


_WORDS: dict[Any, str] = {
    bool: "True or False",
    int: "a whole number",
    float: "a number",
    str: "a text in quotes",
    None: "None",
    types.NoneType: "None",
}
_CONVERTERS: dict[Any, Callable[[Any, Any], Any]] = {
    **dict.fromkeys((Any, object), _anything),
    **dict.fromkeys((bool, int, float, str, None, types.NoneType), _scalar),
    Annotated: _annotated,
    **dict.fromkeys((Union, types.UnionType), _union),
    Literal: _literal,
    tuple: _tuple,
    **dict.fromkeys((dict, Mapping), _dict),
    collections.abc.Callable: _callable,
    **dict.fromkeys((list, set, frozenset, collections.abc.Sequence, collections.abc.Iterable), _mutable),
}
