"""An answer that is asked from outside: its functions are called, its objects looked into, by who holds the pipe."""

import builtins
import marshal
import operator
import os
import sys
from typing import Any

from reasoning.sandbox.inside.encoding import tagged

_REPLIES = 4
_REQUESTS = 5
_CHANGEABLE = (list, dict, set, bytearray)


def run(source: str) -> None:
    """Executes an answer, then carries out requests of descriptor 5 until it closes, replying on descriptor 4."""
    module = type(sys)("answer")
    sys.modules["answer"] = module
    exec(compile(source, "answer.py", "exec"), module.__dict__)
    objects: list[Any] = [module]
    numbers = {id(module): 0}

    def handle(value: Any) -> str:
        if id(value) not in numbers:
            numbers[id(value)] = len(objects)
            objects.append(value)  # kept, so that its id stays its own
        return f'["object",{numbers[id(value)]}]'

    while request := _read():
        operation, arguments, keywords = marshal.loads(request)
        _send(_reply(operation, arguments, keywords, objects, handle))
    sys.stdout.flush()
    os._exit(0)


def _reply(operation: str, given: Any, keywords: Any, objects: list[Any], handle: Any) -> str:
    """The value, and what the operation has changed in its arguments; or the exception by its name."""
    arguments = [_known(value, objects) for value in given]
    named = {name: _known(value, objects) for name, value in keywords.items()}
    try:
        before = [tagged(value, handle) if isinstance(value, _CHANGEABLE) else "" for value in arguments]
        value = tagged(_operation(operation)(*arguments, **named), handle)
        after = [tagged(value, handle) if isinstance(value, _CHANGEABLE) else "" for value in arguments]
    except Exception as error:
        bases = [base.__name__ for base in type(error).__mro__ if getattr(builtins, base.__name__, None) is base]
        parts = [tagged(part, handle) for part in (type(error).__name__, bases, str(error)[:1000])]
        return f'["error",{",".join(parts)}]'
    changed = [f"[{place},{new}]" for place, (old, new) in enumerate(zip(before, after, strict=True)) if old != new]
    return f'["value",{value},[{",".join(changed)}]]'


def _operation(name: str) -> Any:
    if name == "call":
        return lambda function, *arguments, **keywords: function(*arguments, **keywords)
    return getattr(builtins, name, None) or getattr(operator, name)


def _known(value: Any, objects: list[Any]) -> Any:
    """A value of a request with the objects that it names by (..., number)."""
    if isinstance(value, tuple) and len(value) == 2 and value[0] is ...:
        return objects[value[1]]
    if isinstance(value, list):
        return [_known(item, objects) for item in value]
    if isinstance(value, tuple):
        return tuple([_known(item, objects) for item in value])
    if isinstance(value, dict):
        return {_known(key, objects): _known(item, objects) for key, item in value.items()}
    return value


def _read() -> bytes:
    size = os.read(_REQUESTS, 4)
    if not size:
        return b""
    left = int.from_bytes(size, "big")
    parts = []
    while left and (part := os.read(_REQUESTS, min(left, 1 << 16))):
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def _send(text: str) -> None:
    data = text.encode()
    data = len(data).to_bytes(4, "big") + data
    while data:
        data = data[os.write(_REPLIES, data) :]
