"""Sampling from part of a distribution: the k likeliest tokens, the nucleus, what is likely beside the likeliest.

Shapes: B requests, V vocabulary.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float, Int

from reasoning.core.errors import InputError


@struct.dataclass
class TracedTruncation:
    """A ``Truncation`` inside a program, which is then the same for all values."""

    top_k: Int[Array, ""]
    top_p: Float[Array, ""]
    min_p: Float[Array, ""]


@dataclass(frozen=True)
class Truncation:
    """Which tokens may be drawn, each test applied to what the one before left, behind the temperature.

    ``top_k``: the k likeliest (0: all). ``top_p``: the fewest of the likeliest tokens that have this probability
    together (arXiv 1904.09751, section 3.1). ``min_p``: those at least so likely as this share of the likeliest (arXiv
    2407.01082, section 3). Order and meaning are those of transformers' ``generate``; where tokens are exactly as
    likely as the last one that is kept, all of them are.
    """

    top_k: int
    top_p: float
    min_p: float

    def __post_init__(self) -> None:
        """Raises InputError for values out of range."""
        if not (self.top_k >= 0 and 0 < self.top_p <= 1 and 0 <= self.min_p <= 1):
            raise InputError(
                f"no token can be drawn with top_k {self.top_k}, top_p {self.top_p} and min_p {self.min_p}; give top_k "
                "from 0 (all tokens), top_p above 0 to 1 (all), min_p from 0 (all) to 1"
            )

    def traced(self) -> TracedTruncation:
        """The values as arrays."""
        return TracedTruncation(jnp.int32(self.top_k), jnp.float32(self.top_p), jnp.float32(self.min_p))


ALL_TOKENS = Truncation(top_k=0, top_p=1.0, min_p=0.0)


def truncated(logits_BV: jax.Array, truncation: TracedTruncation) -> jax.Array:
    """The logits [B, V] with -inf for tokens that may not be drawn; the likeliest may always be."""
    # One sort serves all three tests: each keeps a beginning of the tokens in order, so it is a lowest logit.
    order_BV = jnp.sort(logits_BV, axis=-1, descending=True)
    vocabulary, top_k = order_BV.shape[-1], truncation.top_k
    last = jnp.where(top_k > 0, jnp.minimum(top_k, vocabulary), vocabulary) - 1
    lowest_k_B1 = jnp.take(order_BV, last[None], axis=-1)
    probs_BV = jax.nn.softmax(jnp.where(order_BV >= lowest_k_B1, order_BV, -jnp.inf), axis=-1)
    # A token is in the nucleus where those before it haven't the probability yet. Of all probabilities, 1, rounding
    # must not take anything away.
    before_BV = jnp.cumsum(probs_BV, axis=-1) - probs_BV
    inside_BV = (before_BV < truncation.top_p) | (truncation.top_p >= 1)
    inside_BV = inside_BV.at[:, 0].set(True) & (order_BV >= lowest_k_B1)
    lowest_p_B1 = jnp.min(jnp.where(inside_BV, order_BV, jnp.inf), axis=-1, keepdims=True)
    lowest_m_B1 = order_BV[:, :1] + jnp.log(truncation.min_p)
    lowest_B1 = jnp.maximum(jnp.maximum(lowest_k_B1, lowest_p_B1), lowest_m_B1)
    return jnp.where(logits_BV >= lowest_B1, logits_BV, -jnp.inf)
