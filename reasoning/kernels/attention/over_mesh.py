"""Attention whose rows, heads and time are cut over a mesh: each device computes queries of its own.

Shapes: B batch, T time, S keys, H query heads, K key/value heads, C channels.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from reasoning.core.mesh import partition

_CONTEXT = "context"

Local = Callable[..., jax.Array]
"""``(query_BTHC, key_BKSC, value_BKSc, segments_BS, places_T, *extra) -> mixed_BTHc``: the queries at those places."""


def query_order(length: int, devices: int, unit: int) -> np.ndarray:
    """The places of all queries [T], those of the first device first: who computes what where time is cut.

    A causal query reads all keys before it, so of 2 n equal parts device i has parts i and 2 n - 1 - i, and all have
    the same work. Parts are whole numbers of ``unit`` queries; where they can't be, each device has n-ths in order.
    """
    if devices == 1 or length % (2 * devices * unit):
        return np.arange(length)
    parts = np.arange(length).reshape(2 * devices, -1)
    # The even part first, as it comes from the exchange.
    mine = [sorted((one, 2 * devices - 1 - one), key=lambda part: part % 2) for one in range(devices)]
    return parts[np.asarray(mine)].reshape(-1)


def by_head(sinks_H: jax.Array | None) -> tuple[tuple[Any, Any], ...]:
    """Sinks as what ``over_mesh`` takes beside the rest: each device gets those of its heads."""
    return () if sinks_H is None else ((sinks_H, partition(("heads",))),)


def over_mesh(
    mesh: Mesh | None,
    local: Local,
    query_BTHC: jax.Array,
    key_BKSC: jax.Array,
    value_BKSc: jax.Array,
    segments_BT: jax.Array,
    unit: int,
    extra: tuple[tuple[Any, Any], ...] = (),
) -> jax.Array:
    """``local`` on every device, for its rows, its heads and its queries; ``extra`` are (array, spec) pairs.

    Where time is cut over ``context``, each device gathers the keys and values of its rows and heads, which with
    grouped heads are a fraction of the queries; gradients of gathered keys are summed and scattered again. Queries
    change places so that each device has as much to do (``query_order``), and what they give goes back.
    """
    values, specs = [value for value, _ in extra], tuple(spec for _, spec in extra)
    length = query_BTHC.shape[1]
    if mesh is None or mesh.size == 1:
        return local(query_BTHC, key_BKSC, value_BKSc, segments_BT, jnp.arange(length), *values)
    by_time = ("batch", "time", "heads", None)
    by_key_head = ("batch", "kv_heads", "time", None)
    devices = mesh.shape[_CONTEXT]
    order = query_order(length, devices, unit)
    moved = bool(np.any(order != np.arange(length)))

    def each(query: jax.Array, key: jax.Array, value: jax.Array, segments: jax.Array, *rest: Any) -> jax.Array:
        if devices == 1:
            return local(query, key, value, segments, jnp.arange(length), *rest)
        key, value = (jax.lax.all_gather(one, _CONTEXT, axis=2, tiled=True) for one in (key, value))
        segments = jax.lax.all_gather(segments, _CONTEXT, axis=1, tiled=True)
        places = jnp.asarray(order, jnp.int32).reshape(devices, -1)[jax.lax.axis_index(_CONTEXT)]
        query = _dealt(query, devices) if moved else query
        mixed = local(query, key, value, segments, places, *rest)
        return _returned(mixed, devices) if moved else mixed

    # Unchecked, since a Pallas kernel's results don't say over which axes they differ.
    run = jax.shard_map(
        each,
        mesh=mesh,
        in_specs=(*map(partition, (by_time, by_key_head, by_key_head, ("batch", "time"))), *specs),
        out_specs=partition(by_time),
        check_vma=False,
    )
    return run(query_BTHC, key_BKSC, value_BKSc, segments_BT, *values)


def _exchanges(devices: int) -> list[list[tuple[int, int]]]:
    """From whom to whom the even parts go, and the odd ones: device i begins with parts 2 i and 2 i + 1."""
    owners = [min(part, 2 * devices - 1 - part) for part in range(2 * devices)]
    return [list(enumerate(owners[parity::2])) for parity in (0, 1)]


def _dealt(x_BTHC: jax.Array, devices: int) -> jax.Array:
    """A device's part in the order of time -> its part in that of ``query_order``."""
    halves = jnp.split(x_BTHC, 2, axis=1)
    moved = [jax.lax.ppermute(half, _CONTEXT, way) for half, way in zip(halves, _exchanges(devices), strict=True)]
    return jnp.concatenate(moved, axis=1)


def _returned(x_BTHC: jax.Array, devices: int) -> jax.Array:
    """The way back of ``_dealt``."""
    back = [[(there, here) for here, there in way] for way in _exchanges(devices)]
    halves = jnp.split(x_BTHC, 2, axis=1)
    return jnp.concatenate(
        [jax.lax.ppermute(half, _CONTEXT, way) for half, way in zip(halves, back, strict=True)], axis=1
    )
