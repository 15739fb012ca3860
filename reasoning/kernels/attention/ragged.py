"""Attention of one new token a slot over a cache, as a Pallas kernel for TPUs that reads of a slot what the slot holds.

Slots hold texts of very different lengths, and what plain XLA reads of a cache is as much of every slot as the longest
one fills. Here the steps of the grid are a list, made from the slots' lengths before the kernel starts, of the blocks
that hold something: no block behind a slot's end is copied, nor is there a step for it. (JAX's kernel for paged
attention could take such a cache without a copy, each block a page; but it has no sinks, no keys in two parts, rounds
float32 to bfloat16, and copies no block of the next slot ahead.)

Shapes: B slots, H query heads, K key/value heads, G = H / K, S cache length, C channels of a part of keys, c of values;
W steps of one core, s places of a block.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from reasoning.kernels.attention.rule import Rule
from reasoning.kernels.pallas_tpu.tiles import TPU

_BLOCK_BYTES = 2**20
"""What a block takes of keys and values at most: a copy of that size takes longer (.6 us on a v6e, .4 on a v5p's two
cores together) than beginning a step does, about .35 us."""

_PLACES = 1024
"""Places that a block has at most: half a block is read beyond a slot's end, on average."""

_LANES = 128
_NOTHING = -1e30
"""A score below all others; finite, since -inf - -inf would give NaN."""


