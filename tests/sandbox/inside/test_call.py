import json

import pytest

from reasoning.sandbox.inside import call
from tests.support.inside import ran


@pytest.mark.parametrize(
    ("source", "function", "result"),
    [
        ("def f(a, b): return {'sum': a + b, 'pair': (a, b)}", "f", {"sum": 3, "pair": [1, 2]}),
        ("class Solution:\n  def f(self, a, b): return a < b", "Solution.f", True),
        ("import threading, time\ndef f(a, b):\n  threading.Thread(target=time.sleep, args=(99,)).start()", "f", None),
        ("def f(a, b): return 1\nif __name__ == '__main__': input()", "f", 1),
    ],
)
def test_a_result_is_written_down(source, function, result):
    done, written = ran(call.run, source, function, [1, 2])
    assert done.returncode == 0, done.stderr
    assert json.loads(written) == result


def test_a_result_that_is_no_json_is_none():
    done, written = ran(call.run, "def f(): return {1, 2}", "f", [])
    assert (done.returncode, written) == (1, b"")
    assert "a set is no JSON" in done.stderr
