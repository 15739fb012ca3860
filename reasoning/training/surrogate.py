"""How a step calls the policy loss and the estimate of KL that an experiment file names, which may be a user's own.

Shapes: B rows, T time.
"""

import inspect
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from reasoning.core.errors import InputError
from reasoning.core.signatures import place_words
from reasoning.core.user_code import check_shape
from reasoning.objectives.kl import KLEstimate
from reasoning.objectives.policy import PolicyLoss, Surrogate
from reasoning.training.batches import PolicyTokens

_SAMPLER = "sampler_BT"
"""The parameter by which a policy loss asks for the sampler's log-probabilities."""

SAMPLER_APART = "sampling/sampling_logp_difference/mean"
"""The metric of how far sampler and trainer are apart, as TRL calls it."""

RATIO = "sampling/importance_sampling_ratio"
"""How the metrics of the trainer's probabilities by the sampler's begin, as TRL calls them."""

_RESERVED = {SAMPLER_APART, RATIO, "entropy", "kl", "loss", "grad_norm", "skipped", "tokens", "flops"}
"""Metrics that a step has already."""


def check_surrogate(loss: Surrogate) -> None:
    """Raises InputError, naming the function, for one that can't be called as a ``Surrogate``."""
    try:
        inspect.signature(loss).bind(*range(4), **_sampler(loss, None))
    except TypeError as error:
        raise InputError(
            f"the policy loss {_name(loss)} can't be called as (new_BT, old_BT, advantages_BT, mask_BT): {error}; give "
            f"it these parameters, and {_SAMPLER} if it reads the sampler's log-probabilities"
        ) from None


class Weighed(NamedTuple):
    """What tokens add to a batch's loss, and what is measured of them: the loss's metrics, and KL if there is any."""

    loss_BT: jax.Array
    metrics: Mapping[str, jax.Array]
    kl_BT: jax.Array | None


def weighed_loss(
    loss: Surrogate, kl: KLEstimate, kl_coefficient: float, new_BT: jax.Array, tokens: PolicyTokens
) -> Weighed:
    """The policy loss times its correction, and ``kl_coefficient`` times KL to the reference, by their weights."""
    if tokens.old_log_probs is not None:
        tokens = replace(tokens, old_log_probs=_where_counted(tokens.mask, tokens.old_log_probs, new_BT))
    loss_BT, metrics = policy_loss(loss, new_BT, tokens)
    if tokens.correction is not None:
        loss_BT = tokens.correction * loss_BT
    if tokens.reference_log_probs is None:
        return Weighed(tokens.weights * loss_BT, metrics, None)
    counted_BT = tokens.mask if tokens.kl_weights is None else tokens.kl_weights
    kl_BT = kl(new_BT, _where_counted(counted_BT, tokens.reference_log_probs, new_BT))
    check_shape("kl", kl, kl_BT, new_BT.shape)
    if tokens.kl_weights is None:
        return Weighed(tokens.weights * (loss_BT + kl_coefficient * kl_BT), metrics, kl_BT)
    return Weighed(tokens.weights * loss_BT + kl_coefficient * tokens.kl_weights * kl_BT, metrics, kl_BT)


def _where_counted(counted_BT: jax.Array, log_probs_BT: jax.Array, new_BT: jax.Array) -> jax.Array:
    """Log-probabilities to compare with the new ones: these very ones where a token doesn't count.

    Nobody learns those tokens, so policies drift apart there, and a ratio that overflows is NaN times a weight of 0.
    """
    return jnp.where(counted_BT > 0, log_probs_BT, jax.lax.stop_gradient(new_BT))


def policy_loss(loss: Surrogate, new_BT: jax.Array, tokens: PolicyTokens) -> PolicyLoss:
    """The loss of a batch's tokens; InputError, naming the function, where it gives something else than that."""
    # Strictly on-policy there is no scoring pass, since it would give these very numbers.
    old_BT = jax.lax.stop_gradient(new_BT) if tokens.old_log_probs is None else tokens.old_log_probs
    further = _sampler(loss, tokens.sampler_log_probs)
    given: Any = loss(new_BT, old_BT, tokens.advantages, tokens.mask, **further)
    if not isinstance(given, PolicyLoss):
        raise InputError(
            f"the policy loss {_name(loss)} gave {type(given).__name__}; it must return PolicyLoss(loss_BT, metrics) "
            f"of reasoning.objectives.policy{place_words(loss)}"
        )
    for name, values in {"loss_BT": given.loss_BT, **given.metrics}.items():
        if jnp.shape(values) != new_BT.shape:
            raise InputError(
                f"the policy loss {_name(loss)} gave {name} with shape {list(jnp.shape(values))} where its tokens have "
                f"{list(new_BT.shape)}; it must give one number a token, and leave means to the weights"
                f"{place_words(loss)}"
            )
    taken = sorted(_RESERVED & given.metrics.keys())
    if taken:
        raise InputError(
            f"the policy loss {_name(loss)} gave a metric {taken[0]!r}, as the step does; rename it{place_words(loss)}"
        )
    return given


def _sampler(loss: Surrogate, log_probs_BT: jax.Array | None) -> dict[str, Any]:
    return {_SAMPLER: log_probs_BT} if _SAMPLER in inspect.signature(loss).parameters else {}


def _name(loss: Surrogate) -> str:
    """A function by its module and name, a record with its settings."""
    name = getattr(loss, "__qualname__", None)
    return f"{loss.__module__}.{name}" if name else repr(loss)
