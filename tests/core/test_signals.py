import gc
import os
import signal
import threading
import time

import pytest

from reasoning.core.signals import beside, is_dropped, send_again


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


def finalize():
    Finalized()


def collect():
    signals = [signal.SIGTERM]

    def collected(phase, info):
        while signals:
            os.kill(os.getpid(), signals.pop())

    gc.callbacks.append(collected)
    try:
        gc.collect()
    finally:
        gc.callbacks.remove(collected)


@pytest.mark.parametrize("interrupt", [finalize, collect])
def test_a_signal_where_python_drops_what_is_raised_comes_again_where_the_work_is(interrupt):
    came = []

    def leave(number, frame):
        came.append(is_dropped(frame))
        if came[-1]:
            send_again(number)
        else:
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, leave)
    try:
        with pytest.raises(KeyboardInterrupt):
            interrupt()
            time.sleep(10)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert came == [True, False]
