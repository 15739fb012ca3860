"""Who computes attention over whole sequences on a device: XLA's own operations, chunks of them, or TPU kernels.

GPUs take the chunks: a kernel for them must be run on one before it is trusted.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import jax
from jax.sharding import Mesh

from reasoning.core.mesh import partition
from reasoning.kernels.attention import branching, chunked, splash
from reasoning.kernels.attention.decoding import Decoding, decoding_for
from reasoning.kernels.attention.over_mesh import by_head, over_mesh
from reasoning.kernels.attention.rule import Rule
from reasoning.kernels.backends import Choice, kernels_for, resolved
from reasoning.kernels.grouped import PLAIN, grouped_for

_BLOCK, _ACCELERATOR_BLOCK = 128, 512
"""Queries, and keys, that chunked attention computes at a time: on a CPU what its caches hold the scores of."""

_SHORT = 128
"""Rows of at most so many tokens make all scores at once on a CPU, where that is as fast (docs/LOG.md)."""


@dataclass(frozen=True, eq=False)
class Attention:
    """``attend(query_BTHC, key_BKSC, value_BKSc, segments_BT, rule, sinks_H=None) -> mixed_BTHc`` of packed rows.

    A segment's tokens stand together. Rows of up to ``short`` tokens make all their scores at once, by ``models``, and
    so does one new token over a cache, but where ``decoding`` takes it.

    Rows may be of texts that begin alike, by ``rule.shared`` and ``rule.alone`` and a last argument ``order_BT``, as
    ``chunked.attend`` has it. ``branches(texts, shared, alone, together)`` says whether that is sooner done than for so
    many texts in rows of their own, of ``shared`` and ``alone`` places each; together they have ``together``.
    """

    description: str
    short: int
    attend: Callable[..., jax.Array]
    branches: Callable[[int, int, int, int], bool]
    decoding: Decoding | None = None

    def __str__(self) -> str:
        return self.description


def attention_for(choice: Choice, mesh: Mesh | None) -> Attention:
    """What computes attention on the mesh's devices, by the choice that names the other kernels too.

    Raises InputError for a choice that isn't known, and for Pallas where there is no TPU.
    """
    choice, device = resolved(choice, mesh)
    if choice != "chunked":
        interpret = choice == "pallas_tpu_interpreted"
        how = ", interpreted" if interpret else ""
        over_rows = partial(splash.attend, mesh=mesh, interpret=interpret)
        return Attention(f"splash kernels{how}", 0, over_rows, branching.takes, decoding_for(choice, mesh))
    block, short = (_BLOCK, _SHORT) if device.platform == "cpu" else (_ACCELERATOR_BLOCK, 0)
    told = f"plain XLA, up to {block} tokens at a time"
    return Attention(told, short, partial(_chunked, mesh, block), partial(_branches, short))


def describe_kernels(choice: Choice, mesh: Mesh | None) -> str:
    """What computes on the mesh's devices, in words. Raises InputError for a choice that they can't follow."""
    attention = attention_for(choice, mesh)
    told = f"{kernels_for(choice, mesh)}; attention: {attention}"
    if attention.decoding is not None:
        told += f", decoding: {attention.decoding}"
    grouped = grouped_for(choice, mesh)
    return told if grouped is PLAIN else f"{told}; gradients of experts: {grouped}"


def _chunked(
    mesh: Mesh | None,
    block: int,
    query_BTHC: jax.Array,
    key_BKSC: jax.Array,
    value_BKSc: jax.Array,
    segments_BT: jax.Array,
    rule: Rule,
    sinks_H: jax.Array | None = None,
    order_BT: jax.Array | None = None,
) -> jax.Array:
    def local(
        query: jax.Array, key: jax.Array, value: jax.Array, segments: jax.Array, places: jax.Array, *rest: jax.Array
    ) -> jax.Array:
        sinks = None if sinks_H is None else rest[0]
        order = None if order_BT is None else rest[-1]
        each = _even(key.shape[2], block)
        return chunked.attend(query, key, value, segments, places, rule, each, sinks, order)

    order = () if order_BT is None else ((order_BT, partition(("batch", None))),)
    return over_mesh(mesh, local, query_BTHC, key_BKSC, value_BKSc, segments_BT, 1, (*by_head(sinks_H), *order))


def _branches(short: int, texts: int, shared: int, alone: int, together: int) -> bool:
    """By blocks it is, by two to seven times where texts are short beside ``alone``.

    All scores at once, of short rows, take less than blocks of a few texts (docs/LOG.md).
    """
    return shared + alone > short or together <= 2 * (shared + alone)


def _even(time: int, block: int) -> int:
    """Blocks as large as ``block`` at most that fill a row evenly: 96 for 192 tokens, not 128 twice, a third of it
    padding; in multiples of 8, which vector instructions like.
    """
    each = -(-time // -(-time // block))
    return -(-each // 8) * 8
