"""Divergences between two policies: estimated from the tokens that one of them sampled, and as a loss to learn by.

Legend: B rows, T time.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float


def k3(log_probs_BT: Float[Array, "B T"], reference_log_probs_BT: Float[Array, "B T"]) -> Float[Array, "B T"]:
    """How far the policy has moved from the reference: per token, ``exp(ref - new) - (ref - new) - 1``, in nats.

    Never negative; its mean over tokens that the policy sampled is KL(policy || reference), with less variance than the
    mean of ``new - ref``. Overflows float32 where the reference likes a token exp(88) times more than the policy.

    Schulman, "Approximating KL divergence" (joschu.net/blog/kl-approx.html), k3; GRPO, arXiv 2402.03300, eq. 4.
    """
    difference_BT = reference_log_probs_BT - log_probs_BT
    # expm1 keeps the digits that exp(x) - 1 - x loses near zero, where a policy that has hardly moved lives.
    return jnp.expm1(difference_BT) - difference_BT


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
