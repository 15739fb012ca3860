"""Many attempts at damaged input, each answered in time and in little memory; see ``test_hostile_inputs.py``."""

import faulthandler
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

from reasoning.core.errors import InputError

MUTATIONS = int(os.environ.get("HOSTILE_MUTATIONS", "25"))
SEED = int(os.environ.get("HOSTILE_SEED", "0"))
SECONDS = 20
LONGEST = 20_000
GROWTH = 1 << 30
"""Bytes by which the process may be larger at any moment of all attempts than it was before the first."""


@contextmanager
def within(seconds: int) -> Iterator[None]:
    """Raises TimeoutError where the block takes longer; ends the process where a library doesn't give way to that."""

    def stop(number: int, frame: object) -> None:
        raise TimeoutError(f"still at work after {seconds} s")

    earlier = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    faulthandler.dump_traceback_later(2 * seconds, exit=True)
    began = time.monotonic()
    try:
        yield
        if time.monotonic() - began >= seconds:
            stop(0, None)
    finally:
        faulthandler.cancel_dump_traceback_later()
        signal.alarm(0)
        signal.signal(signal.SIGALRM, earlier)


def check_each(kind: str, attempt: Callable[[Random], object]) -> None:
    """Makes the attempt with each seed: it succeeds or raises InputError with a message that can be read."""
    Path("/proc/self/clear_refs").write_text("5")  # from here on the kernel looks for the peak anew
    before = _bytes("VmRSS")
    for seed in range(SEED, SEED + MUTATIONS):
        again = f"HOSTILE_SEED={seed} HOSTILE_MUTATIONS=1 makes it again ({kind})"
        try:
            with within(SECONDS):
                try:
                    attempt(Random(f"{kind} {seed}"))
                except InputError as error:
                    assert len(str(error)) < LONGEST
            assert _bytes("VmHWM") - before < GROWTH
        except Exception as error:
            error.add_note(again)
            raise


def _bytes(name: str) -> int:
    """A size that Linux counts of this process: ``VmRSS`` now, ``VmHWM`` at its largest."""
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(f"{name}:")]
    return int(line.split()[1]) << 10
