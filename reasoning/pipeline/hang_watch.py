"""A job that stands still ends, and says where it stood: pods are paid for while a collective waits for a dead host."""

import faulthandler
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

STOOD_STILL = 70
"""The exit status of a process that stood still (EX_SOFTWARE of sysexits.h): the same command goes on from there."""

_STDERR = 2  # the descriptor: it is there whatever became of sys.stderr

_LATER = 30.0
"""Seconds until the interpreter's own watchdog ends a process whose Python threads can't run any more."""

Beat = Callable[[], None]


@contextmanager
def hang_watch(minutes: float, complain: Callable[[str], None]) -> Iterator[Beat]:
    """Within it the process ends with ``STOOD_STILL`` where ``minutes`` go by without a beat (0: it never does).

    What is told first, by ``complain`` and as the stacks of all threads on stderr, is where each of them stood. Nothing
    that was saved is lost; checkpoints are whole or absent at every instant.
    """
    if not minutes:
        yield lambda: None
        return
    seconds, over = 60 * minutes, threading.Event()
    last = [time.monotonic()]

    def beat() -> None:
        last[0] = time.monotonic()

    def arm() -> None:
        # A thread in C that doesn't release the interpreter's lock keeps ours from running, but not this one.
        faulthandler.dump_traceback_later(seconds + _LATER, exit=True, file=_STDERR)

    def watch() -> None:
        while not over.wait(min(1.0, seconds / 10)):
            arm()
            if time.monotonic() - last[0] > seconds:
                complain(
                    f"no step and no other progress within {minutes:g} minutes (run.hang_minutes); the process "
                    f"ends with exit status {STOOD_STILL}, and the same command goes on from the newest checkpoint; "
                    "where each thread stood:"
                )
                faulthandler.dump_traceback(file=_STDERR, all_threads=True)
                os._exit(STOOD_STILL)

    arm()
    thread = threading.Thread(target=watch, name="hang watch", daemon=True)
    thread.start()
    try:
        yield beat
    finally:
        over.set()
        thread.join()
        faulthandler.cancel_dump_traceback_later()
