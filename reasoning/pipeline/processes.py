"""Several processes, one decision: process 0 looks at files and decides, the others are told.

Files may show up late on the other hosts, and processes that decide differently would wait for each other without end.
"""

import json
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from reasoning.core.errors import InputError
from reasoning.core.hashes import hash_json


def is_main() -> bool:
    """Whether this is process 0, the only one that writes reports."""
    return jax.process_index() == 0


def agree(decide: Callable[[], Any]) -> Any:
    """Calls ``decide`` on process 0 and returns its JSON-able result on every process; also a barrier.

    An InputError on process 0 is raised on all, so that nobody is left waiting. With a single process this is a
    plain call.
    """
    if jax.process_count() == 1:
        return decide()
    message: dict[str, Any] = {}
    if is_main():
        try:
            message = {"value": decide()}
        except InputError as error:
            message = {"error": str(error)}
    message = _broadcast(message)
    if "error" in message:
        raise InputError(message["error"])
    return message["value"]


def disagreeing(value: Any) -> list[int]:
    """The processes whose JSON-able ``value`` differs from process 0's; every process gets the same answer."""
    if jax.process_count() == 1:
        return []
    digest = np.frombuffer(bytes.fromhex(hash_json(value)), np.uint8)
    gathered = np.asarray(multihost_utils.process_allgather(digest))
    return [rank for rank, other in enumerate(gathered) if not np.array_equal(other, gathered[0])]


def _broadcast(message: dict[str, Any]) -> dict[str, Any]:
    data = np.frombuffer(json.dumps(message).encode(), np.uint8)
    length = int(multihost_utils.broadcast_one_to_all(np.int32(data.size)))
    padded = np.zeros(length, np.uint8)
    if is_main():
        padded[:] = data
    return json.loads(multihost_utils.broadcast_one_to_all(padded).tobytes())
