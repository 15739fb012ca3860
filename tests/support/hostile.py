"""Many attempts at damaged input, each of which must be answered in time; see ``test_hostile_inputs.py``."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random

from reasoning.core.errors import InputError

MUTATIONS = int(os.environ.get("HOSTILE_MUTATIONS", "25"))
SEED = int(os.environ.get("HOSTILE_SEED", "0"))
SECONDS = 20
LONGEST = 20_000


@contextmanager
def within(seconds: int) -> Iterator[None]:
    """Raises TimeoutError where the block takes longer."""

    def stop(number: int, frame: object) -> None:
        raise TimeoutError(f"still at work after {seconds} s")

    earlier = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, earlier)


def check_each(kind: str, attempt: Callable[[Random], object]) -> None:
    """Makes the attempt with each seed: it succeeds or raises InputError with a message that can be read."""
    for seed in range(SEED, SEED + MUTATIONS):
        began = time.monotonic()
        try:
            with within(SECONDS):
                attempt(Random(f"{kind} {seed}"))
        except InputError as error:
            again = f"HOSTILE_SEED={seed} HOSTILE_MUTATIONS=1 ({kind})"
            assert len(str(error)) < LONGEST and time.monotonic() - began < SECONDS, again
        except Exception as error:
            error.add_note(f"HOSTILE_SEED={seed} HOSTILE_MUTATIONS=1 makes it again ({kind})")
            raise
