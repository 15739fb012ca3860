"""Estimates of KL(policy || reference) from tokens that the policy sampled: what ``zero.kl`` names.

Per token, in nats, from the log-probabilities of the policy and of the reference. With r = reference / policy they are
k1 = -log r, k2 = (log r)^2 / 2 and k3 = (r - 1) - log r. Schulman, "Approximating KL divergence"
(joschu.net/blog/kl-approx.html).

Legend: B rows, T time.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

KLEstimate = Callable[[jax.Array, jax.Array], jax.Array]
"""``(log_probs_BT, reference_log_probs_BT) -> estimate_BT``."""


def k1(log_probs_BT: Float[Array, "B T"], reference_log_probs_BT: Float[Array, "B T"]) -> Float[Array, "B T"]:
    """``new - ref``: unbiased, of either sign.

    A measure and no penalty: its gradient is that of log p, which is zero in the mean, whatever the reference.
    """
    return log_probs_BT - reference_log_probs_BT


def k2(log_probs_BT: Float[Array, "B T"], reference_log_probs_BT: Float[Array, "B T"]) -> Float[Array, "B T"]:
    """``(new - ref)^2 / 2``: biased as a value, but its gradient on-policy is that of the divergence itself."""
    return jnp.square(log_probs_BT - reference_log_probs_BT) / 2


def k3(log_probs_BT: Float[Array, "B T"], reference_log_probs_BT: Float[Array, "B T"]) -> Float[Array, "B T"]:
    """``exp(ref - new) - (ref - new) - 1``: unbiased and never negative, with less variance than k1.

    Overflows float32 where the reference likes a token exp(88) times more than the policy. GRPO, arXiv 2402.03300,
    eq. 4.
    """
    difference_BT = reference_log_probs_BT - log_probs_BT
    # expm1 keeps the digits that exp(x) - 1 - x loses near zero, where a policy that has hardly moved lives.
    return jnp.expm1(difference_BT) - difference_BT
