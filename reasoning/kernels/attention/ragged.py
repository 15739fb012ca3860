"""Attention of one new token a slot over a cache, as a Pallas kernel for TPUs that reads of a slot what the slot holds.

Slots hold texts of very different lengths, and what plain XLA reads of a cache is as much of every slot as the longest
one fills. Here the steps of the grid are a list, made from the slots' lengths before the kernel starts, of the blocks
that hold something: no block behind a slot's end is copied, nor is there a step for it. (JAX's kernel for paged
attention could read such a cache without a copy, a page a block; but it has no sinks, wants keys and values of one
size, so no latents, reads only channels that lie along rows, and rounds float32 to bfloat16.)

Shapes: B slots, H query heads, K key/value heads, G = H / K, S cache length, C channels of a part of keys, c of values;
W steps of one core, s places of a block.
"""

from collections.abc import Sequence
from dataclasses import dataclass
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
"""What a block takes of keys and values at most. By the chips' published best its copy takes 1.3 us on a v5e, .6 on a
v6e, .4 on a v5p, .3 on a tpu7x; beginning a step takes some .35."""

_BLOCKS = 4
"""Blocks that a cache has at least, of which half of one is read beyond a slot's end, on average."""

_UNIT = 128
"""A block has a multiple of so many places: as many numbers as a row has, along which places lie in some caches."""

_LANES, _SUBLANES = 128, 8
_NOTHING = -1e30
"""A score below all others; finite, since -inf - -inf would give NaN."""


@dataclass(frozen=True)
class _Call:
    """What is static of a kernel: the keys' parts, which of the cache's leaves lie turned, the places of a block, and
    whether the last block sticks out behind the cache.
    """

    soft_cap: float | None
    parts: int
    turned: tuple[bool, ...]
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
    channels = [(_padded(leaf.shape[3], _SUBLANES if _turned(leaf) else _LANES), leaf) for leaf in leaves]
    return key_heads * sum(padded * leaf.dtype.itemsize for padded, leaf in channels)


def _padded(size: int, multiple: int) -> int:
    return -(-size // multiple) * multiple


def _turned(leaf: Any) -> bool:
    """Whether a leaf [B, K, S, C] lies in a TPU's memory as [B, K, C, S], which is how XLA lays out an argument of a
    program where rows of 128 numbers would be emptier otherwise: with 64 channels half empty.

    A kernel takes arrays as they are written, so that it would get a copy of a leaf that isn't turned back.
    """
    length, channels = leaf.shape[2:]
    turned = _padded(channels, _SUBLANES) * _padded(length, _LANES)
    return turned < _padded(length, _SUBLANES) * _padded(channels, _LANES)


def write(cache_BKSC: jax.Array, new_BK1C: jax.Array, start_B: jax.Array) -> jax.Array:
    """A cache with one new token a slot at its own place, where that belongs in a ring.

    Written as the cache lies: XLA would else turn a leaf for a loop that writes, and back again each time it is read.
    """
    new_BK1C, start_B = new_BK1C.astype(cache_BKSC.dtype), start_B % cache_BKSC.shape[2]
    if not _turned(cache_BKSC):
        put = jax.vmap(lambda row, new, start: lax.dynamic_update_slice(row, new, (0, start, 0)))
        return put(cache_BKSC, new_BK1C, start_B)
    put = jax.vmap(lambda row, new, start: lax.dynamic_update_slice(row, new, (0, 0, start)))
    return put(cache_BKSC.swapaxes(2, 3), new_BK1C.swapaxes(2, 3), start_B).swapaxes(2, 3)


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
    values = keys[0] if value_BKSc is None else value_BKSc
    places = block_places(leaves, key_heads)
    call = _Call(rule.soft_cap, len(keys), tuple(map(_turned, leaves)), places, length % places != 0)
    # The scale goes into the queries, which are far fewer numbers than the scores.
    grouped_BKGC = (query_BHC * rule.scale).astype(values.dtype).reshape(slots, key_heads, heads // key_heads, -1)
    ends = [sum(key.shape[3] for key in keys[: number + 1]) for number in range(len(keys) - 1)]
    queries = jnp.split(grouped_BKGC, ends, axis=-1)
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
                *(_of_block(leaf, places, turned) for leaf, turned in zip(leaves, call.turned, strict=True)),
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
    taken = (leaf.swapaxes(2, 3) if turned else leaf for leaf, turned in zip(leaves, call.turned, strict=True))
    return mixed(*steps, counts_B, *queries, *taken, begun_KG1).reshape(slots, heads, -1)


def _of_slot(array: Any) -> pl.BlockSpec:
    """All of a step's slot."""
    return pl.BlockSpec((1, *array.shape[1:]), lambda core, w, slot, *_: (slot[core, w], 0, 0, 0))


def _of_block(leaf: Any, places: int, turned: bool) -> pl.BlockSpec:
    """A step's block of a cache."""
    _, key_heads, _, channels = leaf.shape
    if turned:
        shape = (1, key_heads, channels, places)
        return pl.BlockSpec(shape, lambda core, w, slot, block, *_: (slot[core, w], 0, 0, block[core, w]))
    shape = (1, key_heads, places, channels)
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
    values = 0 if len(leaves) == call.parts else -1
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
        of_keys = zip(queries, leaves, call.turned, strict=False)
        products = [_product(query[0], key[0], 1 if turned else 2) for query, key, turned in of_keys]
        scores_KGs = products[0] if len(products) == 1 else products[0] + products[1]
        if call.soft_cap is not None:
            scores_KGs = call.soft_cap * jnp.tanh(scores_KGs / call.soft_cap)
        value, along = leaves[values][0], 2 if call.turned[values] else 1
        if not whole:
            scores_KGs = jnp.where(_places(scores_KGs, first, 2) < count, scores_KGs, _NOTHING)
            if call.ragged_end:  # Behind the end of the cache may be NaN, and zero times NaN isn't zero.
                value = jnp.where(_places(value, first, along) < count, value, 0)
        # The online softmax (Milakov and Gimelshein, arXiv 1805.02867).
        before = largest[...]
        now = jnp.maximum(before, jnp.max(scores_KGs, axis=2, keepdims=True))
        weights_KGs, scale = jnp.exp(scores_KGs - now), jnp.exp(before - now)
        largest[...] = now
        total[...] = scale * total[...] + jnp.sum(weights_KGs, axis=2, keepdims=True)
        mixed[...] = scale * mixed[...] + _product(weights_KGs.astype(value.dtype), value, along)

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
