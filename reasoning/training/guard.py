"""Updates that are far out of line with those before them, told by z-scores of the loss and of the gradient norm.

Off unless a stage names a ``SpikeGuard``: what isn't finite is always skipped, and most runs need no more.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from flax import struct

from reasoning.core.ranges import Count, Positive

_LEAST_DEVIATION = 1e-3
"""Of the mean's size: a loss that has hardly moved so far is no reason to skip one that does."""


@dataclass(frozen=True, kw_only=True)
class SpikeGuard:
    """Skips an update whose loss or gradient norm lies ``deviations`` standard deviations above the mean before it.

    Mean and variance are over all updates so far, then over about the last ``window``; before so many none is judged.
    What is skipped enters neither. Only what is larger counts: nobody skips a loss for being small.
    """

    deviations: Positive = 6.0
    window: Count = 100


@struct.dataclass
class Seen:
    """Mean and variance of the losses and gradient norms [2] of ``count`` updates that were taken."""

    count: jax.Array
    mean: jax.Array
    variance: jax.Array


def nothing_seen() -> Seen:
    """Before the first update."""
    return Seen(jnp.zeros((), jnp.int32), jnp.zeros(2), jnp.zeros(2))


def _deviations(seen: Seen, loss: jax.Array, norm: jax.Array) -> jax.Array:
    """How many standard deviations [2] a loss and a gradient norm lie above the means before them."""
    least = _LEAST_DEVIATION * jnp.abs(seen.mean) + jnp.finfo(jnp.float32).tiny
    return (jnp.stack([loss, norm]) - seen.mean) / jnp.maximum(jnp.sqrt(seen.variance), least)


@struct.dataclass
class Judgement:
    """Whether an update is to be skipped, what has been seen if it is taken, and the z-scores as metrics."""

    spike: jax.Array
    after: Seen | None
    metrics: dict[str, tuple[jax.Array, jax.Array]]


def judge(guard: SpikeGuard | None, seen: Seen | None, loss: jax.Array, norm: jax.Array) -> Judgement:
    """What ``guard`` says of an update with this loss and gradient norm; without one nothing is a spike."""
    if guard is None or seen is None:
        return Judgement(jnp.zeros((), bool), seen, {})
    z_2, judged = _deviations(seen, loss, norm), seen.count >= guard.window
    counted = judged.astype(jnp.float32)
    metrics = {name: (z, counted) for name, z in (("guard/loss", z_2[0]), ("guard/grad_norm", z_2[1]))}
    return Judgement(judged & jnp.any(z_2 > guard.deviations), _with_update(guard, seen, loss, norm), metrics)


def _with_update(guard: SpikeGuard, seen: Seen, loss: jax.Array, norm: jax.Array) -> Seen:
    """What has been seen after an update that was taken.

    With the share 1/(n + 1) of the newest these are the mean and the variance of all so far; with 1/window they forget
    exponentially (West 1979, "Updating mean and variance estimates").
    """
    share = jnp.maximum(1.0 / (seen.count + 1.0), 1.0 / guard.window)
    apart = jnp.stack([loss, norm]) - seen.mean
    return Seen(
        # It stops where it decides nothing any more.
        count=jnp.minimum(seen.count + 1, guard.window),
        mean=seen.mean + share * apart,
        variance=(1 - share) * (seen.variance + share * apart**2),
    )
