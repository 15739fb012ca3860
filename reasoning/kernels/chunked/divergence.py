"""How far one distribution over the vocabulary is from another, one chunk of tokens at a time, in plain XLA.

The counterpart of ``forward``'s statistics for two sets of logits: those of a student, which learns, and those of a
teacher, which doesn't. Everything here is local to one device; sums over a sharded vocabulary are the caller's.

Legend: B rows, T time, N all tokens of this device, n those of one chunk, V columns of the vocabulary on this device,
v those of one strip.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from reasoning.kernels.chunked.backward import backpropagate
from reasoning.kernels.chunked.forward import Tokens, by_chunks, chunk_size, flat, logits, masked
from reasoning.kernels.divergence import Divergence, value_and_gradient
from reasoning.kernels.operands import (
    DivergenceSums,
    GradientTypes,
    Normaliser,
    Normalisers,
    Operands,
    ParameterGradients,
    StudentTeacher,
    strip_of,
)


def normalisers_of(models: StudentTeacher, logits_bytes: int) -> Normalisers:
    """Those over these columns alone; the caller merges them where the vocabulary is sharded."""

    def chunk(part: tuple[Tokens, Tokens]) -> Normalisers:
        return Normalisers(*(_normaliser(_masked_logits(*one)) for one in zip(part, models, strict=True)))

    return _by_chunks(chunk, models, (flat(models.student), flat(models.teacher)), logits_bytes)


def divergences(
    models: StudentTeacher, normalisers: Normalisers | None, divergence: Divergence, logits_bytes: int
) -> tuple[DivergenceSums, Normalisers]:
    """The forward pass over this device's tokens and columns, with ``logits_bytes`` of each one's logits at a time.

    ``normalisers`` None: these columns are the whole vocabulary, so they are found on the way.
    """

    def chunk(part: tuple) -> tuple[DivergenceSums, Normalisers]:
        of_student, of_teacher, given = part
        student_nV, teacher_nV = _masked_logits(of_student, models.student), _masked_logits(of_teacher, models.teacher)
        known = Normalisers(_normaliser(student_nV), _normaliser(teacher_nV)) if given is None else given
        log_p_nV, log_q_nV = _log_probs(teacher_nV, known.teacher), _log_probs(student_nV, known.student)
        # Padding needs no mask here: a divergence is 0 where both distributions have no probability.
        value_nV, gradient_nV = value_and_gradient(divergence, log_p_nV, log_q_nV)
        return DivergenceSums(value_nV.sum(axis=-1), gradient_nV.sum(axis=-1)), known

    given = jax.tree.map(lambda values: values.reshape(-1), normalisers)
    return _by_chunks(chunk, models, (flat(models.student), flat(models.teacher), given), logits_bytes)


def divergence_gradients(
    models: StudentTeacher,
    normalisers: Normalisers,
    gradient_BT: Array,
    upstream_BT: Array,
    divergence: Divergence,
    types: GradientTypes,
    hidden_sum_BTD: Array | None,
    logits_bytes: int,
) -> tuple[Array, ParameterGradients]:
    """The backward pass, to the student only: the hidden states' gradient, and the parameters'.

    ``gradient_BT`` are the sums over the whole vocabulary of the derivatives with respect to log q; types and
    ``hidden_sum_BTD`` are as in ``backward.gradients``.
    """
    of_teacher = flat(models.teacher)
    known = jax.tree.map(lambda values: values.reshape(-1), normalisers)
    sum_N1, upstream_N1 = gradient_BT.reshape(-1, 1), upstream_BT.reshape(-1, 1)

    def logit_gradient(student_Nv: Array, start: Array) -> Array:
        teacher_Nv = logits(of_teacher, strip_of(models.teacher, start, student_Nv.shape[1]))[0]
        log_q_Nv = _log_probs(student_Nv, known.student)
        _, gradient_Nv = value_and_gradient(divergence, _log_probs(teacher_Nv, known.teacher), log_q_Nv)
        return upstream_N1 * (gradient_Nv - jnp.exp(log_q_Nv) * sum_N1)

    return backpropagate(models.student, logit_gradient, types, logits_bytes, hidden_sum_BTD)


def _by_chunks(chunk: Callable[[Any], Any], models: StudentTeacher, arrays: Any, logits_bytes: int) -> Any:
    """``chunk`` of all tokens, with its results as [B, T]."""
    shape, student = models.student.inverse_temperature_BT.shape, models.student
    size = chunk_size(math.prod(shape), student.unembed_DV.shape[1], student.accumulator.itemsize, logits_bytes)
    return jax.tree.map(lambda values: values.reshape(shape), by_chunks(chunk, arrays, size))


def _masked_logits(tokens: Tokens, operands: Operands) -> Array:
    return masked(logits(tokens, operands)[0], operands)


def _normaliser(logits_nV: Array) -> Normaliser:
    shift_n = logits_nV.max(axis=-1)
    return Normaliser(shift_n, jnp.log(jnp.exp(logits_nV - shift_n[:, None]).sum(axis=-1)))


def _log_probs(logits_nV: Array, normaliser: Normaliser) -> Array:
    return (logits_nV - normaliser.shift[:, None]) - normaliser.log_total[:, None]
