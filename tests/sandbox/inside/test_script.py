import pytest

from reasoning.sandbox.grading import Sandbox, grade
from reasoning.sandbox.inside import script as driver
from reasoning.sandbox.records import Job, Limits, Script
from tests.support.inside import ran

SANDBOX = Sandbox()
LIMITS = Limits(cpu_seconds=2.0, wall_seconds=60.0)
ALWAYS = """
class Always:
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    def __contains__(self, item): return True
    def __hash__(self): return 0
class Int(int):
    def __eq__(self, other): return True
    __hash__ = int.__hash__
class List(list):
    def __eq__(self, other): return True
    def __contains__(self, item): return True
class Str(str):
    def __eq__(self, other): return True
    __hash__ = str.__hash__
"""


def verdict(source: str, script: str, *names: str, setup: str = "") -> str:
    [found] = grade([Job(source, (Script(script, names or ("f",), setup),), limits=LIMITS)], SANDBOX)
    return found.verdict


@pytest.mark.parametrize(
    ("source", "script"),
    [
        ("def f(a): a.append(3); a[0][1] = 4", "a = [{1: 2}]\nf(a)\nassert a == [{1: 4}, 3]"),
        ("def f(d): d.clear(); d[(1, 2)] = {5}", "d = {1: 2}\nf(d)\nassert d == {(1, 2): {5}}"),
        ("def f(*a, **k): return a, k", "assert f(1, b'x', c=2j) == ((1, b'x'), {'c': 2j})"),
        ("def f(): raise ValueError('no')", "try:\n  f()\nexcept ValueError as e:\n  assert str(e) == 'no'\nelse: 1/0"),
        ("class E(KeyError): pass\ndef f(): raise E", "try:\n  f()\nexcept KeyError:\n  pass\nelse: assert False"),
        ("def f(): b'\\xff'.decode()", "try:\n  f()\nexcept UnicodeDecodeError:\n  pass\nelse: assert False"),
        ("def f(n):\n  for i in range(n): yield i", "assert list(f(3)) == [0, 1, 2] and sum(f(4)) == 6"),
        ("class f:\n  def __init__(s, x): s.x = x\n  def get(s): return s.x", "o = f(5)\no.x = 6\nassert o.get() == 6"),
        ("class f: pass\ndef g(): return f()", "o = g()\nassert isinstance(o, f) and o == o and o != g()"),
        ("def f(x): return f if x else None", "assert f(1) is f and f(0) is None"),
        ("def f(x):\n  print('noise'); return x", "assert f(float('inf')) == float('inf') and f(2**70) == 2**70"),
        ("def f(x): return x + 1", "assert all(f(i) == i + 1 for i in range(300))"),
    ],
)
def test_an_honest_answer_passes(source, script):
    names = [name for name in ("f", "g") if f"def {name}(" in source or f"class {name}:" in source]
    assert verdict(source, script, *names) == "passed"


@pytest.mark.parametrize(
    ("source", "script"),
    [
        (f"{ALWAYS}def f(): return Always()", "assert f() == 3"),
        (f"{ALWAYS}def f(): return Int(1)", "assert f() == 3"),
        (f"{ALWAYS}def f(): return List()", "assert f() == [3]"),
        (f"{ALWAYS}def f(): return Str()", "assert 'a' == f()"),
        (f"{ALWAYS}def f(): return Always()", "assert 3 in f()"),
        (f"{ALWAYS}def f(): return [Always()]", "assert f() == [3]"),
        ("import os\ndef f(): os._exit(0)", "assert f() == 3"),
        ("def f(): raise SystemExit(0)", "assert f() == 3"),
        ("import os\nos._exit(0)", "assert f() == 3"),
        ("def f(): raise AssertionError", "assert f() == 3"),
        ("import builtins\nbuiltins.AssertionError = None\ndef f(): return 4", "assert f() == 3"),
        ("import os\nfor i in range(3, 64):\n  try: os.write(i, b'x' * 64)\n  except OSError: pass", "assert f() == 3"),
        ("import os\ndef f(): os.write(4, bytes([255] * 8)); return 3", "assert f() == 4"),
        ("def g(): return 3", "assert f() == 3"),
    ],
)
def test_a_forged_answer_does_not(source, script):
    assert verdict(source, script) in ("wrong", "crashed")


def test_helpers_of_the_problem_are_its_own():
    answer = "def helper(x): return 0\ndef f(x): return 0"
    assert verdict(answer, "assert helper(f(3)) == 6", setup="def helper(x): return 6 - x") == "passed"
    assert verdict(answer, "assert helper(f(3)) == 6", setup="def helper(x): return 7 - x") == "wrong"


@pytest.mark.parametrize(("script", "written"), [("assert twice(2) == 4", b"word"), ("assert twice(2) == 5", b"")])
def test_the_word_is_written_after_the_last_assertion_alone(script, written):
    _, found = ran(driver.run, "def twice(x): return 2 * x", script, [], "word")
    assert found == written
