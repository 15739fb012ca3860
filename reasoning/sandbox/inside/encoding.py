"""Values of an answer as text, without the json module, whose import takes as long as Python's own start.

A reader of such text has plain data or an error: whatever class the answer made up, none of its methods gets out.
"""

from _json import encode_basestring_ascii
from collections.abc import Callable
from typing import Any

Fallback = Callable[[Any], str]


def as_json(value: Any) -> str:
    """Plain JSON: tuples become lists, and keys text, as the json module has them.

    A number that is no number is written as NaN, which its reader refuses. Raises TypeError for other types.
    """
    if value is None or value is True or value is False:
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str):
        return encode_basestring_ascii(str.__str__(value))
    if isinstance(value, int):
        return int.__repr__(value)
    if isinstance(value, float):
        return _float(value)
    if isinstance(value, list | tuple):
        return "[" + ",".join([as_json(item) for item in value]) + "]"
    if isinstance(value, dict):
        return "{" + ",".join([_key(key) + ":" + as_json(item) for key, item in value.items()]) + "}"
    raise TypeError(f"a {type(value).__name__} is no JSON")


def _key(key: Any) -> str:
    if not isinstance(key, str | int | float | None):
        raise TypeError(f"a key of type {type(key).__name__} is no JSON")
    return as_json(key) if isinstance(key, str) else encode_basestring_ascii(as_json(key))


def _float(value: float) -> str:
    text = float.__repr__(value)
    return {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}.get(text, text)


def tagged(value: Any, other: Fallback) -> str:
    """JSON in which every container, and whatever JSON lacks, is a list that begins with its kind.

    ``other`` writes what is no plain data. Instances of subclasses of plain types count as plain: a named tuple is a
    tuple, a Counter a dict.
    """
    if value is None or value is True or value is False:
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str):
        return encode_basestring_ascii(str.__str__(value))
    if isinstance(value, int):
        return int.__repr__(value) if -(2**63) < value < 2**63 else f'["int","{int.__format__(value, "x")}"]'
    if isinstance(value, float):
        text = float.__repr__(value)
        return text if text[-1] not in "fn" else f'["float","{text}"]'
    return _tagged_container(value, other)


def _tagged_container(value: Any, other: Fallback) -> str:
    if isinstance(value, complex):
        return f'["complex",{tagged(value.real, other)},{tagged(value.imag, other)}]'
    if isinstance(value, bytes | bytearray):
        kind = "bytes" if isinstance(value, bytes) else "bytearray"
        return f'["{kind}",{encode_basestring_ascii(value.decode("latin-1"))}]'
    if isinstance(value, dict):
        pairs = [f"{tagged(key, other)},{tagged(item, other)}" for key, item in value.items()]
        return "[" + ",".join(['"dict"', *pairs]) + "]"
    for kind in (list, tuple, set, frozenset):
        if isinstance(value, kind):
            items = [tagged(item, other) for item in value]
            return "[" + ",".join([f'"{kind.__name__}"', *items]) + "]"
    return other(value)
