"""Attention of one new token a slot over a cache, as a Pallas kernel for TPUs that reads of a slot what the slot holds.

Slots hold texts of very different lengths, and what plain XLA reads of a cache is as much of every slot as the longest
one fills. Here the steps of the grid are a list, made from the slots' lengths before the kernel starts, of the blocks
that hold something: no block behind a slot's end is copied, nor is there a step for it. (JAX's kernel for paged
attention could read such a cache without a copy, a page a block; but it has no sinks, wants keys and values of one
size, so no latents, and rounds float32 to bfloat16.)

Shapes: B slots, H query heads, K key/value heads, G = H / K, S cache length, C channels of a part of keys, c of values;
W steps of one core, s places of a block.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from reasoning.kernels.attention.rule import Rule
from reasoning.kernels.pallas_tpu.tiles import TPU

_BLOCK_BYTES = 2**20
"""What a block takes of keys and values at most. By the chips' published best its copy takes 1.3 us on a v5e, .6 on a
v6e, .4 on a v5p, .3 on a tpu7x; beginning a step takes some .35."""

_BLOCKS = 4
"""Blocks that a cache has at least, of which half of one is read beyond a slot's end, on average."""

_UNIT = 128
"""A block has a multiple of so many places, whose scores then fill rows of registers."""

_LANES = 128
_NOTHING = -1e30
"""A score below all others; finite, since -inf - -inf would give NaN."""


@dataclass(frozen=True)
class _Call:
    """What is static: the keys' parts, a block's places, and whether the last block sticks out behind the cache."""

    soft_cap: float | None
    parts: int
    places: int
    ragged_end: bool


def slot_bytes(leaves: Sequence[Any], key_heads: int) -> int:
    """What so many key heads of a slot take of memory in a cache with these leaves, with what fills rows up."""
    return _place_bytes(leaves, key_heads) * leaves[0].shape[2]


