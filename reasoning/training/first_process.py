"""What one process of a job does for all of them."""

from collections.abc import Callable

import jax
import numpy as np
from jax.experimental import multihost_utils

from reasoning.core.errors import InputError


def on_first_process(action: Callable[[], int | None]) -> int:
    """Let process 0 act and tell everybody its number; where it fails, all processes fail, and none waits forever."""
    if jax.process_count() == 1:
        return action() or 0
    # An error that only process 0 raised would leave the others waiting in the broadcast, so it is broadcast too.
    number, failure = 0, None
    if jax.process_index() == 0:
        try:
            number = action() or 0
        except (InputError, OSError) as error:
            failure = error
    number, failed = multihost_utils.broadcast_one_to_all(np.array([number, failure is not None], np.int32))
    if failure is not None:
        raise failure
    if failed:
        raise InputError("process 0 could not read or write a checkpoint; its own message says why")
    return int(number)
