"""Estimates of the divergence between two policies from the tokens that one of them sampled.

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
