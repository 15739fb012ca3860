"""The divergence of a student's distribution from a teacher's of which only the top k probabilities were stored.

A teacher that is asked once, or elsewhere, leaves k ids and log-probabilities of each token, a thousandth of its
logits. What it said of all other tokens is one sum, their rest.

Legend: B rows, T time, K ids that were stored, D the student's width, V vocabulary.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from reasoning.core.errors import InputError
from reasoning.kernels.backends import Kernels
from reasoning.kernels.divergence import Divergence, check_divergence
from reasoning.kernels.token_log_probs import token_log_probs
from reasoning.kernels.vocabulary_sharding import VocabularySharding

_LEAST_REST = 2.0**-16
"""The rest's least probability, teacher's or student's: below, rounding of the top k decides what is left."""


def top_k_divergence(
    hidden_BTD: Float[Array, "B T D"],
    unembed_DV: Float[Array, "D V"],
    teacher_ids_BTK: Int[Array, "B T K"],
    teacher_log_probs_BTK: Float[Array, "B T K"],
    *,
    divergence: Divergence,
    temperature: float | Float[Array, "..."] = 1.0,
    soft_cap: float | None = None,
    sharding: VocabularySharding | None = None,
    kernels: Kernels | None = None,
) -> Float[Array, "B T"]:
    """``token_divergence`` over K + 1 outcomes: the teacher's top K tokens, and any other; float32, in nats.

    That of an f-divergence is never more than over the whole vocabulary, and equal to it where student and teacher
    agree on how the rest is shared out (the data-processing inequality; Cover and Thomas, Elements of Information
    Theory, 2.8). ``teacher_log_probs_BTK`` were taken at the same ``temperature``, which here only divides the
    student's logits, and pass no gradient. An id below 0 fills up where fewer than K were stored. A rest of less than
    ``_LEAST_REST`` counts as that much. Raises InputError as ``token_log_probs`` and ``token_divergence`` do.
    """
    check_divergence(divergence)
    if teacher_ids_BTK.ndim != 3 or teacher_ids_BTK.shape != teacher_log_probs_BTK.shape:
        raise InputError(
            f"the teacher's ids {teacher_ids_BTK.shape} and log-probabilities {teacher_log_probs_BTK.shape} must both "
            "be [B, T, K]"
        )
    student = token_log_probs(
        hidden_BTD,
        unembed_DV,
        teacher_ids_BTK,
        temperature=temperature,
        soft_cap=soft_cap,
        sharding=sharding,
        kernels=kernels,
    )
    stored_BTK = teacher_ids_BTK >= 0
    log_p_BTK = jax.lax.stop_gradient(jnp.asarray(teacher_log_probs_BTK, student.log_prob_BT.dtype))
    # K + 1 numbers a token are few enough for JAX to differentiate. A derivative with respect to log q is right up to
    # a multiple of q, as the shipped ones are: the sum of q over all outcomes is 1 whatever the student does.
    value_BTJ = divergence(_with_rest(log_p_BTK, stored_BTK), _with_rest(student.log_prob_BT, stored_BTK))
    return jnp.where(jnp.pad(stored_BTK, ((0, 0), (0, 0), (0, 1)), constant_values=True), value_BTJ, 0).sum(axis=-1)


def _with_rest(log_prob_BTK: Array, stored_BTK: Array) -> Array:
    """The log-probabilities, and behind them that of all other tokens, [B, T, K + 1]."""
    rest_BT1 = 1 - jnp.where(stored_BTK, jnp.exp(log_prob_BTK), 0).sum(axis=-1, keepdims=True)
    return jnp.concatenate((log_prob_BTK, jnp.log(jnp.maximum(rest_BT1, _LEAST_REST))), axis=-1)
