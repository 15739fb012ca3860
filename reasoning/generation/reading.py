"""Reading prompts into caches, long ones in pieces, so that no more is read at once than keeps a device busy.

Shapes: P prompts, T prompt time, D model width.
"""

import jax
import jax.numpy as jnp

from reasoning.models.cache import Cache, Weights
from reasoning.models.model import LanguageModel

READ_AT_ONCE = 512
"""Tokens of prompts that a device reads at once: enough to keep it busy, and few beside what it decodes."""

PIECES = "pieces"
"""Name of the loop over a long prompt's pieces, in profiles and in plans."""


def empty_cache(model: LanguageModel, rows: int, length: int) -> Cache:
    """A cache in which nothing is yet."""
    return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), model.cache_shapes(rows, length))


def read_prompts(
    model: LanguageModel, weights: Weights, tokens_PT: jax.Array, lengths_P: jax.Array, room: int
) -> tuple[jax.Array, Cache]:
    """The hidden state [P, D] of each prompt's last token, and a cache with ``room`` for so many tokens, T at least.

    Attention's scores are of a piece of a prompt and all before it. A prompt of length 0 only fills up: what is read of
    it means nothing.
    """
    rows, time = tokens_PT.shape
    pieces = -(-time // READ_AT_ONCE)
    if pieces == 1:
        # The state is the last token's, so a prompt that only fills up must have one all the same.
        return model.prefill(weights, tokens_PT, jnp.maximum(lengths_P, 1), empty_cache(model, rows, room))
    piece = -(-time // pieces)
    padded_PT = jnp.pad(tokens_PT, ((0, 0), (0, pieces * piece - time)))

    def read(now: tuple[jax.Array, jax.Array, Cache]) -> tuple[jax.Array, jax.Array, Cache]:
        start, hidden_PD, cache = now
        some = jax.lax.dynamic_slice_in_dim(padded_PT, start, piece, axis=1)
        left_P = jnp.clip(lengths_P - start, 0, piece)
        new_PD, cache = model.prefill(weights, some, left_P, cache)
        return start + piece, jnp.where(left_P[:, None] > 0, new_PD, hidden_PD), cache

    cache = empty_cache(model, rows, max(room, pieces * piece))
    shape = jax.eval_shape(model.prefill, weights, tokens_PT[:, :1], lengths_P, cache)[0]
    begun = jnp.int32(0), jnp.zeros(shape.shape, shape.dtype), cache
    longest = jnp.max(lengths_P)
    with jax.named_scope(PIECES):
        _, hidden_PD, cache = jax.lax.while_loop(lambda now: now[0] < longest, read, begun)
    # The last piece may be longer than what is left of the room; what it holds there is padding.
    return hidden_PD, jax.tree.map(
        lambda leaf, asked: leaf[tuple(map(slice, asked.shape))], cache, model.cache_shapes(rows, room)
    )
