"""A program before it runs: the jitted function that a stage calls, and the shapes that it is called with."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np


@dataclass(frozen=True)
class Program:
    """One program of a stage, told before anything is there to run it on.

    ``function`` is the very object, jitted, that the stage calls, ``calls`` times from beginning to end, and
    ``arguments`` are shapes with their shardings. ``beside`` are, by name, what stays on the devices and is no
    argument. ``trips`` say how often loops turn whose number of turns only data tell, by the ``jax.named_scope`` that
    they stand in. A call processes ``tokens`` and takes ``flops`` by the formula that papers compare with.
    """

    name: str
    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    calls: float = 1.0
    tokens: int = 0
    flops: int = 0
    beside: Mapping[str, Any] = field(default_factory=dict)
    trips: Mapping[str, float] = field(default_factory=dict)


def device_bytes(tree: Any) -> int:
    """What one device holds of shapes with shardings; of those without, all of it."""
    return sum(_leaf_bytes(leaf) for leaf in jax.tree.leaves(tree))


def _leaf_bytes(leaf: Any) -> int:
    place = getattr(leaf, "sharding", None)
    shape = leaf.shape if place is None else place.shard_shape(leaf.shape)
    return int(np.prod(shape)) * leaf.dtype.itemsize
