"""Divergences to test with, shipped and a user's own, and what the papers say that each is, in float64.

Legend: V vocabulary.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from reasoning.kernels.divergence import Divergence
from reasoning.objectives.divergence import JSD, forward, reverse


@dataclass(frozen=True)
class Alpha:
    """Amari's alpha divergence, as a user with a setting would write it."""

    order: float

    def __call__(self, log_p: jax.Array, log_q: jax.Array) -> jax.Array:
        a = self.order
        mixed = jnp.exp(a * log_p + (1 - a) * log_q)
        return (a * jnp.exp(log_p) + (1 - a) * jnp.exp(log_q) - mixed) / (a * (1 - a))


def total_variation(log_p: jax.Array, log_q: jax.Array) -> jax.Array:
    """As a user would write it."""
    return 0.5 * jnp.abs(jnp.exp(log_p) - jnp.exp(log_q))


@dataclass
class Unhashable:
    """A divergence with a setting that may change, so that Python gives it no hash."""

    order: float = 0.3

    def __call__(self, log_p: jax.Array, log_q: jax.Array) -> jax.Array:
        return Alpha(self.order)(log_p, log_q)


SHIPPED = {"forward": forward, "reverse": reverse, "jsd": JSD(0.3)}
OWN = {"alpha": Alpha(0.3), "total variation": total_variation}


def kl(log_a: np.ndarray, log_b: np.ndarray) -> np.ndarray:
    """KL(a || b) = sum of a (log a - log b), over the last axis."""
    return (np.exp(log_a) * (log_a - log_b)).sum(axis=-1)


def definition(divergence: Divergence, log_p: np.ndarray, log_q: np.ndarray) -> np.ndarray:
    """The divergence of q from p over the last axis, as the papers write it."""
    p, q = np.exp(log_p), np.exp(log_q)
    if isinstance(divergence, JSD):
        beta = divergence.beta
        log_m = np.logaddexp(np.log(beta) + log_p, np.log(1 - beta) + log_q)
        return beta * kl(log_p, log_m) + (1 - beta) * kl(log_q, log_m)
    if isinstance(divergence, Alpha):
        a = divergence.order
        return (1 - (p**a * q ** (1 - a)).sum(axis=-1)) / (a * (1 - a))
    if divergence is total_variation:
        return np.abs(p - q).sum(axis=-1) / 2
    return {forward: kl(log_p, log_q), reverse: kl(log_q, log_p)}[divergence]
