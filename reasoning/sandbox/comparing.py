"""Whether what an answer gave is right, told outside of its reach from plain data alone."""

import json
import math
from collections.abc import Mapping
from typing import Any, NoReturn

_SHOWN = 60


def output_fault(given: bytes, expected: str, tolerance: float) -> str:
    """Why a program's output is wrong, "" if it is right: strict UTF-8, and token by token the expected one.

    With a ``tolerance`` tokens that differ may both be finite numbers that differ by no more, absolutely or relative
    to the expected one.
    """
    try:
        tokens = given.decode("utf-8", "strict").split()
    except UnicodeDecodeError as error:
        return f"the output is no UTF-8 at byte {error.start}"
    wanted = expected.split()
    for place, (token, right) in enumerate(zip(tokens, wanted, strict=False)):
        if token != right and not (tolerance and _near_text(token, right, tolerance)):
            return f"token {place} is {token!r:.{_SHOWN}}, not {right!r:.{_SHOWN}}"
    return "" if len(tokens) == len(wanted) else f"{len(tokens)} tokens, not {len(wanted)}"


def result_fault(given: bytes, expected: Any, tolerance: float) -> str:
    """Why a result, as JSON text, is wrong, "" if it is right. Types count: true is not 1, and 1 is not "1".

    An int and a float of equal value are equal, as in JSON. What is not a number is refused.
    """
    if not given:
        return "no result"
    try:
        value = json.loads(given.decode("utf-8", "strict"), parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        return f"the result is no JSON: {error}"
    same = _same(value, json.loads(json.dumps(expected)), tolerance)
    return "" if same else f"{value!r:.{_SHOWN}} is not {expected!r:.{_SHOWN}}"


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"it holds {name}")


def _same(given: Any, expected: Any, tolerance: float) -> bool:
    if isinstance(expected, bool) or expected is None or isinstance(expected, str):
        return type(given) is type(expected) and given == expected
    if isinstance(expected, int | float):
        number = isinstance(given, int | float) and not isinstance(given, bool)
        return number and (given == expected or (tolerance > 0 and _near(given, expected, tolerance)))
    if isinstance(expected, Mapping):
        both = isinstance(given, dict) and given.keys() == expected.keys()
        return both and all(_same(given[key], expected[key], tolerance) for key in expected)
    both = isinstance(given, list) and len(given) == len(expected)
    return both and all(_same(one, other, tolerance) for one, other in zip(given, expected, strict=True))


def _near_text(given: str, expected: str, tolerance: float) -> bool:
    try:
        return "_" not in given and _near(float(given), float(expected), tolerance)
    except ValueError:
        return False


def _near(given: float, expected: float, tolerance: float) -> bool:
    try:
        numbers = float(given), float(expected)
    except OverflowError:
        return False
    allowed = tolerance * max(1.0, abs(numbers[1]))
    return all(map(math.isfinite, numbers)) and abs(numbers[0] - numbers[1]) <= allowed
