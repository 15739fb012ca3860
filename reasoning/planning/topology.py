"""TPU topologies on machines without a TPU: real device descriptions that programs are compiled for ahead of time."""

import importlib.util
from collections.abc import Sequence
from typing import Any

from jax.experimental import topologies

from reasoning.core.errors import InputError

CLOUD_NAMES = {
    "v5litepod-1": "v5e:1x1",
    "v5litepod-4": "v5e:2x2",
    "v5litepod-16": "v5e:4x4",
    "v5litepod-256": "v5e:16x16",
    "v6e-4": "v6e:2x2",
    "v6e-256": "v6e:16x16",
    "v4-8": "v4:2x2x1",
    "v5p-8": "v5p:2x2x1",
    "v5p-128": "v5p:4x4x4",
    "v5p-512": "v5p:8x8x4",
    "tpu7x-8": "tpu7x:2x2x1",
}
"""The names that clouds rent by -> the compiler's; v4 and v5p count two cores a chip in theirs."""


def libtpu_is_installed() -> bool:
    """Whether this Python has libtpu, without which nothing can be compiled for a TPU."""
    return importlib.util.find_spec("libtpu") is not None


def topology_devices(name: str) -> Sequence[Any]:
    """The devices of ``v5e:4x4`` and the like (or of a cloud's name), to build a mesh of.

    Raises InputError where libtpu is missing or the compiler doesn't know the topology.
    """
    if not libtpu_is_installed():
        raise InputError(f"compiling for {name} needs libtpu, which is not installed; pip install 'reasoning-jax[tpu]'")
    try:
        topology = topologies.get_topology_desc(platform="tpu", topology_name=CLOUD_NAMES.get(name, name))
    except Exception as error:
        raise InputError(
            f"libtpu does not know the topology {name!r} ({str(error).splitlines()[0]}); "
            f"use a form like v5e:4x4 or one of {', '.join(CLOUD_NAMES)}"
        ) from error
    return topology.devices
