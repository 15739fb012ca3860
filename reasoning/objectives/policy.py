"""The clipped policy-gradient loss of PPO, GRPO and DAPO, per token.

Legend: B rows (completions), T time.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


class PolicyLoss(NamedTuple):
    """A loss per token, and where the clip binds: the token's gradient is zero there."""

    loss_BT: Float[Array, "B T"]
    clipped_low_BT: Bool[Array, "B T"]
    clipped_high_BT: Bool[Array, "B T"]


def clipped_policy_gradient(
    log_probs_BT: Float[Array, "B T"],
    old_log_probs_BT: Float[Array, "B T"] | None,
    advantages_BT: Float[Array, "#B #T"],
    *,
    clip_low: float,
    clip_high: float,
) -> PolicyLoss:
    """Raises the log-probability of tokens with positive advantage, but no further than the clip allows in one batch.

    ``-min(r A, clip(r, 1 - clip_low, 1 + clip_high) A)`` with the ratio r = exp(new - old) of log-probabilities.
    ``old_log_probs_BT`` are those of the parameters that sampled, and carry no gradient; None means strictly on-policy:
    r is 1 and its gradient that of log p, so the loss's is REINFORCE's. Advantages are [B, T] or [B, 1], and constants.
    For A < 0 the loss is unbounded as r grows, as published (it overflows float32 at new - old = 88).

    PPO, arXiv 1707.06347, eq. 7; GRPO, 2402.03300, eq. 3; two clips ("clip-higher"), DAPO, 2503.14476, eq. 10.
    """
    if old_log_probs_BT is None:
        old_log_probs_BT = log_probs_BT
    advantages_BT = jax.lax.stop_gradient(advantages_BT)
    log_ratio_BT = log_probs_BT - jax.lax.stop_gradient(old_log_probs_BT)
    ratio_BT = jnp.exp(jax.lax.stop_gradient(log_ratio_BT))
    low_BT = (ratio_BT < 1 - clip_low) & (advantages_BT < 0)
    high_BT = (ratio_BT > 1 + clip_high) & (advantages_BT > 0)
    # Where the gradient is zero the exponential gets a zero, so that its overflow can't turn 0 times it into NaN.
    idle_BT = low_BT | high_BT | (advantages_BT == 0)
    free_BT = jnp.exp(jnp.where(idle_BT, 0.0, log_ratio_BT))
    bounded_BT = jnp.where(low_BT, 1 - clip_low, jnp.where(high_BT, 1 + clip_high, free_BT))
    return PolicyLoss(-bounded_BT * advantages_BT, low_BT, high_BT)
