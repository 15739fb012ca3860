"""How a step calls the policy loss that an experiment file names, which may be a user's own.

Shapes: B rows, T time.
"""

import inspect
from typing import Any

import jax
import jax.numpy as jnp

from reasoning.core.errors import InputError
from reasoning.core.signatures import place_words
from reasoning.objectives.policy import PolicyLoss, Surrogate
from reasoning.training.batches import PolicyBatch

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


def policy_loss(loss: Surrogate, new_BT: jax.Array, batch: PolicyBatch) -> PolicyLoss:
    """The loss of a batch's tokens; InputError, naming the function, where it gives something else than that."""
    # Strictly on-policy there is no scoring pass, since it would give these very numbers.
    old_BT = jax.lax.stop_gradient(new_BT) if batch.old_log_probs is None else batch.old_log_probs
    further = _sampler(loss, batch.sampler_log_probs)
    given: Any = loss(new_BT, old_BT, batch.advantages, batch.rows.mask, **further)
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
