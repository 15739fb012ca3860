"""What the kernels ask of a divergence between a teacher's and a student's distribution over the vocabulary."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jax import Array

from reasoning.core.errors import InputError
from reasoning.core.hashes import check_hashes

Divergence = Callable[[Array, Array], Array]
"""A divergence D(p, q) = sum over the vocabulary of f(p_v, q_v), given by f, column by column.

``divergence(log_p, log_q)`` takes the teacher's and the student's log-probabilities of some columns, arrays of one
shape, and gives f of each column in nats, in that shape. All f-divergences (Csiszar 1967; Ali and Silvey 1966) have
this form: both KL divergences, Jensen-Shannon, total variation, the alpha divergences; so have sums of f that aren't.

Its gradient is taken by ``jax.jvp``, the derivative g_v of f with respect to log q_v: that of a student's logit z_v is
``g_v - q_v sum(g)``, since d log q_w / d z_v = [v = w] - q_v. A ``jax.custom_jvp`` inside keeps digits where automatic
differentiation loses them. The teacher gets no gradient.

The function is called while kernels are traced, on a chunk's columns in XLA and on a tile's inside Pallas: it must be
elementwise in ``jax.numpy``, made of what TPUs' kernels have (exp, log, log1p, tanh, where; not expm1), and 0 with
derivative 0 where both log-probabilities are -1e30, as those of a padded column are. It needs a hash, since programs
are remembered by it: a plain function, or a frozen dataclass with ``__call__`` if it has settings.

Shipped ones, in ``objectives.divergence``, add q - p or p - q to f: the sum over the vocabulary stays, while no term
is negative and each is 0 with derivative 0 at p = q, so neither a large vocabulary nor rounding leaves a remainder.
"""


def check_divergence(divergence: Divergence) -> None:
    """Raises InputError for what can't be called, and for a function without a hash."""
    if not callable(divergence):
        raise InputError(
            f"the divergence is {divergence!r}, which is no function; give one of log p and log q, such as "
            "objectives.divergence.forward"
        )
    check_hashes(divergence=divergence)


def value_and_gradient(divergence: Divergence, log_p: Array, log_q: Array) -> tuple[Array, Array]:
    """A divergence column by column, and its derivative with respect to log q."""
    value, gradient = jax.jvp(partial(divergence, log_p), (log_q,), (jnp.ones_like(log_q),))
    if value.shape != log_q.shape:
        raise InputError(
            f"the divergence {divergence!r} gave {value.shape} for log-probabilities {log_q.shape}; it must give a "
            "value for each column, which the kernels sum"
        )
    return value, gradient