def block_places(leaves: Sequence[Any], key_heads: int) -> int:
    """How many places of such a cache are copied and read at a time."""
    length = leaves[0].shape[2]
    most = min(_BLOCK_BYTES // _place_bytes(leaves, key_heads), length // _BLOCKS)
    return min(max(most // _UNIT * _UNIT, _UNIT), length)


def _place_bytes(leaves: Sequence[Any], key_heads: int) -> int:
    # Rows of 128 numbers are filled up, in memory too: an engine's loop carries a cache as it is written here, with the
    # channels along rows, whichever kind of attention reads it.
    return key_heads * sum(-(-leaf.shape[3] // _LANES) * _LANES * leaf.dtype.itemsize for leaf in leaves)


def attend(
    query_BHC: jax.Array,
    leaves: Sequence[jax.Array],
    counts_B: jax.Array,
    rule: Rule,
    sinks_H: jax.Array | None,
    tpu: TPU,
) -> jax.Array:
    """Softmax attention of one query a slot and head over the first ``counts_B`` places of its slot, [B, H, c].

    The cache's ``leaves`` [B, K, S, …] are the parts of a key's channels, as many as make up a query's, and then the
    values; where there is no further leaf the first part is the values too. A slot that holds nothing gives 0. Of the
    rule the window doesn't matter: a cache holds no more than may be read. Products are in the cache's dtype, scores
    and sums in float32; the result is in the cache's dtype.
    """
    slots, heads = query_BHC.shape[:2]
    key_heads, length = leaves[0].shape[1:3]
    ends = list(accumulate(leaf.shape[3] for leaf in leaves))
    parts = ends.index(query_BHC.shape[2]) + 1
    values = leaves[parts % len(leaves)]
    places = block_places(leaves, key_heads)
    call = _Call(rule.soft_cap, parts, places, length % places != 0)
    # The scale goes into the queries, which are far fewer numbers than the scores.
    grouped_BKGC = (query_BHC * rule.scale).astype(values.dtype).reshape(slots, key_heads, heads // key_heads, -1)
    queries = jnp.split(grouped_BKGC, ends[: parts - 1], axis=-1)
    by_head = grouped_BKGC.shape[1:3]
    # A sink is a score that was seen before all others, of a key whose value is 0.
    begun_KG1 = (jnp.full(heads, _NOTHING) if sinks_H is None else sinks_H).astype(jnp.float32).reshape(*by_head, 1)
    result = jax.ShapeDtypeStruct((slots, *by_head, values.shape[3]), values.dtype)
    cores = tpu.chip.cores if slots % tpu.chip.cores == 0 else 1
    steps = _steps(counts_B, cores, places, pl.cdiv(length, places))
    mixed = pl.pallas_call(
        partial(_attend, call),
        grid_spec=pltpu.PrefetchScalarGridSpec(
            num_scalar_prefetch=4,
            # As many steps as the core with most of them has: a number that only the device knows.
            grid=(cores, jnp.max(steps[2])),
            in_specs=[
                *map(_of_slot, queries),
                *(_of_block(leaf, places) for leaf in leaves),
                pl.BlockSpec(begun_KG1.shape, lambda *_: (0, 0, 0)),
            ],
            out_specs=_of_slot(result),
            scratch_shapes=[pltpu.VMEM((*by_head, width), jnp.float32) for width in (1, 1, values.shape[3])],
        ),
        out_shape=result,
        # Two cores of a device have slots of their own.
        compiler_params=pltpu.CompilerParams(dimension_semantics=("parallel", "arbitrary")),
        cost_estimate=_cost(heads * (query_BHC.shape[2] + values.shape[3]), heads, leaves),
        interpret=tpu.interpret,
        name="ragged_attention",
    )
    return mixed(*steps, counts_B, *queries, *leaves, begun_KG1).reshape(slots, heads, -1)


def _of_slot(array: Any) -> pl.BlockSpec:
    """All of a step's slot."""
    return pl.BlockSpec((1, *array.shape[1:]), lambda core, w, slot, *_: (slot[core, w], 0, 0, 0))


def _of_block(leaf: Any, places: int) -> pl.BlockSpec:
    """A step's block of a cache."""
    shape = (1, leaf.shape[1], places, leaf.shape[3])
    return pl.BlockSpec(shape, lambda core, w, slot, block, *_: (slot[core, w], 0, block[core, w], 0))


def _steps(counts_B: jax.Array, cores: int, places: int, blocks: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The slot and the block of each step, [cores, W], and how many steps each core has.

    A slot that holds nothing has a step too, which gives its result. Behind its last step a core stays where it is, so
    that nothing is copied.
    """
    counts = counts_B.reshape(cores, -1)
    each = jnp.maximum(-(-counts // places), 1)
    ends = jnp.cumsum(each, axis=1)
    totals = ends[:, -1]
    step = jnp.minimum(jnp.arange(counts.shape[1] * blocks), totals[:, None] - 1)
    slot = jnp.sum(step[:, :, None] >= ends[:, None, :], axis=2, dtype=jnp.int32)
    block = step - jnp.take_along_axis(ends - each, slot, axis=1)
    return slot + counts.shape[1] * jnp.arange(cores)[:, None], block, totals


def _cost(channels: int, heads: int, leaves: Sequence[jax.Array]) -> pl.CostEstimate:
    """What the kernel takes where slots are full, with so many ``channels`` of all heads' queries and values."""
    places = leaves[0].shape[0] * leaves[0].shape[2]
    return pl.CostEstimate(
        flops=2 * places * channels,
        transcendentals=places * heads,
        bytes_accessed=sum(leaf.size * leaf.dtype.itemsize for leaf in leaves),
    )


def _attend(call: _Call, slot, block, totals, counts, *refs) -> None:
    """One block of one slot, all heads; what is kept are the largest score, the sum and the mixed values so far."""
    begun, out, largest, total, mixed = refs[-5:]
    queries, leaves = refs[: call.parts], refs[call.parts : -5]
    core, w = pl.program_id(0), pl.program_id(1)
    number, count = block[core, w], counts[slot[core, w]]
    first = number * call.places
    real, last = w < totals[core], first + call.places >= count

    @pl.when(number == 0)
    def _() -> None:
        largest[...] = begun[...]
        total[...] = (begun[...] > _NOTHING).astype(jnp.float32)
        mixed[...] = jnp.zeros_like(mixed)

    def attend_block(whole: bool) -> None:
        products = [_product(query[0], key[0], 2) for query, key in zip(queries, leaves, strict=False)]
        scores_KGs = products[0] if len(products) == 1 else products[0] + products[1]
        if call.soft_cap is not None:
            scores_KGs = call.soft_cap * jnp.tanh(scores_KGs / call.soft_cap)
        value = leaves[call.parts % len(leaves)][0]
        if not whole:
            scores_KGs = jnp.where(_places(scores_KGs, first, 2) < count, scores_KGs, _NOTHING)
            if call.ragged_end:  # Behind the end of the cache may be NaN, and zero times NaN isn't zero.
                value = jnp.where(_places(value, first, 1) < count, value, 0)
        # The online softmax (Milakov and Gimelshein, arXiv 1805.02867).
        before = largest[...]
        now = jnp.maximum(before, jnp.max(scores_KGs, axis=2, keepdims=True))
        weights_KGs, scale = jnp.exp(scores_KGs - now), jnp.exp(before - now)
        largest[...] = now
        total[...] = scale * total[...] + jnp.sum(weights_KGs, axis=2, keepdims=True)
        mixed[...] = scale * mixed[...] + _product(weights_KGs.astype(value.dtype), value, 1)

    @pl.when(real & ~last)
    def _() -> None:
        attend_block(whole=True)

    @pl.when(real & last)
    def _() -> None:
        attend_block(whole=False)
        out[0] = jnp.where(count > 0, mixed[...] / total[...], 0.0).astype(out.dtype)


def _places(array: jax.Array, first: Any, axis: int) -> jax.Array:
    """The place in the slot of each entry of a block."""
    return first + lax.broadcasted_iota(jnp.int32, array.shape, axis)


def _product(left: jax.Array, right: jax.Array, summed: int) -> jax.Array:
    """Each key head's product of [G, x] and a block, over that axis of the block; float32 operands keep all digits."""
    precision = lax.Precision.HIGHEST if right.dtype == jnp.float32 else lax.Precision.DEFAULT
    axes = (((2,), (summed,)), ((0,), (0,)))
    return lax.dot_general(left, right, axes, precision=precision, preferred_element_type=jnp.float32)
