"""Importance weights for a sampler that isn't quite the trainer: what ``zero.correction`` names.

A sampler that computes in bfloat16, by other kernels, or from part of a distribution draws from q, where the gradient
is that of the trainer's p, the policy before the update. What is expected under p is expected under q of everything
times p / q. Weights are bounded, since a product of many ratios has no bounded variance; what is cut off is bias.

Log-ratios are log p - log q of what was drawn, in nats, and carry no gradient. A *level* says what has a ratio: each
token, or a completion, whose tokens then share it.

Legend: B rows (a completion each), T time.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Shaped

from reasoning.core.errors import InputError
from reasoning.core.ranges import NonNegative, Positive
from reasoning.core.signatures import Takes


class Importance(NamedTuple):
    """What each token's loss is multiplied by, and which tokens are learnt from; the others leave all denominators."""

    weights_BT: Float[Array, "B T"]
    kept_BT: Bool[Array, "B T"]


Correction = Annotated[Callable[..., Importance], Takes(("log_ratio_BT", "mask_BT"))]
"""``(log_ratio_BT, mask_BT) -> Importance``; ``mask_BT`` is 1 where a token counts, and log-ratios are 0 elsewhere.
A record with settings must be a frozen dataclass."""

Level = Annotated[Callable[..., Float[Array, "B T"]], Takes(("log_ratio_BT", "mask_BT"))]
"""``(log_ratio_BT, mask_BT) -> log_ratio_BT``: the log of the ratio that a token is weighed by."""


def token(log_ratio_BT: Float[Array, "B T"], mask_BT: Shaped[Array, "B T"]) -> Float[Array, "B T"]:
    """Each token by its own ratio: small variance, and biased, since what came before a token is drawn from q too."""
    return log_ratio_BT


def sequence(log_ratio_BT: Float[Array, "B T"], mask_BT: Shaped[Array, "B T"]) -> Float[Array, "B T"]:
    """All tokens of a completion by the product of its ratios, which is unbiased but for the bounds.

    Its logarithm grows with the length, so bounds reject, or cut off, long completions first.
    """
    counted_BT = jnp.where(mask_BT > 0, log_ratio_BT, 0.0)
    return jnp.broadcast_to(counted_BT.sum(axis=1, keepdims=True), log_ratio_BT.shape)


def geometric(log_ratio_BT: Float[Array, "B T"], mask_BT: Shaped[Array, "B T"]) -> Float[Array, "B T"]:
    """All tokens of a completion by the geometric mean of its ratios, which doesn't depend on its length.

    Biased as a weight, but it tells long completions and short ones alike that are far off. GSPO, arXiv 2507.18071,
    eq. 7, has its ratio so.
    """
    tokens_B1 = jnp.maximum(jnp.sum(mask_BT > 0, axis=1, keepdims=True), 1)
    return sequence(log_ratio_BT, mask_BT) / tokens_B1


@dataclass(frozen=True)
class TruncatedImportance:
    """TIS, truncated importance sampling: a token weighs ``min(p / q, cap)``, and all tokens are learnt from.

    Yao et al., "Your efficient RL framework secretly brings you off-policy RL training" (2025), which takes a token's
    ratio and a cap of 2; the estimator is Ionides' (2008, Journal of Computational and Graphical Statistics 17).
    """

    cap: Positive = 2.0
    level: Level = token

    def __call__(self, log_ratio_BT: Float[Array, "B T"], mask_BT: Shaped[Array, "B T"]) -> Importance:
        """The weights; every token is kept."""
        log_BT = self.level(log_ratio_BT, mask_BT)
        # The bound before the exponential, which then can't overflow.
        return Importance(jnp.exp(jnp.minimum(log_BT, jnp.log(self.cap))), jnp.ones(log_BT.shape, bool))


@dataclass(frozen=True)
class MaskedImportance:
    """MIS, masked importance sampling: ``p / q`` where that is from ``floor`` to ``cap``, what is outside is rejected.

    What is rejected isn't learnt from and leaves the denominators too, as if it had not been drawn. By ``sequence`` it
    is that of Liu et al., "When speed kills stability" (2025); by ``token`` with bounds of 0.5 and 5 IcePop
    (arXiv 2510.18855).
    """

    floor: NonNegative = 0.0
    cap: Positive = 2.0
    level: Level = token

    def __post_init__(self) -> None:
        """Raises InputError where nothing lies between the bounds."""
        if self.floor > self.cap:
            raise InputError(
                f"MaskedImportance has floor {self.floor} above cap {self.cap}, so every token would be rejected; "
                "lower floor or raise cap"
            )

    def __call__(self, log_ratio_BT: Float[Array, "B T"], mask_BT: Shaped[Array, "B T"]) -> Importance:
        """The weights, 0 where a token is rejected, and which are kept."""
        log_BT = self.level(log_ratio_BT, mask_BT)
        kept_BT = (log_BT >= jnp.log(self.floor)) & (log_BT <= jnp.log(self.cap))
        return Importance(jnp.where(kept_BT, jnp.exp(jnp.where(kept_BT, log_BT, 0.0)), 0.0), kept_BT)
