"""How far one distribution over the vocabulary is from another, one chunk of tokens at a time, in plain XLA.

The counterpart of ``chunked``'s statistics for two sets of logits: those of a student, which learns, and those of a
teacher, which doesn't. Everything here is local to one device; sums over a sharded vocabulary are the caller's.

Legend: B rows, T time, V columns of the vocabulary on this device, N tokens of one chunk.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from reasoning.kernels.chunked import (
    Tokens,
    chunk_shape,
    join,
    logits,
    masked,
    no_sums,
    push_back,
    split,
    split_tokens,
)
from reasoning.kernels.measures import Measure, terms
from reasoning.kernels.operands import Divergence, Normaliser, Normalisers, Operands, Pair, Sums


def normalisers_of(pair: Pair, logits_bytes: int) -> Normalisers:
    """Those over these columns alone; the caller merges them where the vocabulary is sharded."""
    rows, steps = _chunk_shape_of(pair, logits_bytes)

    def chunk(_: None, inputs: tuple[Tokens, Tokens]) -> tuple[None, Normalisers]:
        both = zip(inputs, pair, strict=True)
        return None, Normalisers(*(_normaliser(_masked_logits(*one)) for one in both))

    _, found = lax.scan(chunk, None, _split_pair(pair, rows, steps))
    return _join(found, pair, rows, steps)


def divergences(
    pair: Pair, normalisers: Normalisers | None, measure: Measure, logits_bytes: int
) -> tuple[Divergence, Normalisers]:
    """The forward pass over this device's tokens and columns.

    ``normalisers`` None: these columns are the whole vocabulary, so they are found on the way.
    """
    rows, steps = _chunk_shape_of(pair, logits_bytes)

    def chunk(_: None, inputs: tuple) -> tuple[None, tuple[Divergence, Normalisers]]:
        (of_student, of_teacher), given = inputs
        student_NV = _masked_logits(of_student, pair.student)
        teacher_NV = _masked_logits(of_teacher, pair.teacher)
        found = Normalisers(_normaliser(student_NV), _normaliser(teacher_NV)) if given is None else given
        log_p_NV, log_q_NV = _log_probs(teacher_NV, found.teacher), _log_probs(student_NV, found.student)
        value_NV, pull_NV = terms(log_p_NV, log_q_NV, measure)
        return None, (Divergence(value_NV.sum(axis=-1), pull_NV.sum(axis=-1)), found)

    given = None if normalisers is None else _split_normalisers(normalisers, rows, steps)
    _, results = lax.scan(chunk, None, (_split_pair(pair, rows, steps), given))
    return _join(results, pair, rows, steps)


def divergence_gradients(
    pair: Pair,
    normalisers: Normalisers,
    pull_BT: Array,
    upstream_BT: Array,
    measure: Measure,
    hidden_type: jnp.dtype,
    logits_bytes: int,
) -> tuple[Array, Sums]:
    """The backward pass, to the student only: the hidden states' gradient, and the parameters'.

    ``pull_BT`` are the sums of pulls over the whole vocabulary; types are as in ``gradients``.
    """
    rows, steps = _chunk_shape_of(pair, logits_bytes)

    def chunk(sums: Sums, inputs: tuple) -> tuple[Sums, Array]:
        (of_student, of_teacher), found, pull_N, upstream_N = inputs
        student_NV, slope = logits(of_student, pair.student)
        teacher_NV = _masked_logits(of_teacher, pair.teacher)
        log_q_NV = _log_probs(masked(student_NV, pair.student), found.student)
        _, pull_NV = terms(_log_probs(teacher_NV, found.teacher), log_q_NV, measure)
        centred_NV = pull_NV - jnp.exp(log_q_NV) * pull_N[:, None]
        return push_back(slope * upstream_N[:, None] * centred_NV, of_student, pair.student, sums, hidden_type)

    # A ragged end repeats real tokens, whose terms are finite, and their zero upstream makes every gradient zero.
    upstream = split(upstream_BT, rows, steps, end="constant")
    kept = _split_normalisers(normalisers, rows, steps)
    inputs = (_split_pair(pair, rows, steps), kept, split(pull_BT, rows, steps), upstream)
    sums, chunks = lax.scan(chunk, no_sums(pair.student), inputs)
    return join(chunks, rows, steps, *upstream_BT.shape), sums


def _chunk_shape_of(pair: Pair, logits_bytes: int) -> tuple[int, int]:
    """Chunks in which the logits of both together stay within the limit."""
    batch, length, _ = pair.student.hidden_BTD.shape
    columns, itemsize = pair.student.unembed_DV.shape[1], pair.student.accumulator.itemsize
    return chunk_shape(batch, length, 2 * columns, itemsize, logits_bytes)


def _split_pair(pair: Pair, rows: int, steps: int) -> tuple[Tokens, Tokens]:
    return split_tokens(pair.student, rows, steps), split_tokens(pair.teacher, rows, steps)


def _split_normalisers(normalisers: Normalisers, rows: int, steps: int) -> Normalisers:
    return jax.tree.map(lambda values: split(values, rows, steps), normalisers)


def _join(records: Any, pair: Pair, rows: int, steps: int) -> Any:
    """Records of [chunks, N] arrays with [B, T] arrays."""
    batch, length, _ = pair.student.hidden_BTD.shape
    return jax.tree.map(lambda values: join(values, rows, steps, batch, length), records)


def _masked_logits(tokens: Tokens, operands: Operands) -> Array:
    return masked(logits(tokens, operands)[0], operands)


def _normaliser(logits_NV: Array) -> Normaliser:
    shift_N = logits_NV.max(axis=-1)
    return Normaliser(shift_N, jnp.log(jnp.exp(logits_NV - shift_N[:, None]).sum(axis=-1)))


def _log_probs(logits_NV: Array, normaliser: Normaliser) -> Array:
    return (logits_NV - normaliser.shift[:, None]) - normaliser.log_total[:, None]
