"""Heads to compare: over the logits of all tokens, as everybody writes them first, and this project's."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp


def naive(loss: str) -> Callable[..., Any]:
    """From hidden states, matrix and targets to log-probability and entropy; or from two pairs to a divergence."""
    return log_probs if loss == "log_probs" else DIVERGENCES[loss]


def log_softmax(hidden: Any, matrix: Any) -> Any:
    """Over whole logits."""
    return jax.nn.log_softmax(jnp.dot(hidden, matrix, preferred_element_type=jnp.float32))


def log_probs(hidden: Any, matrix: Any, targets: Any) -> tuple[Any, Any]:
    """Of the targets, and the entropy."""
    log_p = log_softmax(hidden, matrix)
    picked = jnp.take_along_axis(log_p, targets[..., None], axis=-1)[..., 0]
    return picked, -(jnp.exp(log_p) * log_p).sum(-1)


def forward(hidden: Any, matrix: Any, teacher: Any, teacher_matrix: Any) -> tuple[Any]:
    """KL from the teacher to the student."""
    log_p, log_q = log_softmax(teacher, teacher_matrix), log_softmax(hidden, matrix)
    return ((jnp.exp(log_p) * (log_p - log_q)).sum(-1),)


def reverse(hidden: Any, matrix: Any, teacher: Any, teacher_matrix: Any) -> tuple[Any]:
    """KL from the student to the teacher."""
    log_p, log_q = log_softmax(teacher, teacher_matrix), log_softmax(hidden, matrix)
    return ((jnp.exp(log_q) * (log_q - log_p)).sum(-1),)


def jsd(hidden: Any, matrix: Any, teacher: Any, teacher_matrix: Any) -> tuple[Any]:
    """The mean of both to their mixture."""
    log_p, log_q = log_softmax(teacher, teacher_matrix), log_softmax(hidden, matrix)
    log_m = jnp.logaddexp(log_p, log_q) - jnp.log(2.0)
    return ((jnp.exp(log_p) * (log_p - log_m) + jnp.exp(log_q) * (log_q - log_m)).sum(-1) / 2,)


DIVERGENCES = {"forward": forward, "reverse": reverse, "jsd": jsd}


def ours(loss: str, **options: Any) -> Callable[..., Any]:
    """The same by this project's kernels, with its log-sum-exp too; ``options`` are ``kernels`` and ``sharding``."""
    from reasoning.kernels.token_divergence import token_divergence
    from reasoning.kernels.token_log_probs import token_log_probs
    from reasoning.objectives import divergence

    if loss == "log_probs":
        return lambda *given: token_log_probs(*given, **options)
    chosen = {"forward": divergence.forward, "reverse": divergence.reverse, "jsd": divergence.JSD()}[loss]
    return lambda *given: (token_divergence(*given, divergence=chosen, **options),)


def both_passes(head: Callable[..., Any], most: int | None = None) -> Callable[..., Any]:
    """From hidden states, matrix, a gradient of each token and the rest to results and the two operands' gradients.

    ``most``: only so many of the results count, since naive makes no log-sum-exp.
    """

    def run(hidden: Any, matrix: Any, weights: Any, *rest: Any) -> Any:
        results, back = jax.vjp(lambda hidden, matrix: tuple(head(hidden, matrix, *rest))[:most], hidden, matrix)
        return results, back(tuple(weights for _ in results))

    return run
