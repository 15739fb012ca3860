"""A process that stands still ends by itself, also where no thread of Python can run, and one that works doesn't."""

import subprocess
import sys
import time

import pytest

from reasoning.pipeline import hang_watch as watching
from reasoning.pipeline.hang_watch import STOOD_STILL, hang_watch

PROGRAM = """
import ctypes, sys, time
from reasoning.pipeline import hang_watch as watching
watching._LATER = 0.2
def stand_still():
    {still}
with watching.hang_watch(0.3 / 60, lambda told: print("told:", told, file=sys.stderr, flush=True)) as beat:
    for _ in range(5):
        time.sleep(0.1)
        beat()
    print("worked", flush=True)
    stand_still()
"""


def ended(still: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", PROGRAM.format(still=still)], capture_output=True, text=True)


def test_a_process_that_stands_still_says_where_and_ends():
    found = ended("time.sleep(60)")
    assert found.returncode == STOOD_STILL
    assert found.stdout == "worked\n"
    assert "told: no step and no other progress within 0.005 minutes (run.hang_minutes)" in found.stderr
    assert "in stand_still" in found.stderr


def test_one_whose_threads_are_all_kept_from_running_ends_too():
    found = ended("ctypes.PyDLL(None).sleep(60)")  # keeps the interpreter's lock
    assert found.returncode != 0
    assert found.stdout == "worked\n"
    assert "in stand_still" in found.stderr


def test_nothing_is_left_of_it_behind_its_end(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(watching, "_LATER", 0.0)
    with hang_watch(0.2 / 60, lambda told: None) as beat:
        beat()
    time.sleep(0.3)  # this process would have ended by now


def test_without_minutes_nothing_is_watched():
    with hang_watch(0.0, lambda told: None) as beat:
        beat()
