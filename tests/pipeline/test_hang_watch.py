"""A process that stands still ends by itself, also where no thread of Python can run, and one that works doesn't."""

import os
import time
from collections.abc import Iterator

import forked
import pytest

from reasoning.pipeline import hang_watch as watching
from reasoning.pipeline.hang_watch import STOOD_STILL, hang_watch

PROGRAM = """
import ctypes, sys, time
from reasoning.pipeline import hang_watch as watching
watching._LATER = 0.2
def stand_still():
    {still}
with watching.hang_watch(0.9 / 60, lambda told: print("told:", told, file=sys.stderr, flush=True)) as beat:
    for _ in range(12):
        time.sleep(0.1)
        beat()
    print("worked", flush=True)
    stand_still()
"""


SLEEPS, KEEPS_THE_LOCK = "time.sleep(60)", "ctypes.PyDLL(None).sleep(60)"


@pytest.fixture(scope="module")
def standing() -> Iterator[dict[str, forked.Forked]]:
    """Both stand still side by side: it is waiting that takes the time."""
    started = {
        still: forked.start(["-c", PROGRAM.format(still=still)], os.environ) for still in (SLEEPS, KEEPS_THE_LOCK)
    }
    yield started
    for process in started.values():
        process.kill()


def test_a_process_that_stands_still_says_where_and_ends(standing: dict[str, forked.Forked]):
    said, told = standing[SLEEPS].communicate()
    assert standing[SLEEPS].returncode == STOOD_STILL
    assert said == "worked\n"
    assert "told: no step and no other progress within 0.015 minutes (run.hang_minutes)" in told
    assert "in stand_still" in told


def test_one_whose_threads_are_all_kept_from_running_ends_too(standing: dict[str, forked.Forked]):
    said, told = standing[KEEPS_THE_LOCK].communicate()
    assert standing[KEEPS_THE_LOCK].returncode != 0
    assert said == "worked\n"
    assert "in stand_still" in told


def test_nothing_is_left_of_it_behind_its_end(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(watching, "_LATER", 0.0)
    with hang_watch(0.2 / 60, lambda told: None) as beat:
        beat()
    time.sleep(0.3)  # this process would have ended by now


def test_without_minutes_nothing_is_watched():
    with hang_watch(0.0, lambda told: None) as beat:
        beat()
