"""Policy-gradient losses, per token: what ``zero.loss`` names, each a record that is called as a ``Surrogate`` is.

Ratios r are exp(new - old) of log-probabilities. ``old_BT`` and advantages, [B, T] or [B, 1], carry no gradient. Where
new and old are equal, as they are on-policy, r is 1 and every loss here has REINFORCE's gradient.

Legend: B rows (a completion each), T time.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Shaped

from reasoning.core.ranges import NonNegative
from reasoning.core.signatures import Takes


class PolicyLoss(NamedTuple):
    """A loss per token, and further values [B, T] by name, whose means over the tokens that count become metrics."""

    loss_BT: Float[Array, "B T"]
    metrics: Mapping[str, Shaped[Array, "B T"]]


Surrogate = Annotated[
    Callable[..., PolicyLoss], Takes(("new_BT", "old_BT", "advantages_BT", "mask_BT"), offered=("sampler_BT",))
]
"""``(new_BT, old_BT, advantages_BT, mask_BT) -> PolicyLoss``: a loss per token from the log-probabilities of what was
sampled, now and under the trainer's parameters before the update, from advantages, and 1 where a token counts.

A function that has a fifth parameter, ``sampler_BT``, also gets the log-probabilities that the sampler itself gave, by
which one can correct for a sampler that isn't quite the trainer. Rows come in microbatches, so a row may depend on its
own tokens only. A record with settings must be a frozen dataclass."""


@dataclass(frozen=True)
class Clipped:
    """Raises the log-probability of tokens with positive advantage, but no further than the clip allows in one batch.

    ``-min(r A, clip(r, 1 - clip_low, 1 + clip_high) A)``. For A < 0 it is unbounded as r grows, as published (it
    overflows float32 at new - old = 88). From a ``clip_low`` of 1 on there is no lower bound, since r is above 0.

    PPO, arXiv 1707.06347, eq. 7; GRPO, 2402.03300, eq. 3; two clips ("clip-higher"), DAPO, 2503.14476, eq. 10.
    """

    clip_low: NonNegative = 0.2
    clip_high: NonNegative = 0.2

    def __call__(
        self,
        new_BT: Float[Array, "B T"],
        old_BT: Float[Array, "B T"],
        advantages_BT: Float[Array, "#B #T"],
        mask_BT: Shaped[Array, "B T"],
    ) -> PolicyLoss:
        """The loss, and where the clip binds: the token's gradient is zero there."""
        log_ratio_BT = new_BT - jax.lax.stop_gradient(old_BT)
        return _clipped(log_ratio_BT, advantages_BT, self.clip_low, self.clip_high)


@dataclass(frozen=True)
class CISPO:
    """Clips the importance weight and not the update, so that every token keeps a gradient, rare ones too.

    ``-sg(clip(r, 1 - clip_low, 1 + clip_high)) A log p``, where sg stops the gradient. As in the paper the weight has
    no lower bound by default; the upper one, which the paper tunes and doesn't print, is 5 here.

    MiniMax-M1, arXiv 2506.13585, eq. 4 and 5.
    """

    clip_low: NonNegative = 1.0
    clip_high: NonNegative = 4.0

    def __call__(
        self,
        new_BT: Float[Array, "B T"],
        old_BT: Float[Array, "B T"],
        advantages_BT: Float[Array, "#B #T"],
        mask_BT: Shaped[Array, "B T"],
    ) -> PolicyLoss:
        """The loss, and where the weight is at its bounds."""
        ratio_BT = jnp.exp(jax.lax.stop_gradient(new_BT - old_BT))
        weight_BT = jnp.clip(ratio_BT, 1 - self.clip_low, 1 + self.clip_high)
        loss_BT = -weight_BT * jax.lax.stop_gradient(advantages_BT) * new_BT
        return PolicyLoss(loss_BT, _bounds(ratio_BT < 1 - self.clip_low, ratio_BT > 1 + self.clip_high))


@dataclass(frozen=True)
class GSPO:
    """Compares and clips whole completions: all tokens of a row share the geometric mean of their ratios.

    ``-min(s A, clip(s, 1 - clip_low, 1 + clip_high) A)`` with s = exp(mean over the row's tokens of new - old). The
    paper averages over completions (``sequence_mean``), and its clips are its own (section 5.1): s is close to 1.

    GSPO, arXiv 2507.18071, eq. 5 and 7.
    """

    clip_low: NonNegative = 3e-4
    clip_high: NonNegative = 4e-4

    def __call__(
        self,
        new_BT: Float[Array, "B T"],
        old_BT: Float[Array, "B T"],
        advantages_BT: Float[Array, "#B #T"],
        mask_BT: Shaped[Array, "B T"],
    ) -> PolicyLoss:
        """The loss, the same at every token of a row, and where the clip binds."""
        log_ratio_BT = jnp.where(mask_BT > 0, new_BT - jax.lax.stop_gradient(old_BT), 0.0)
        tokens_B1 = jnp.maximum(jnp.sum(mask_BT > 0, axis=1, keepdims=True), 1)
        mean_BT = jnp.broadcast_to(log_ratio_BT.sum(axis=1, keepdims=True) / tokens_B1, new_BT.shape)
        return _clipped(mean_BT, advantages_BT, self.clip_low, self.clip_high)


def _clipped(log_ratio_BT: jax.Array, advantages_BT: jax.Array, clip_low: float, clip_high: float) -> PolicyLoss:
    advantages_BT = jax.lax.stop_gradient(advantages_BT)
    ratio_BT = jnp.exp(jax.lax.stop_gradient(log_ratio_BT))
    low_BT = (ratio_BT < 1 - clip_low) & (advantages_BT < 0)
    high_BT = (ratio_BT > 1 + clip_high) & (advantages_BT > 0)
    # Where the gradient is zero the exponential gets a zero, so that its overflow can't turn 0 times it into NaN.
    idle_BT = low_BT | high_BT | (advantages_BT == 0)
    free_BT = jnp.exp(jnp.where(idle_BT, 0.0, log_ratio_BT))
    bounded_BT = jnp.where(low_BT, 1 - clip_low, jnp.where(high_BT, 1 + clip_high, free_BT))
    return PolicyLoss(-bounded_BT * advantages_BT, _bounds(low_BT, high_BT))


def _bounds(low_BT: jax.Array, high_BT: jax.Array) -> dict[str, jax.Array]:
    """The metrics under the names of TRL."""
    return {"clip_ratio/low_mean": low_BT, "clip_ratio/high_mean": high_BT}
