"""How far one distribution over the vocabulary is from another, column by column: the mathematics of all backends."""

from typing import Literal, NamedTuple

import jax.numpy as jnp
from jax import Array

from reasoning.core.errors import InputError

Kind = Literal["forward", "reverse", "jsd"]


class Measure(NamedTuple):
    """Which divergence; ``beta`` is the teacher's share of the mixture and only of interest for 'jsd'."""

    kind: Kind
    beta: float


def check_measure(kind: str, beta: float) -> None:
    """Raises InputError for a kind that isn't known, and a mixture that isn't one."""
    if kind not in ("forward", "reverse", "jsd"):
        raise InputError(f"the divergence {kind!r} is unknown; choose 'forward', 'reverse' or 'jsd'")
    if kind == "jsd" and not 0 < beta < 1:
        raise InputError(f"beta is {beta}; the teacher's share of the mixture must lie between 0 and 1")


def terms(log_p: Array, log_q: Array, measure: Measure) -> tuple[Array, Array]:
    """A divergence of the student's q from the teacher's p, column by column: its value, and its pull on the student.

    Both sum over the vocabulary: the values to the divergence, in nats. The gradient of a student's logit is
    ``pull - q * (sum of pulls)``. Each value is a convex function with its minimum at p = q, never negative, and no
    pull is anything but zero there. So neither a sum over a large vocabulary nor rounding leaves a remainder.
    """
    p, q, ratio = jnp.exp(log_p), jnp.exp(log_q), log_q - log_p
    if measure.kind == "forward":
        return (q - p) - p * ratio, q - p
    if measure.kind == "reverse":
        return (p - q) + q * ratio, q * ratio
    share = measure.beta
    # The mixture m = share p + (1 - share) q against the larger of the two, so that no exponential overflows:
    # log p / m where q < p, and log q / m elsewhere.
    below = -jnp.log1p((1 - share) * _expm1(jnp.minimum(ratio, 0)))
    above = -jnp.log1p(share * _expm1(jnp.minimum(-ratio, 0)))
    of_student = jnp.where(ratio < 0, ratio + below, above)
    of_teacher = jnp.where(ratio < 0, below, above - ratio)
    return share * p * of_teacher + (1 - share) * q * of_student, (1 - share) * q * of_student


def _expm1(x: Array) -> Array:
    """exp(x) - 1 of an x that isn't positive, as exact near 0, from a function that TPUs' kernels have too."""
    half = jnp.tanh(0.5 * x)
    return 2 * half / (1 - half)
