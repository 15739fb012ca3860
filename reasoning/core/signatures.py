"""With what a function that a setting names is called, so that one of another form fails before anything runs."""

import functools
import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from inspect import Parameter, Signature
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Takes:
    """What a function gets, attached to its type as ``Annotated[Callable[..., float], Takes(…)]``.

    Values of ``in_order``, and by name those of ``named``. A function that names one of ``offered`` gets that too.
    Where ``more`` follow by name that its settings don't tell (the columns of problems), whatever else it names may be
    one of them.
    """

    in_order: tuple[str, ...] = ()
    named: tuple[str, ...] = ()
    offered: tuple[str, ...] = ()
    more: bool = False

    def complaint(self, function: Callable[..., Any]) -> str | None:
        """Why ``function`` can't be called so, in words that go on from its name; None where it can."""
        signature = signature_of(function)
        if signature is None:
            return None
        parameters = signature.parameters
        rest = set(needed(signature)) - {*self.in_order, *self.named} if self.more else set()
        given = dict.fromkeys((*self.named, *(name for name in self.offered if name in parameters), *sorted(rest)))
        if self.named and not takes_any_name(signature) and not set(self.named) <= parameters.keys():
            return "has no parameter **columns; add it, since everything comes by name and more than it takes"
        try:
            signature.bind(*self.in_order, **given)
        except TypeError as error:
            wanted = ", ".join((*self.in_order, *(f"{name}=" for name in self.named)))
            return f"can't be called as ({wanted}): {error}"
        return None


def signature_of(function: Callable[..., Any]) -> Signature | None:
    """A function's parameters, or a callable record's; None where it doesn't tell (one written in C)."""
    try:
        return inspect.signature(function)
    except (TypeError, ValueError):
        return None


def takes_any_name(signature: Signature) -> bool:
    """Whether there is a ``**`` parameter."""
    return any(each.kind is Parameter.VAR_KEYWORD for each in signature.parameters.values())


def needed(signature: Signature) -> Iterable[str]:
    """The parameters that must be given, and can be by name."""
    for name, each in signature.parameters.items():
        if each.default is Parameter.empty and each.kind in (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY):
            yield name


def underlying(function: Any) -> Any:
    """The function behind a partial, and the ``__call__`` of a record."""
    while isinstance(function, functools.partial):
        function = function.func
    return function if hasattr(function, "__code__") or isinstance(function, type) else type(function).__call__


def function_words(function: Any) -> str:
    """A function or callable record by module and name, and where its code begins: ``mine.brevity (mine.py:12)``."""
    inner = function
    while isinstance(inner, functools.partial):
        inner = inner.func
    named = inner if hasattr(inner, "__qualname__") else type(inner)
    return f"{named.__module__}.{named.__qualname__.rpartition('<locals>.')[2]}{place_words(inner)}"


def place_words(function: Any) -> str:
    """Where a function's code, or that of a callable record, begins: `` (mine.py:12)``; empty where there is none."""
    code = getattr(inspect.unwrap(underlying(function)), "__code__", None)
    return "" if code is None else f" ({Path(code.co_filename).name}:{code.co_firstlineno})"
