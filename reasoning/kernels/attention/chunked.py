"""Attention in plain XLA, a block of queries by a block of keys at a time, so that no array holds all scores.

The softmax is made on the way, as blocks of keys come (arXiv 1805.02867; FlashAttention, arXiv 2205.14135), and the
backward pass makes the weights again from each query's normaliser (FlashAttention-2, arXiv 2307.08691, algorithm 2).
Blocks of keys that no query of a block may read cost nothing: later ones, those beyond the window, other segments.
Of a row that is several texts which begin alike a block reads what they share, and then its own texts.

Shapes: B batch, T queries, S keys, H query heads, K key/value heads, G = H / K, C channels of queries and keys, c of
values, Q queries a block, L keys a block.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from reasoning.kernels.attention.rule import Rule, segment_starts

_MASKED = -1e30
"""The score of a key that a query may not read; finite, since -inf minus -inf would be NaN."""


class _Keys(NamedTuple):
    """Keys, values, segments and places in their texts of whole rows, padded to whole blocks."""

    key: Float[Array, "B K S C"]
    value: Float[Array, "B K S c"]
    segments: Int[Array, "B S"]
    order: Int[Array, "#B S"]


class _Queries(NamedTuple):
    """One block of queries: scaled, their segments, their places in their texts, and the blocks of keys they read.

    Those are ``shared`` ones from ``shared_first`` on, and then ``own`` ones from ``first`` on.
    """

    query: Float[Array, "B K GQ C"]
    segments: Int[Array, "B Q"]
    order: Int[Array, "#B Q"]
    shared_first: jax.Array
    shared: jax.Array
    first: jax.Array
    own: jax.Array

    @property
    def total(self) -> jax.Array:
        """How many blocks of keys are read."""
        return self.shared + self.own

    def block(self, index: jax.Array) -> jax.Array:
        """The number in the row of the block that is read in this turn."""
        return jnp.where(index < self.shared, self.shared_first + index, self.first + index - self.shared)


@partial(jax.custom_vjp, nondiff_argnums=(5, 6))
def attend(
    query_BTHC: Float[Array, "B T H C"],
    key_BKSC: Float[Array, "B K S C"],
    value_BKSc: Float[Array, "B K S c"],
    segments_BS: Int[Array, "B S"],
    places_T: Int[Array, " T"],
    rule: Rule,
    block: int,
    sinks_H: Float[Array, " H"] | None = None,
    order_BS: Int[Array, "B S"] | None = None,
) -> Float[Array, "B T H c"]:
    """Softmax attention of the T queries at those places in rows of S keys; head h reads h // (H / K).

    Scores and softmax are in float32. ``block`` is how many queries and how many keys are computed at a time. A head's
    sink is one more score, of a key whose value is 0 (arXiv 2309.17453, eq. 2). ``order_BS`` is where in its own text
    each place of a row stands, where several texts share what they begin with; else where it stands in the row.
    """
    return _forward(query_BTHC, key_BKSC, value_BKSc, segments_BS, places_T, rule, block, sinks_H, order_BS)[0]


def _forward(
    query_BTHC: jax.Array,
    key_BKSC: jax.Array,
    value_BKSc: jax.Array,
    segments_BS: jax.Array,
    places_T: jax.Array,
    rule: Rule,
    block: int,
    sinks_H: jax.Array | None,
    order_BS: jax.Array | None,
) -> tuple[jax.Array, tuple]:
    """Beside the result what the backward pass reads: the arguments, the result, and each query's normaliser."""
    keys = _padded(key_BKSC, value_BKSc, segments_BS, order_BS, block)
    queries = _blocks(query_BTHC, segments_BS, order_BS, places_T, rule, block, key_BKSC.shape[1])
    channels = value_BKSc.shape[3]

    def of_queries(_: None, one: _Queries) -> tuple[None, tuple[jax.Array, jax.Array]]:
        def body(index: jax.Array, now: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
            largest, total, mixed = now
            number = one.block(index)
            part = _slice(keys, number, block)
            scores = _scores(one, part, number, rule, block)
            higher = jnp.maximum(largest, scores.max(axis=-1))
            weights = jnp.exp(scores - higher[..., None])
            shrunk = jnp.exp(largest - higher)
            products = jnp.einsum(
                "bkxs,bksc->bkxc", weights.astype(part.value.dtype), part.value, preferred_element_type=jnp.float32
            )
            return higher, total * shrunk + weights.sum(axis=-1), mixed * shrunk[..., None] + products

        rows = one.query.shape[:3]
        if sinks_H is None:
            empty = jnp.full(rows, _MASKED, jnp.float32), jnp.zeros(rows), jnp.zeros((*rows, channels))
        else:  # as after a key of that score whose value is 0
            empty = _by_query(sinks_H, rows), jnp.ones(rows), jnp.zeros((*rows, channels))
        largest, total, mixed = jax.lax.fori_loop(0, one.total, body, empty)
        return None, ((mixed / total[..., None]).astype(value_BKSc.dtype), largest + jnp.log(total))

    mixed, normalisers = jax.lax.scan(of_queries, None, queries)[1]
    result = _joined(mixed, query_BTHC.shape[1], query_BTHC.shape[2])
    return result, (query_BTHC, key_BKSC, value_BKSc, segments_BS, places_T, sinks_H, order_BS, mixed, normalisers)


def _backward(rule: Rule, block: int, saved: tuple, upstream_BTHc: jax.Array) -> tuple:
    query_BTHC, key_BKSC, value_BKSc, segments_BS, places_T, sinks_H, order_BS, mixed, normalisers = saved
    keys = _padded(key_BKSC, value_BKSc, segments_BS, order_BS, block)
    queries = _blocks(query_BTHC, segments_BS, order_BS, places_T, rule, block, key_BKSC.shape[1])
    upstream = _split(upstream_BTHc, block, key_BKSC.shape[1])
    # sum(p * dp) of a query is its result times what comes from above (FlashAttention-2, section 3.1.2).
    inner = jnp.sum(mixed.astype(jnp.float32) * upstream, axis=-1)

    def of_queries(sums: tuple[jax.Array, jax.Array], each: tuple) -> tuple[tuple[jax.Array, jax.Array], jax.Array]:
        one, above, normaliser, product = each

        def body(index: jax.Array, now: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
            d_query, d_key, d_value = now
            number = one.block(index)
            part = _slice(keys, number, block)
            scores = _scores(one, part, number, rule, block)
            weights = jnp.exp(scores - normaliser[..., None])
            product_of = partial(jnp.einsum, preferred_element_type=jnp.float32)
            d_weights = product_of("bkxc,bksc->bkxs", above, part.value)
            d_scores = weights * (d_weights - product[..., None])
            if rule.soft_cap:
                # Of masked scores the weight is 0, and so is this, whatever their distance from the cap.
                d_scores = jnp.where(weights > 0, d_scores * (1 - jnp.square(scores / rule.soft_cap)), 0.0)
            narrow = d_scores.astype(part.key.dtype)
            new_value = product_of("bkxs,bkxc->bksc", weights.astype(above.dtype), above)
            new_key = product_of("bkxs,bkxc->bksc", narrow, one.query)
            d_query = d_query + product_of("bkxs,bksc->bkxc", narrow, part.key)
            return d_query, _added(d_key, new_key, number, block), _added(d_value, new_value, number, block)

        start = jnp.zeros(one.query.shape), *sums
        d_query, d_key, d_value = jax.lax.fori_loop(0, one.total, body, start)
        return (d_key, d_value), d_query

    zeros = jnp.zeros(keys.key.shape), jnp.zeros(keys.value.shape)
    sums, d_query = jax.lax.scan(of_queries, zeros, (queries, upstream.astype(value_BKSc.dtype), normalisers, inner))
    length = key_BKSC.shape[2]
    d_key, d_value = (each[:, :, :length] for each in sums)
    d_query = _joined(d_query, query_BTHC.shape[1], query_BTHC.shape[2]) * rule.scale
    gradients = d_query.astype(query_BTHC.dtype), d_key.astype(key_BKSC.dtype), d_value.astype(value_BKSc.dtype)
    return *gradients, None, None, _of_sinks(sinks_H, normalisers, inner), None


def _of_sinks(sinks_H: jax.Array | None, normalisers: jax.Array, inner: jax.Array) -> jax.Array | None:
    """The gradient of the sinks, from each query's normaliser and ``inner`` [T / Q, B, K, G * Q]."""
    if sinks_H is None:
        return None
    # A sink's value is 0, so of w * (dw - sum(w * dw)) the second part is left. Queries that fill a block up have 0 in
    # ``inner``.
    of_queries = -jnp.exp(_by_query(sinks_H, normalisers.shape[1:]) - normalisers) * inner
    by_head = of_queries.reshape(*of_queries.shape[:2], sinks_H.size, -1)
    return by_head.sum(axis=(0, 1, 3)).astype(sinks_H.dtype)


def _by_query(sinks_H: jax.Array, rows: tuple[int, ...]) -> jax.Array:
    """Each query's sink, float32 [B, K, G * Q]."""
    by_head_KG = sinks_H.astype(jnp.float32).reshape(rows[1], -1)
    return jnp.broadcast_to(jnp.repeat(by_head_KG, rows[2] // by_head_KG.shape[1], axis=1), rows)


attend.defvjp(_forward, _backward)


def _scores(one: _Queries, part: _Keys, number: jax.Array, rule: Rule, block: int) -> jax.Array:
    """Scores [B, K, G * Q, L] of a block of queries and one of keys."""
    scores = jnp.einsum("bkxc,bksc->bkxs", one.query, part.key, preferred_element_type=jnp.float32)
    if rule.soft_cap:
        scores = rule.soft_cap * jnp.tanh(scores / rule.soft_cap)
    together_BQL = rule.together(one.segments, part.segments, number * block + jnp.arange(block))
    allowed_BQL = together_BQL & rule.allowed(one.order, part.order)
    by_query = scores.reshape(*scores.shape[:2], -1, block, block)
    return jnp.where(allowed_BQL[:, None, None], by_query, _MASKED).reshape(scores.shape)


def _order(order_BS: jax.Array | None, length: int) -> jax.Array:
    """Where in its text each place stands: where it stands in the row, where nothing else is told."""
    return jnp.arange(length)[None] if order_BS is None else order_BS


def _padded(key: jax.Array, value: jax.Array, segments: jax.Array, order: jax.Array | None, block: int) -> _Keys:
    more = -key.shape[2] % block
    wide = ((0, 0), (0, 0), (0, more), (0, 0))
    # Of no token's segment, so nobody reads what fills a block up.
    segments = jnp.pad(segments, wide[1:3], constant_values=-1)
    return _Keys(jnp.pad(key, wide), jnp.pad(value, wide), segments, jnp.pad(_order(order, key.shape[2]), wide[1:3]))


def _slice(keys: _Keys, number: jax.Array, block: int) -> _Keys:
    key, value = (jax.lax.dynamic_slice_in_dim(each, number * block, block, axis=2) for each in keys[:2])
    return _Keys(key, value, *(jax.lax.dynamic_slice_in_dim(each, number * block, block, axis=1) for each in keys[2:]))


def _added(total: jax.Array, part: jax.Array, number: jax.Array, block: int) -> jax.Array:
    held = jax.lax.dynamic_slice_in_dim(total, number * block, block, axis=2)
    return jax.lax.dynamic_update_slice_in_dim(total, held + part, number * block, axis=2)


def _blocks(
    query: jax.Array,
    segments_BS: jax.Array,
    order_BS: jax.Array | None,
    places_T: jax.Array,
    rule: Rule,
    block: int,
    key_heads: int,
) -> _Queries:
    """All queries, by blocks in a leading axis; those that fill the last block up stand where the last query does."""
    time, length = query.shape[1], segments_BS.shape[1]
    split = _split((query * rule.scale).astype(query.dtype), block, key_heads)
    places = places_T[jnp.minimum(jnp.arange(split.shape[0] * block), time - 1)]

    def by_block(values_BS: jax.Array) -> jax.Array:
        return values_BS[:, places].reshape(values_BS.shape[0], -1, block).swapaxes(0, 1)

    # The first key that each block reads, over its queries and all rows.
    earliest, order = by_block(segment_starts(segments_BS)).min(axis=(1, 2)), by_block(_order(order_BS, length))
    places = places.reshape(-1, block)
    shared_first = jnp.zeros_like(earliest)
    if rule.window:
        earliest = jnp.maximum(earliest, places.min(axis=1) - rule.window + 1)
        shared_first = jnp.maximum(order.min(axis=(1, 2)) - rule.window + 1, 0) // block
    first, last = earliest // block, places.max(axis=1) // block + 1
    # Of what is shared those blocks that aren't among a block's own.
    shared = jnp.maximum(jnp.minimum(first, -(-rule.shared // block)) - shared_first, 0)
    return _Queries(split, by_block(segments_BS), order, shared_first, shared, first, last - first)


def _split(x_BTHC: jax.Array, block: int, key_heads: int) -> jax.Array:
    """[B, T, H, C] by blocks of queries: [T / Q, B, K, G * Q, C]; what fills the last block up is 0."""
    batch, time, heads, channels = x_BTHC.shape
    x_BTHC = jnp.pad(x_BTHC, ((0, 0), (0, -time % block), (0, 0), (0, 0)))
    blocks = x_BTHC.reshape(batch, -1, block, key_heads, heads // key_heads, channels).transpose(1, 0, 3, 4, 2, 5)
    return blocks.reshape(*blocks.shape[:3], -1, channels)


def _joined(blocks: jax.Array, time: int, heads: int) -> jax.Array:
    """What ``_split`` gives, put together again: [B, T, H, C]."""
    count, batch, key_heads, _, channels = blocks.shape
    split = blocks.reshape(count, batch, key_heads, heads // key_heads, -1, channels).transpose(1, 0, 4, 2, 3, 5)
    return split.reshape(batch, -1, heads, channels)[:, :time]
