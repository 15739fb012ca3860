"""Runs a problem's assertions against an answer that lives in another process and replies with plain data only.

Nothing that the answer sends has a method of its own here: an object of its classes is a ``_Handle``, equal to itself
alone, and ``in`` it is what it yields: were it asked, it would see what it should hold, and say yes. What proves that
the last assertion held is a word that the answer never had.
"""

import builtins
import marshal
import os
import sys
from _json import make_scanner
from typing import Any

_VERDICT = 4
_REPLIES = 5
_REQUESTS = 6
_LONGEST = 1 << 24

_handles: dict[int, "_Handle"] = {}


# What the scanner asks of the json module's decoder, whose import takes as long as Python's own start.
_options: Any = type(sys)("options")
_options.__dict__.update(strict=True, object_hook=None, object_pairs_hook=None)
_options.__dict__.update(parse_float=float, parse_int=int, parse_constant=float)
_scan = make_scanner(_options)


class _Handle:
    """An object of the answer's, in the answer's process."""

    __slots__ = ("_number",)

    def __init__(self, number: int):
        object.__setattr__(self, "_number", number)

    def __getattr__(self, name: str) -> Any:
        return _ask("getattr", self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        _ask("setattr", self, name, value)

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        return _ask("call", self, *arguments, **keywords)

    def __iter__(self) -> Any:
        return _ask("iter", self)

    def __next__(self) -> Any:
        return _ask("next", self)

    def __len__(self) -> int:
        return _ask("len", self)

    def __getitem__(self, key: Any) -> Any:
        return _ask("getitem", self, key)

    def __setitem__(self, key: Any, value: Any) -> None:
        _ask("setitem", self, key, value)

    def __bool__(self) -> bool:
        return bool(_ask("bool", self))

    def __str__(self) -> str:
        return str(_ask("str", self))

    def __repr__(self) -> str:
        return str(_ask("repr", self))

    def __instancecheck__(self, value: Any) -> bool:
        return bool(isinstance(value, _Handle) and _ask("isinstance", value, self))


def run(setup: str, script: str, names: list[str], word: str) -> None:
    """Runs ``setup`` and ``script`` with the answer's ``names``, and writes the word to descriptor 4 if none failed."""
    module = type(sys)("__main__")
    if setup:
        exec(compile(setup, "setup.py", "exec"), module.__dict__)
    answer = _Handle(0)
    for name in names:
        module.__dict__[name] = getattr(answer, name)
    exec(compile(script, "tests.py", "exec"), module.__dict__)
    os.close(_REQUESTS)
    os.write(_VERDICT, word.encode())
    os._exit(0)


def _ask(operation: str, *arguments: Any, **keywords: Any) -> Any:
    request = marshal.dumps((operation, [_sent(value) for value in arguments], _sent(keywords)))
    _write(len(request).to_bytes(4, "big") + request)
    text = _read(int.from_bytes(_read(4), "big")).decode()
    reply, end = _scan(text, 0)
    if end != len(text):
        raise ValueError("the answer's process wrote something else than a reply")
    if reply[0] == "value":
        for place, value in reply[2]:
            _change(arguments[place], _received(value))
        return _received(reply[1])
    raise _exception(*[_received(part) for part in reply[1:]])


def _sent(value: Any) -> Any:
    if isinstance(value, _Handle):
        return (..., value._number)
    if isinstance(value, list):
        return [_sent(item) for item in value]
    if isinstance(value, tuple):
        return tuple([_sent(item) for item in value])
    if isinstance(value, dict):
        return {_sent(key): _sent(item) for key, item in value.items()}
    return value


def _received(value: Any) -> Any:
    if not isinstance(value, list):
        if isinstance(value, dict):
            raise ValueError("the answer's process wrote something else than a reply")
        return value
    kind, *parts = value
    if kind == "object":
        number = int(parts[0])
        return _handles.setdefault(number, _Handle(number))
    if kind in ("bytes", "bytearray"):
        return (bytes if kind == "bytes" else bytearray)(parts[0].encode("latin-1"))
    if kind in ("int", "float"):
        return int(parts[0], 16) if kind == "int" else float(parts[0])
    items = [_received(part) for part in parts]
    if kind == "dict":
        return dict(zip(items[::2], items[1::2], strict=True))
    if kind == "complex":
        return complex(items[0], items[1])
    return {"list": list, "tuple": tuple, "set": set, "frozenset": frozenset}[kind](items)


def _change(own: Any, new: Any) -> None:
    """Makes an argument what the answer has made of its copy."""
    if type(own) is not type(new):
        raise ValueError("the answer's process changed an argument's type")
    if isinstance(own, list | bytearray):
        own[:] = new
    elif isinstance(own, dict | set):
        own.clear()
        own.update(new)


def _exception(name: str, bases: list[str], message: str) -> Exception:
    """The answer's exception as the nearest built-in one, or one of its name where it derives from such."""
    for base in bases:
        kind = getattr(builtins, base, None)
        if isinstance(kind, type) and issubclass(kind, Exception):
            own = kind if base == name else type(name, (kind,), {})
            return own.__new__(own, message)  # some, such as UnicodeDecodeError, can't be made of a message alone
    return RuntimeError(f"{name}: {message}")


def _read(size: int) -> bytes:
    if size > _LONGEST:
        raise ValueError("the answer's reply is too long")
    parts = []
    while size:
        part = os.read(_REPLIES, min(size, 1 << 16))
        if not part:
            raise EOFError("the answer's process has ended")
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _write(data: bytes) -> None:
    while data:
        data = data[os.write(_REQUESTS, data) :]
