import math

import pytest

from reasoning.sandbox.comparing import output_fault, result_fault


@pytest.mark.parametrize(
    ("given", "expected", "tolerance", "right"),
    [
        (b"1 2\n3\n", "1\n2 3", 0.0, True),
        (b"1 2", "1 2 3", 0.0, False),
        (b"1 2 3 4", "1 2 3", 0.0, False),
        (b"", "1", 0.0, False),
        (b"1.0", "1", 0.0, False),
        (b"1.0000001", "1", 1e-6, True),
        (b"1.1", "1", 1e-6, False),
        (b"1000000.5", "1000000", 1e-6, True),
        (b"nan", "1", 1e9, False),
        (b"inf", "1", 1e9, False),
        (b"1_0", "10", 1e-6, False),
        (b"yes", "no", 1.0, False),
        (b"\xff", "1", 0.0, False),
        ("\N{FULLWIDTH DIGIT ONE}".encode(), "1", 0.0, False),
    ],
)
def test_outputs_are_compared_token_by_token(given, expected, tolerance, right):
    assert (output_fault(given, expected, tolerance) == "") is right


@pytest.mark.parametrize(
    ("given", "expected", "tolerance", "right"),
    [
        (b"1", 1, 0.0, True),
        (b"1.0", 1, 0.0, True),
        (b"true", 1, 0.0, False),
        (b"1", True, 0.0, False),
        (b'"1"', 1, 0.0, False),
        (b"null", None, 0.0, True),
        (b"false", None, 0.0, False),
        (b"0", False, 0.0, False),
        (b"[1, 2]", (1, 2), 0.0, True),
        (b"[1, 2]", [2, 1], 0.0, False),
        (b'{"a": [1], "b": null}', {"b": None, "a": [1]}, 0.0, True),
        (b'{"a": 1, "c": 2}', {"a": 1}, 0.0, False),
        (b"[0.3000001]", [0.3], 1e-6, True),
        (b"[true]", [1.0], 1.0, False),
        (b"NaN", math.nan, 1.0, False),
        (b"Infinity", 1e308, 1.0, False),
        (b"1" * 5000, 1, 0.0, False),
        (b"[" * 100_000, [], 0.0, False),
        (b"", None, 0.0, False),
        (b"1 1", 1, 0.0, False),
        (b"9007199254740993", 9007199254740992, 0.0, False),
    ],
)
def test_results_are_compared_as_plain_json(given, expected, tolerance, right):
    assert (result_fault(given, expected, tolerance) == "") is right
