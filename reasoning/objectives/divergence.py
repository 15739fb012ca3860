"""Divergences between two policies as a loss to learn by.

The divergences of distillation are given column by column of the vocabulary, log p of the teacher's distribution and
log q of the student's; the contract for one's own is ``kernels.divergence.Divergence``.

Legend: B rows, T time.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from reasoning.core.errors import InputError
from reasoning.core.ranges import Fraction
from reasoning.kernels.divergence import Divergence

_Terms = Callable[[Array, Array], tuple[Array, Array]]


def forward(log_p: Array, log_q: Array) -> Array:
    """KL(p || q), which a student minimises by covering all that the teacher might say.

    Hinton, Vinyals and Dean, arXiv 1503.02531.
    """
    return _with_gradient(_forward, log_p, log_q)


def reverse(log_p: Array, log_q: Array) -> Array:
    """KL(q || p), which a student minimises by saying nothing that the teacher would not.

    MiniLLM, arXiv 2306.08543.
    """
    return _with_gradient(_reverse, log_p, log_q)


@dataclass(frozen=True)
class JSD:
    """``beta`` KL(p || m) + (1 - ``beta``) KL(q || m), m = ``beta`` p + (1 - ``beta``) q: generalised Jensen-Shannon.

    Divided by ``beta`` it tends to ``forward`` as that falls to 0, and divided by 1 - ``beta`` to ``reverse`` as it
    rises to 1. Raises InputError for a ``beta`` that isn't between 0 and 1.

    Lin, "Divergence measures based on the Shannon entropy" (1991); GKD, arXiv 2306.13649, section 2.
    """

    beta: Fraction = 0.5  # the teacher's share of the mixture

    def __post_init__(self) -> None:
        if not 0 < self.beta < 1:
            raise InputError(f"beta is {self.beta}; the teacher's share of the mixture must lie between 0 and 1")

    @property
    def __name__(self) -> str:
        """What metrics call it."""
        return "jsd"

    def __call__(self, log_p: Array, log_q: Array) -> Array:
        """Column by column."""
        return _with_gradient(partial(_jsd, self.beta), log_p, log_q)


def metric_name(divergence: Divergence) -> str:
    """What metrics call a divergence: 'kl' if it is one of the two, else by its own name, as rewards are."""
    return "kl" if divergence in (forward, reverse) else getattr(divergence, "__name__", type(divergence).__name__)


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _with_gradient(terms: _Terms, log_p: Array, log_q: Array) -> Array:
    """The value of ``terms``, whose derivative in log q is the second of them and not the one JAX would derive."""
    return terms(log_p, log_q)[0]


@_with_gradient.defjvp
def _(terms: _Terms, primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    value, gradient = terms(*primals)
    return value, gradient * tangents[1]  # the teacher's tangent is left out: it passes no gradient


def _forward(log_p: Array, log_q: Array) -> tuple[Array, Array]:
    p, q = jnp.exp(log_p), jnp.exp(log_q)
    return (q - p) - p * (log_q - log_p), q - p


def _reverse(log_p: Array, log_q: Array) -> tuple[Array, Array]:
    p, q, ratio = jnp.exp(log_p), jnp.exp(log_q), log_q - log_p
    return (p - q) + q * ratio, q * ratio


def _jsd(share: float, log_p: Array, log_q: Array) -> tuple[Array, Array]:
    p, q, ratio = jnp.exp(log_p), jnp.exp(log_q), log_q - log_p
    # The mixture m against the larger of the two, so that no exponential overflows: log p / m where q < p, and
    # log q / m elsewhere.
    below = -jnp.log1p((1 - share) * _expm1(jnp.minimum(ratio, 0)))
    above = -jnp.log1p(share * _expm1(jnp.minimum(-ratio, 0)))
    of_student = jnp.where(ratio < 0, ratio + below, above)
    of_teacher = jnp.where(ratio < 0, below, above - ratio)
    return share * p * of_teacher + (1 - share) * q * of_student, (1 - share) * q * of_student


def _expm1(x: Array) -> Array:
    """exp(x) - 1 of an x that isn't positive, as exact near 0, from a function that TPUs' kernels have too."""
    half = jnp.tanh(0.5 * x)
    return 2 * half / (1 - half)


def with_hard_targets(
    divergence_BT: Float[Array, "B T"], cross_entropy_BT: Float[Array, "B T"], *, temperature: float, coefficient: float
) -> Float[Array, "B T"]:
    """Learns from a teacher's distribution and from the tokens of the data: ``temperature^2 D + coefficient C``, nats.

    The divergence D is that of both distributions at ``temperature``. Its gradients fall with the square of it, which
    the factor takes back, so that the coefficient means the same at any temperature. The cross-entropy C is that at
    temperature 1.

    Hinton, Vinyals and Dean, arXiv 1503.02531, section 2.
    """
    return temperature**2 * divergence_BT + coefficient * cross_entropy_BT
