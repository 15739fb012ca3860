import os
import signal
import threading

import pytest

from reasoning.core.threads import beside


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
