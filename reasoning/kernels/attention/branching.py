"""Attention on TPUs over rows of texts that begin alike: JAX's splash kernels with masks that follow from lengths.

The kernels take lists of the blocks that are read, and ask a function which keys of a block a query may read, by a
number of the query and the key's place. Each row has lists of its own, made on the device, and a query's number says
both where it stands and where its text begins.

Shapes: R rows, U places, H query heads, K key/value heads, C channels, N blocks of a row, M that one reads at most.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_kernel as kernels
from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_mask_info as mask_info

from reasoning.kernels.attention.rule import Rule

_PLACE_BITS = 17
_PLACES, _BACK = 2**_PLACE_BITS, 2 ** (32 - _PLACE_BITS)
"""What a number of 32 bits has room for: a query's place in the row, and how far its text goes back."""


def square(block: int) -> kernels.BlockSizes:
    """As many keys as queries at a time, forward and backward."""
    return kernels.BlockSizes(
        block_q=block,
        block_kv=block,
        block_kv_compute=block,
        block_q_dkv=block,
        block_kv_dkv=block,
        block_kv_dkv_compute=block,
        block_q_dq=block,
        block_kv_dq=block,
    )


def takes(texts: int, shared: int, alone: int, together: int) -> bool:
    """``backends.Attention.branches``: where there is room in numbers, and the kernels go through no more blocks.

    They go through all pairs of blocks for the gradients of keys, since all of a row's queries read what is shared.
    """
    fits = together <= _PLACES and max(shared, alone) <= _BACK
    return fits and together**2 <= texts * (shared + alone) ** 2


def attend(
    query_RUHC: jax.Array,
    key_RKUC: jax.Array,
    value_RKUC: jax.Array,
    segments_RU: jax.Array,
    order_RU: jax.Array,
    rule: Rule,
    block: int,
    sinks_H: jax.Array | None,
    interpret: bool,
) -> jax.Array:
    """``chunked.attend`` with all of a row's queries, [R, U, H, C]; rows are whole numbers of blocks long."""
    scaled_RHUC = (query_RUHC * rule.scale).astype(query_RUHC.dtype).swapaxes(1, 2)

    def one(row: _Row) -> Any:
        kernel = _kernel(row.order, rule, block, interpret)
        # Of what texts share, what is of no segment is padding, which only padding reads.
        real = (row.segments > 0) | (jnp.arange(row.segments.size) >= rule.shared)
        sides = kernels.SegmentIds(*[real.astype(jnp.int32)] * 2)
        return kernel(row.query, row.key, row.value, sides, sinks=sinks_H)

    # One after another, since each has lists of its own.
    mixed_RHUC = jax.lax.map(one, _Row(scaled_RHUC, key_RKUC, value_RKUC, segments_RU, order_RU))
    return jnp.swapaxes(mixed_RHUC, 1, 2)


class _Row(NamedTuple):
    """Arguments of one row."""

    query: jax.Array
    key: jax.Array
    value: jax.Array
    segments: jax.Array
    order: jax.Array


def _kernel(order_U: jax.Array, rule: Rule, block: int, interpret: bool) -> kernels.SplashAttentionKernel:
    places_U = jnp.arange(order_U.size, dtype=jnp.int32)
    # How far each place is behind where its text's own part begins, or the row does.
    back_U = jnp.where(places_U < rule.shared, order_U, order_U - rule.shared)
    numbers_U = (back_U << _PLACE_BITS) | places_U
    read_NN = _read(order_U, places_U - back_U, rule, block)
    # Of what is shared, of a whole text, and of one that begins within a block.
    most = -(-rule.shared // block) + -(-rule.alone // block) + 1
    keys_NM, read_NM = (each[:, :most] for each in _listed(read_NN, 1))
    by_query = _info(keys_NM, read_NM, numbers_U)
    return kernels.SplashAttentionKernel(
        by_query,
        by_query,
        _info(*_listed(read_NN, 0), numbers_U),
        block_sizes=square(block),
        is_mqa=False,
        save_residuals=False,
        mask_value=kernels.DEFAULT_MASK_VALUE,
        attn_logits_soft_cap=rule.soft_cap,
        residual_checkpoint_name=None,
        mask_function=lambda numbers, keys: _allowed(numbers, keys, rule),
        interpret=interpret,
    )


def _info(next_NN: jax.Array, read_NN: jax.Array, numbers_U: Any) -> mask_info.MaskInfo:
    # Scalar memory is small. The library declares queries' numbers as numpy's, and takes arrays of a device.
    return mask_info.MaskInfo(next_NN.astype(jnp.int16)[None], None, read_NN.astype(jnp.int8)[None], None, numbers_U)


def _read(order_U: jax.Array, begins_U: jax.Array, rule: Rule, block: int) -> jax.Array:
    """Which blocks of keys each block of queries reads, [N, N]: what is shared, and from its first text to itself."""
    number_N = jnp.arange(order_U.size // block)
    first_N = begins_U.reshape(-1, block).min(axis=1)
    shared_from_N = jnp.zeros_like(first_N)
    if rule.window:
        shared_from_N = order_U.reshape(-1, block).min(axis=1) - rule.window + 1
        first_N = jnp.maximum(first_N, number_N * block - rule.window + 1)
    ends_N = (number_N + 1) * block
    own_NN = ends_N[None] > first_N[:, None]
    shared_NN = (number_N * block < rule.shared)[None] & (ends_N[None] > shared_from_N[:, None])
    return (number_N[None] <= number_N[:, None]) & (own_NN | shared_NN)


def _listed(read_NN: jax.Array, axis: int) -> tuple[jax.Array, jax.Array]:
    """The numbers along ``axis`` of blocks that are read, first, and which entries those are.

    What is behind them repeats the last, so that nothing is fetched for it.
    """
    count = jnp.sum(read_NN, axis=axis, keepdims=True)
    entry = jnp.arange(read_NN.shape[0]).reshape((1, -1) if axis == 1 else (-1, 1))
    numbers = jnp.argsort(~read_NN, axis=axis, stable=True)
    listed = jnp.take_along_axis(numbers, jnp.minimum(entry, count - 1), axis=axis)
    return listed, jnp.broadcast_to(entry < count, read_NN.shape)


def _allowed(numbers: jax.Array, keys: jax.Array, rule: Rule) -> jax.Array:
    """Which keys queries may read, by their numbers and the keys' places; within a kernel."""
    place, back = numbers & (_PLACES - 1), jax.lax.shift_right_logical(numbers, _PLACE_BITS)
    shared = keys < rule.shared
    allowed = (keys <= place) & (shared | (keys >= place - back))
    if not rule.window:
        return allowed
    in_text = jnp.where(shared & (place >= rule.shared), rule.shared + back, place)
    return allowed & (in_text - keys < rule.window)


def block_for(length: int, blocks: tuple[int, ...]) -> int:
    """The largest of ``blocks`` that fills a row without more than a quarter of padding, or else the smallest."""
    return next((block for block in blocks if -length % block <= length // 4), min(blocks))
