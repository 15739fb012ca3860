import json
import math

import pytest

from reasoning.core.errors import InputError
from reasoning.sandbox import wire
from reasoning.sandbox.records import Call, Job, Limits, Script, Stdio


def test_a_job_is_read_as_it_was_written():
    tests = [
        Stdio("é\ud800\n", "1", 1e-6),
        Call("f", [1, {"a": None}], [True], 0.5),
        Script("assert f()", ["f"], "x = 1"),
    ]
    job = Job("print(1)", tests, "python", Limits(1.0, 2.0, 3, 4, 5))
    data = wire.packed(wire.job_message(job))
    assert int.from_bytes(data[: wire.HEADER], "big") == len(data) - wire.HEADER
    assert wire.read_job(json.loads(data[wire.HEADER :])) == job


@pytest.mark.parametrize("result", [{1, 2}, math.nan, b"x"])
def test_a_test_that_is_no_json_is_refused(result):
    with pytest.raises(InputError, match="no JSON"):
        wire.job_message(Job("", (Call("f", [], result),)))
