"""Softmax attention written down as products, in the forms that backends are fast at.

Shapes: B batch, T time, S length of keys, H query heads, K key/value heads, C head size, X queries of a key head.
"""

from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from reasoning.core import processor
from reasoning.models.config import ModelConfig

Form = Literal["plain", "keys first", "by query"]

_FEW_QUERIES = 8


@jax.custom_vjp
def _softmax(scores: jax.Array) -> jax.Array:
    """Softmax over the last axis, whose backward pass reads the weights and nothing else: w * (g - sum(w * g))."""
    # With the two choices in ``attend`` a third faster, forward and backward, than what JAX derives (CPU, docs/LOG.md).
    return jax.nn.softmax(scores, axis=-1)


def _softmax_forward(scores: jax.Array) -> tuple[jax.Array, jax.Array]:
    weights = jax.nn.softmax(scores, axis=-1)
    return weights, weights


def _softmax_backward(weights: jax.Array, upstream: jax.Array) -> tuple[jax.Array]:
    scaled = weights * upstream
    return (scaled - weights * jnp.sum(scaled, axis=-1, keepdims=True),)


_softmax.defvjp(_softmax_forward, _softmax_backward)


def _scores(grouped: jax.Array, key_BKSC: jax.Array) -> jax.Array:
    return jnp.einsum("bkxc,bksc->bkxs", grouped, key_BKSC, preferred_element_type=jnp.float32)


def _scores_keys_first(grouped: jax.Array, key_BKSC: jax.Array) -> jax.Array:
    """The same as ``[S, C] x [C, X]``, which Eigen does faster than ``[X, C] x [C, S]`` in float32 (docs/LOG.md)."""
    # XLA would put transpositions into the product, and make of it what it was.
    queries = jax.lax.optimization_barrier(grouped.swapaxes(2, 3))
    scores = jnp.einsum("bksc,bkcx->bksx", key_BKSC, queries, preferred_element_type=jnp.float32)
    return jax.lax.optimization_barrier(scores).swapaxes(2, 3)


def _scores_by_query(grouped: jax.Array, key_BKSC: jax.Array) -> jax.Array:
    """The same by a product for each of a few queries: YNNPACK takes twice as long for them together (docs/LOG.md)."""
    queries = (grouped[:, :, number : number + 1] for number in range(grouped.shape[2]))
    return jnp.concatenate([_scores(query, key_BKSC) for query in queries], axis=2)


_SCORES = {"plain": _scores, "keys first": _scores_keys_first, "by query": _scores_by_query}


def attend(
    query_BTHC: Float[Array, "B T H C"],
    key_BKSC: Float[Array, "B K S C"],
    value_BKSc: Float[Array, "B K S c"],
    mask_BTS: Bool[Array, "B T S"],
    config: ModelConfig,
    sinks_H: Float[Array, " H"] | None = None,
    form: Form = "plain",
) -> Float[Array, "B T H c"]:
    """Softmax attention with grouped queries: head h reads key head h // (H / K). Softmax in float32.

    Each query must be allowed at least one key. The config gives the scale and a soft cap (Gemma 2, arXiv 2408.00118).
    Weights are rounded to the queries' type, whatever wider one keys and values come in.
    A head's sink is one more score, of a key whose value is 0 (arXiv 2309.17453, eq. 2). ``form`` says how the
    products are written down, for a few queries and XLA's CPU compiler; it changes no number but its last bits.
    """
    batch, time, heads, channels = query_BTHC.shape
    key_heads, length = key_BKSC.shape[1], key_BKSC.shape[2]
    # The scale goes into the queries, which are far fewer numbers than the scores.
    scaled_BHTC = (query_BTHC * config.score_scale).swapaxes(1, 2)
    # The G query heads of a key head become further rows of one product [G * T, C] x [C, S], so keys aren't repeated.
    grouped = scaled_BHTC.reshape(batch, key_heads, -1, channels)
    scores = _SCORES[form](grouped.astype(key_BKSC.dtype), key_BKSC)
    if config.attention_soft_cap:
        scores = config.attention_soft_cap * jnp.tanh(scores / config.attention_soft_cap)
    # Added, not selected, so backward needs no mask. Finite, since a row of nothing but -inf would give NaN.
    bias_BTS = jnp.where(mask_BTS, 0.0, -1e30)
    biased = scores.reshape(batch, key_heads, -1, time, length) + bias_BTS[:, None, None]
    if sinks_H is not None:
        sinks = sinks_H.astype(jnp.float32).reshape(1, key_heads, -1, 1, 1)
        biased = jnp.concatenate([biased, jnp.broadcast_to(sinks, (*biased.shape[:4], 1))], axis=-1)
    weights = jnp.asarray(_softmax(biased))[..., :length]
    weights = weights.reshape(batch, key_heads, -1, length).astype(query_BTHC.dtype).astype(value_BKSc.dtype)
    if form == "keys first":
        mixed = jnp.einsum("bksx,bksc->bkxc", jax.lax.optimization_barrier(weights.swapaxes(2, 3)), value_BKSc)
    else:
        mixed = jnp.einsum("bkxs,bksc->bkxc", weights, value_BKSc)
    return mixed.astype(query_BTHC.dtype).reshape(batch, heads, time, -1).swapaxes(1, 2)


def form_on_cpu(query_BTHC: jax.Array, value_BKSc: jax.Array) -> Form:
    """The ``form`` of ``attend`` for a cache on a CPU; other than plain for one new token of grouped queries."""
    group = query_BTHC.shape[2] // value_BKSc.shape[1]
    if query_BTHC.shape[1] > 1 or group == 1 or value_BKSc.dtype != jnp.float32:
        return "plain"
    if not processor.has("avx512f"):
        return "keys first"
    return "by query" if group <= _FEW_QUERIES else "plain"