def block_places(leaves: Sequence[Any], key_heads: int) -> int:
    """How many places of a cache with these leaves are copied and read at a time, so many key heads of each."""
    place = sum(_padded(leaf.shape[3], 8 if _turned(leaf) else _LANES) * leaf.dtype.itemsize for leaf in leaves)
    places = min(_PLACES, max(_LANES, _BLOCK_BYTES // (place * key_heads) // _LANES * _LANES))
    return min(places, leaves[0].shape[2])


def _padded(size: int, multiple: int) -> int:
    return -(-size // multiple) * multiple


def _turned(leaf: Any) -> bool:
    """Whether a leaf [B, K, S, C] lies in a TPU's memory as [B, K, C, S], which is how XLA lays out an argument of a
    program where rows of 128 numbers would be emptier otherwise: with 64 channels half empty.

    A kernel takes arrays as they are written, so that it would get a copy of a leaf that isn't turned back.
    """
    length, channels = leaf.shape[2:]
    turned = _padded(channels, 8) * _padded(length, _LANES)
    return turned < _padded(length, 8) * _padded(channels, _LANES)


def attend(
    query_BHC: jax.Array,
    keys: Sequence[jax.Array],
    value_BKSc: jax.Array | None,
    counts_B: jax.Array,
    rule: Rule,
    sinks_H: jax.Array | None,
    tpu: TPU,
) -> jax.Array:
    """Softmax attention of one query a slot and head over the first ``counts_B`` places of its slot, [B, H, c].

    ``keys`` [B, K, S, …] are the parts of a key's channels; without values the first of them is the values too. A slot
    that holds nothing gives 0. Of the rule the window doesn't matter: a cache holds no more than may be read. Products
    are in the cache's dtype, scores and sums in float32; the result is in the cache's dtype.
    """
    slots, heads = query_BHC.shape[:2]
    key_heads, length = keys[0].shape[1], keys[0].shape[2]
    leaves = [*keys] if value_BKSc is None else [*keys, value_BKSc]
    values, turned = leaves[0 if value_BKSc is None else -1], tuple(map(_turned, leaves))
    block = block_places(leaves, key_heads)
    cores = tpu.chip.cores if slots % tpu.chip.cores == 0 else 1
    order = _steps(counts_B, cores, block, pl.cdiv(length, block))
    # The scale goes into the queries, which are far fewer numbers than the scores.
    grouped = (query_BHC * rule.scale).astype(values.dtype).reshape(slots, key_heads, heads // key_heads, -1)
    ends = [sum(key.shape[3] for key in keys[: number + 1]) for number in range(len(keys) - 1)]
    queries = jnp.split(grouped, ends, axis=-1)
    shared = [] if sinks_H is None else [sinks_H.astype(jnp.float32).reshape(key_heads, -1, 1)]

    def of_slot(array: jax.Array) -> pl.BlockSpec:
        return pl.BlockSpec((1, *array.shape[1:]), lambda core, w, slot, *_: (slot[core, w], 0, 0, 0))

    def of_cache(leaf: jax.Array, turned: bool) -> pl.BlockSpec:
        channels = leaf.shape[3]
        if turned:
            shape = (1, key_heads, channels, block)
            return pl.BlockSpec(shape, lambda core, w, slot, place, *_: (slot[core, w], 0, 0, place[core, w]))
        shape = (1, key_heads, block, channels)
        return pl.BlockSpec(shape, lambda core, w, slot, place, *_: (slot[core, w], 0, place[core, w], 0))

    result = jax.ShapeDtypeStruct((*grouped.shape[:3], values.shape[3]), values.dtype)
    by_head = (*grouped.shape[1:3],)
    kernel = partial(_attend, rule.soft_cap, len(keys), turned, block, bool(shared), length % block != 0)
    mixed = pl.pallas_call(
        kernel,
        grid_spec=pltpu.PrefetchScalarGridSpec(
            num_scalar_prefetch=4,
            # As many steps as the core with most of them has: a number that only the device knows.
            grid=(cores, jnp.max(order[2])),
            in_specs=[
                *map(of_slot, queries),
                *map(of_cache, leaves, turned),
                *(pl.BlockSpec((*by_head, 1), lambda *_: (0, 0, 0)) for _ in shared),
            ],
            out_specs=of_slot(jax.ShapeDtypeStruct(result.shape, result.dtype)),
            scratch_shapes=[pltpu.VMEM((*by_head, width), jnp.float32) for width in (1, 1, values.shape[3])],
        ),
        out_shape=result,
        compiler_params=pltpu.CompilerParams(dimension_semantics=("parallel", "arbitrary")),
        cost_estimate=_cost(heads, leaves, values.shape[3]),
        interpret=tpu.interpret,
        name="ragged_attention",
    )(
        *order,
        counts_B,
        *queries,
        *(leaf.swapaxes(2, 3) if lies else leaf for leaf, lies in zip(leaves, turned)),
        *shared,
    )
    return mixed.reshape(slots, heads, -1)


def _steps(counts_B: jax.Array, cores: int, block: int, blocks: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The slot and the block of each step, [cores, W], and how many steps each core has.

    A slot that holds nothing has a step too, which gives its result. Behind its last step a core stays where it is, so
    that nothing is copied.
    """
    counts = counts_B.reshape(cores, -1)
    each = jnp.maximum(-(-counts // block), 1)
    ends = jnp.cumsum(each, axis=1)
    totals = ends[:, -1]
    step = jnp.minimum(jnp.arange(counts.shape[1] * blocks), totals[:, None] - 1)
    slot = jnp.sum(step[:, :, None] >= ends[:, None, :], axis=2, dtype=jnp.int32)
    place = step - jnp.take_along_axis(ends - each, slot, axis=1)
    return slot + counts.shape[1] * jnp.arange(cores)[:, None], place.astype(jnp.int32), totals


def _cost(heads: int, leaves: Sequence[jax.Array], values: int) -> pl.CostEstimate:
    """Of slots that are full."""
    slots, _, length, _ = leaves[0].shape
    pairs, channels = slots * heads * length, sum(leaf.shape[3] for leaf in leaves)
    return pl.CostEstimate(
        flops=2 * pairs * (channels if len(leaves) == 2 else channels + values),
        transcendentals=pairs,
        bytes_accessed=sum(leaf.size * leaf.dtype.itemsize for leaf in leaves),
    )


def _attend(
    soft_cap: float | None,
    parts: int,
    turned: tuple[bool, ...],
    places: int,
    sunk: bool,
    ragged_end: bool,
    slot,
    place,
    totals,
    counts,
    *refs,
) -> None:
    """One block of one slot, all heads; what is kept are the largest score, the sum and the mixed values so far."""
    queries, leaves = refs[:parts], refs[parts : parts + len(turned)]
    values = -1 if len(turned) > parts else 0
    out, largest, total, mixed = refs[-4:]
    core, w = pl.program_id(0), pl.program_id(1)
    number, count = place[core, w], counts[slot[core, w]]
    first = number * places
    real, last = w < totals[core], first + places >= count

    @pl.when(number == 0)
    def _() -> None:
        # A sink is a score that was seen before, of a key whose value is 0.
        largest[...] = refs[-5][...] if sunk else jnp.full_like(largest, _NOTHING)
        total[...] = jnp.full_like(total, float(sunk))
        mixed[...] = jnp.zeros_like(mixed)

    def block(whole: bool) -> None:
        pairs = zip(queries, leaves, turned, strict=False)
        scores = sum(_product(query[0], key[0], 1 if lies else 2) for query, key, lies in pairs)
        if soft_cap is not None:
            scores = soft_cap * jnp.tanh(scores / soft_cap)
        value, along = leaves[values][0], 2 if turned[values] else 1
        if not whole:
            held = first + lax.broadcasted_iota(jnp.int32, scores.shape, 2) < count
            scores = jnp.where(held, scores, _NOTHING)
            if ragged_end:  # Behind the end of the cache may be NaN, and zero times NaN isn't zero.
                value = jnp.where(first + lax.broadcasted_iota(jnp.int32, value.shape, along) < count, value, 0)
        # The online softmax (Milakov and Gimelshein, arXiv 1805.02867).
        before = largest[...]
        now = jnp.maximum(before, jnp.max(scores, axis=2, keepdims=True))
        weights, scale = jnp.exp(scores - now), jnp.exp(before - now)
        largest[...] = now
        total[...] = scale * total[...] + jnp.sum(weights, axis=2, keepdims=True)
        mixed[...] = scale * mixed[...] + _product(weights.astype(value.dtype), value, along)

    @pl.when(real & ~last)
    def _() -> None:
        block(whole=True)

    @pl.when(real & last)
    def _() -> None:
        block(whole=False)
        out[0] = jnp.where(count > 0, mixed[...] / total[...], 0.0).astype(out.dtype)


def _product(left: jax.Array, right: jax.Array, summed: int) -> jax.Array:
    """Each key head's product of [G, x] and a block, over that axis of the block; float32 operands keep all digits."""
    precision = lax.Precision.HIGHEST if right.dtype == jnp.float32 else lax.Precision.DEFAULT
    axes = (((2,), (summed,)), ((0,), (0,)))
    return lax.dot_general(left, right, axes, precision=precision, preferred_element_type=jnp.float32)
