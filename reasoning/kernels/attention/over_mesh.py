"""Attention whose rows, heads and time are cut over a mesh: each device computes its own queries.

Shapes: B batch, T time, H query heads, K key/value heads, C channels.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from reasoning.core.mesh import partition

Local = Callable[..., jax.Array]
"""``(query_BTHC, key_BKSC, value_BKSc, segments_BS, start, *extra) -> mixed_BTHc``: queries from ``start`` on."""


def over_mesh(
    mesh: Mesh | None,
    local: Local,
    query_BTHC: jax.Array,
    key_BKSC: jax.Array,
    value_BKSc: jax.Array,
    segments_BT: jax.Array,
    extra: tuple[tuple[Any, Any], ...] = (),
) -> jax.Array:
    """``local`` on every device, for its rows, its heads and its part of the time; ``extra`` are (array, spec) pairs.

    Where time is cut over ``context``, each device gathers the keys and values of its rows and heads, which with
    grouped heads are a fraction of the queries; gradients of gathered keys are summed and scattered again.
    """
    values, specs = [value for value, _ in extra], tuple(spec for _, spec in extra)
    if mesh is None or mesh.size == 1:
        return local(query_BTHC, key_BKSC, value_BKSc, segments_BT, jnp.int32(0), *values)
    by_time = ("batch", "time", "heads", None)
    by_head = ("batch", "kv_heads", "time", None)

    def each(query: jax.Array, key: jax.Array, value: jax.Array, segments: jax.Array, *rest: Any) -> jax.Array:
        start = jnp.int32(0)
        if mesh.shape["context"] > 1:
            start = jax.lax.axis_index("context") * query.shape[1]
            key, value = (jax.lax.all_gather(one, "context", axis=2, tiled=True) for one in (key, value))
            segments = jax.lax.all_gather(segments, "context", axis=1, tiled=True)
        return local(query, key, value, segments, start, *rest)

    # Unchecked, since a Pallas kernel's results don't say over which axes they differ.
    run = jax.shard_map(
        each,
        mesh=mesh,
        in_specs=(*map(partition, (by_time, by_head, by_head, ("batch", "time"))), *specs),
        out_specs=partition(by_time),
        check_vma=False,
    )
    return run(query_BTHC, key_BKSC, value_BKSc, segments_BT, *values)
