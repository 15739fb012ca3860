import os
import signal
import sys
import threading
import time

import pytest

from reasoning.core.signals import beside, send_again


def test_gives_and_raises_what_the_call_does():
    assert beside(lambda: 3) == 3
    with pytest.raises(ZeroDivisionError):
        beside(lambda: 1 / 0)


def test_a_signal_is_heard_while_the_call_goes_on():
    def leave(number, frame):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, leave)
    release = threading.Event()
    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGTERM)).start()
    try:
        with pytest.raises(KeyboardInterrupt):
            beside(release.wait)
    finally:
        release.set()
        signal.signal(signal.SIGTERM, before)


class Finalized:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)


class Failing:
    def __del__(self):
        raise ZeroDivisionError


def test_a_signal_is_sent_again_where_python_dropped_what_its_handler_raised(monkeypatch):
    """And no traceback of it is shown, as there is of everything else that is dropped."""
    shown: list[object] = []
    monkeypatch.setattr("sys.unraisablehook", usual := lambda report: shown.append(type(report.exc_value)))
    heard = threading.Event()

    def leave(number, frame):
        send_again(number, heard.is_set)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, leave)
    try:
        Finalized()
        Failing()
        with pytest.raises(KeyboardInterrupt):
            time.sleep(60)
    finally:
        heard.set()
        signal.signal(signal.SIGTERM, before)
    assert shown == [ZeroDivisionError]
    while sys.unraisablehook is not usual:
        time.sleep(0.05)


def test_a_signal_that_was_heard_is_not_sent_again():
    came = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: came.append(number))
    try:
        send_again(signal.SIGTERM, lambda: bool(came.append("asked")) or True)
        while not came:
            time.sleep(0.01)
        time.sleep(0.05)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert came == ["asked"]
