import json
import marshal
import os
import subprocess
import sys
from pathlib import Path

from reasoning.sandbox.inside import server

CHECKOUT = Path(__file__).resolve().parents[3]


def replies(source: str, *requests: tuple) -> list:
    """What a server of an answer replies to requests; then its input ends, and so does it."""
    asked, ask = os.pipe()
    read, write = os.pipe()
    program = f"import os; os.dup2({write}, 54); os.dup2({asked}, 55); os.dup2(54, 4); os.dup2(55, 5)\n"
    program += f"from {server.run.__module__} import run\nrun({source!r})"
    child = subprocess.Popen([sys.executable, "-c", program], pass_fds=[asked, write], cwd=CHECKOUT)
    os.close(asked)
    os.close(write)
    for request in requests:
        data = marshal.dumps(request)
        os.write(ask, len(data).to_bytes(4, "big") + data)
    os.close(ask)
    with open(read, "rb") as pipe:
        data = pipe.read()
    assert child.wait() == 0
    found = []
    while data:
        size = int.from_bytes(data[:4], "big")
        found.append(json.loads(data[4 : 4 + size]))
        data = data[4 + size :]
    return found


def test_requests_are_answered_in_order_with_values_changes_and_exceptions():
    source = "class E(ValueError): pass\ndef f(a):\n  a.append(len(a)); return a\ndef g(): raise E('no')"
    module, f, g = (..., 0), (..., 1), (..., 2)
    found = replies(
        source,
        ("getattr", [module, "f"], {}),
        ("getattr", [module, "g"], {}),
        ("call", [f, [7]], {}),
        ("call", [g], {}),
        ("getattr", [module, "h"], {}),
    )
    assert found[0] == ["value", ["object", 1], []]
    assert found[1] == ["value", ["object", 2], []]
    assert found[2] == ["value", ["list", 7, 1], [[1, ["list", 7, 1]]]]
    assert found[3][:2] == ["error", "E"]
    assert "ValueError" in found[3][2]
    assert found[4][1] == "AttributeError"
