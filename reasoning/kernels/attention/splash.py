"""Attention on TPUs by JAX's splash kernels, which skip blocks that a mask leaves empty and hold scores in VMEM.

Shapes: B batch, T time, H query heads, K key/value heads, C channels.
"""

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_kernel as kernels
from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_mask as masks
from jax.sharding import Mesh, NamedSharding

from reasoning.core.errors import InputError
from reasoning.core.mesh import partition
from reasoning.kernels.attention import branching
from reasoning.kernels.attention.over_mesh import by_head, over_mesh, query_order
from reasoning.kernels.attention.rule import Rule

_BLOCKS = (512, 256, 128)
"""Queries, and keys, that are computed at a time: the largest that a device's runs of queries divide by."""


def attend(
    query_BTHC: jax.Array,
    key_BKSC: jax.Array,
    value_BKSc: jax.Array,
    segments_BT: jax.Array,
    rule: Rule,
    sinks_H: jax.Array | None = None,
    order_BT: jax.Array | None = None,
    *,
    mesh: Mesh | None,
    interpret: bool,
) -> jax.Array:
    """Softmax attention of packed rows, [B, T, H, c]; the contract of ``backends.Attention``.

    The kernels read queries in their own dtype and have float32 scores and sums. Raises InputError where the time of a
    device is no whole number of blocks.
    """
    time = query_BTHC.shape[1]
    if order_BT is not None:
        block = branching.block_for(time, _BLOCKS)
        order_BT = jnp.pad(order_BT, ((0, 0), (0, -time % block)), constant_values=rule.shared)
        arrays = _filled(-time % block, query_BTHC, key_BKSC, value_BKSc, segments_BT)
        return _of_texts(*arrays, order_BT, rule, block, sinks_H, mesh, interpret)[:, :time]
    context = 1 if mesh is None else mesh.shape["context"]
    part = time // context
    more = -part % _BLOCKS[-1]
    if more and context > 1:
        raise InputError(
            f"rows of {time} tokens over {context} devices of mesh axis context are {part} on each, and attention on "
            f"TPUs wants multiples of {_BLOCKS[-1]}; make rows a multiple of {_BLOCKS[-1] * context} tokens long"
        )
    query_BTHC, key_BKSC, value_BKSc, segments_BT = _filled(more, query_BTHC, key_BKSC, value_BKSc, segments_BT)
    order = query_order(time + more, context, _BLOCKS[-1])
    tensor = 1 if mesh is None else mesh.shape["tensor"]
    kernel = _kernel(query_BTHC.shape[2] // tensor, order, context, rule, interpret)

    def local(
        query: jax.Array,
        key: jax.Array,
        value: jax.Array,
        segments: jax.Array,
        places: jax.Array,
        one: kernels.SplashAttentionKernel,
        *sinks: jax.Array,
    ) -> jax.Array:
        own = segments[:, places]
        scaled_BHTC = (query * rule.scale).astype(query.dtype).swapaxes(1, 2)
        each_row = jax.vmap(partial(one, sinks=sinks[0]) if sinks else one)
        mixed_BHTc: Any = each_row(scaled_BHTC, key, value, kernels.SegmentIds(own, segments))
        return jnp.swapaxes(mixed_BHTc, 1, 2)

    by_time = partition((None, "time"))  # equal for all heads
    spec = None if mesh is None or mesh.size == 1 else kernel.manual_sharding_spec(NamedSharding(mesh, by_time))
    extra = ((kernel, spec), *by_head(sinks_H))
    return over_mesh(mesh, local, query_BTHC, key_BKSC, value_BKSc, segments_BT, _BLOCKS[-1], extra)[:, :time]


def _of_texts(
    query_BTHC: jax.Array,
    key_BKSC: jax.Array,
    value_BKSc: jax.Array,
    segments_BT: jax.Array,
    order_BT: jax.Array,
    rule: Rule,
    block: int,
    sinks_H: jax.Array | None,
    mesh: Mesh | None,
    interpret: bool,
) -> jax.Array:
    """Of rows that are texts which begin alike, whole on each device."""

    def local(
        query: jax.Array,
        key: jax.Array,
        value: jax.Array,
        segments: jax.Array,
        places: jax.Array,
        order: jax.Array,
        *sinks: jax.Array,
    ) -> jax.Array:
        given = sinks[0] if sinks else None
        return branching.attend(query, key, value, segments, order, rule, block, given, interpret)

    extra = ((order_BT, partition(("batch", None))), *by_head(sinks_H))
    return over_mesh(mesh, local, query_BTHC, key_BKSC, value_BKSc, segments_BT, block, extra)


def _filled(
    more: int, query_BTHC: jax.Array, key_BKSC: jax.Array, value_BKSc: jax.Array, segments_BT: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """Rows of so many places more, which are nobody's."""
    if not more:
        return query_BTHC, key_BKSC, value_BKSc, segments_BT
    key_BKSC, value_BKSc = (jnp.pad(x, ((0, 0), (0, 0), (0, more), (0, 0))) for x in (key_BKSC, value_BKSc))
    query_BTHC = jnp.pad(query_BTHC, ((0, 0), (0, more), (0, 0), (0, 0)))
    return query_BTHC, key_BKSC, value_BKSc, jnp.pad(segments_BT, ((0, 0), (0, more)), constant_values=-1)


def _kernel(heads: int, order: np.ndarray, shards: int, rule: Rule, interpret: bool) -> kernels.SplashAttentionKernel:
    shape = (order.size, order.size)
    mask = masks.LocalMask(shape, (rule.window - 1, 0), 0) if rule.window else masks.CausalMask(shape)
    # Rows of the mask are queries in the order in which devices have them; its columns are keys in that of time.
    mask.q_sequence = order.astype(np.int32)
    # A block is one of consecutive queries of one device, so that most blocks are read whole or not at all.
    ends = np.flatnonzero(np.diff(order) != 1) + 1
    run = math.gcd(order.size // shards, *map(int, ends))
    block = next(block for block in _BLOCKS if run % block == 0)
    return kernels.make_splash_mha(
        masks.MultiHeadMask([mask] * heads),
        block_sizes=branching.square(block),
        head_shards=1,
        q_seq_shards=shards,
        attn_logits_soft_cap=rule.soft_cap,
        interpret=interpret,
    )
