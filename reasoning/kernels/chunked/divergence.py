"""How far one distribution over the vocabulary is from another, one chunk of tokens at a time, in plain XLA.

The counterpart of ``chunked``'s statistics for two sets of logits: those of a student, which learns, and those of a
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

from reasoning.kernels.chunked.backward import push_back, strip_of
from reasoning.kernels.chunked.forward import Tokens, by_chunks, chunk_size, flat, logits, masked
from reasoning.kernels.measures import Measure, terms
from reasoning.kernels.operands import Divergence, Normaliser, Normalisers, Operands, Pair, Sums, Types


def normalisers_of(pair: Pair, logits_bytes: int) -> Normalisers:
    """Those over these columns alone; the caller merges them where the vocabulary is sharded."""

    def chunk(part: tuple[Tokens, Tokens]) -> Normalisers:
        return Normalisers(*(_normaliser(_masked_logits(*one)) for one in zip(part, pair, strict=True)))

    return _by_chunks(chunk, pair, (flat(pair.student), flat(pair.teacher)), logits_bytes)


def divergences(
    pair: Pair, normalisers: Normalisers | None, measure: Measure, logits_bytes: int
) -> tuple[Divergence, Normalisers]:
    """The forward pass over this device's tokens and columns, with ``logits_bytes`` of each one's logits at a time.

    ``normalisers`` None: these columns are the whole vocabulary, so they are found on the way.
    """

    def chunk(part: tuple) -> tuple[Divergence, Normalisers]:
        of_student, of_teacher, given = part
        student_nV, teacher_nV = _masked_logits(of_student, pair.student), _masked_logits(of_teacher, pair.teacher)
        found = Normalisers(_normaliser(student_nV), _normaliser(teacher_nV)) if given is None else given
        log_p_nV, log_q_nV = _log_probs(teacher_nV, found.teacher), _log_probs(student_nV, found.student)
        value_nV, pull_nV = terms(log_p_nV, log_q_nV, measure)
        return Divergence(value_nV.sum(axis=-1), pull_nV.sum(axis=-1)), found

    given = jax.tree.map(lambda values: values.reshape(-1), normalisers)
    return _by_chunks(chunk, pair, (flat(pair.student), flat(pair.teacher), given), logits_bytes)


def divergence_gradients(
    pair: Pair,
    normalisers: Normalisers,
    pull_BT: Array,
    upstream_BT: Array,
    measure: Measure,
    types: Types,
    logits_bytes: int,
) -> tuple[Array, Sums]:
    """The backward pass, to the student only: the hidden states' gradient, and the parameters'.

    ``pull_BT`` are the sums of pulls over the whole vocabulary; types are as in ``chunked_backward.gradients``.
    """
    of_teacher = flat(pair.teacher)
    known = jax.tree.map(lambda values: values.reshape(-1), normalisers)
    pull_N1, upstream_N1 = pull_BT.reshape(-1, 1), upstream_BT.reshape(-1, 1)

    def slope_of(student_Nv: Array, start: Array) -> Array:
        teacher_Nv = logits(of_teacher, strip_of(pair.teacher, start, student_Nv.shape[1]))[0]
        log_q_Nv = _log_probs(student_Nv, known.student)
        _, pull_Nv = terms(_log_probs(teacher_Nv, known.teacher), log_q_Nv, measure)
        return upstream_N1 * (pull_Nv - jnp.exp(log_q_Nv) * pull_N1)

    return push_back(pair.student, slope_of, types, logits_bytes)


def _by_chunks(chunk: Callable[[Any], Any], pair: Pair, arrays: Any, logits_bytes: int) -> Any:
    """``chunk`` of all tokens, with its results as [B, T]."""
    shape, student = pair.student.inverse_temperature_BT.shape, pair.student
    size = chunk_size(math.prod(shape), student.unembed_DV.shape[1], student.accumulator.itemsize, logits_bytes)
    return jax.tree.map(lambda values: values.reshape(shape), by_chunks(chunk, arrays, size))


def _masked_logits(tokens: Tokens, operands: Operands) -> Array:
    return masked(logits(tokens, operands)[0], operands)


def _normaliser(logits_nV: Array) -> Normaliser:
    shift_n = logits_nV.max(axis=-1)
    return Normaliser(shift_n, jnp.log(jnp.exp(logits_nV - shift_n[:, None]).sum(axis=-1)))


def _log_probs(logits_nV: Array, normaliser: Normaliser) -> Array:
    return (logits_nV - normaliser.shift[:, None]) - normaliser.log_total[:, None]
