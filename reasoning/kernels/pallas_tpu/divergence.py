"""How far a student's distribution is from a teacher's, as Pallas kernels for TPUs; neither's logits leave VMEM.

The counterpart of ``chunked_divergence``. Normalisers come first, from the log-probabilities' own kernel, one pass for
each model. Then a tile of both models' hidden states stays in VMEM while both matrices stream past it.

Legend: N tokens, D the student's width, E the teacher's, V columns of the vocabulary on this device; n, v one tile of N
and V.
"""

from functools import partial
from typing import Any

import jax.numpy as jnp
from jax import Array
from jax.experimental import pallas as pl

from reasoning.kernels.measures import Measure, terms
from reasoning.kernels.operands import Divergence, Normaliser, Normalisers, Operands, Pair, Sums, Types
from reasoning.kernels.pallas_tpu.backward import LogitGradient, push_back
from reasoning.kernels.pallas_tpu.forward import (
    Sweep,
    arrays_of,
    column_numbers,
    load_of,
    logits_of,
    sizes_of,
    statistics,
    stream_past,
)
from reasoning.kernels.pallas_tpu.tiles import TPU

ARRAYS = 10
"""How many arrays of a tile's logits a divergence needs at once; the mixture's logarithms need the most."""


def normalisers_of(pair: Pair, tpu: TPU) -> Normalisers:
    """Those over these columns alone; the caller merges them where the vocabulary is sharded."""
    return Normalisers(*(_normaliser(operands, tpu) for operands in pair))


def _normaliser(operands: Operands, tpu: TPU) -> Normaliser:
    nothing_BT1 = jnp.full((*operands.inverse_temperature_BT.shape, 1), -1, jnp.int32)
    found = statistics(operands, nothing_BT1, tpu)
    return Normaliser(found.shift, jnp.log(found.total))


def divergences(pair: Pair, normalisers: Normalisers, measure: Measure, tpu: TPU) -> Divergence:
    """The forward pass over this device's tokens and columns, where the whole vocabulary's normalisers are known."""
    _, width, columns = sizes_of(pair.student)
    by_token, by_column = _of_teacher(pair, normalisers, ())
    sweep = Sweep(
        name="token_divergence_forward",
        kernel=partial(_forward, pair_settings(pair), columns, measure),
        by_token=by_token,
        by_column=by_column,
        results=(1,) * len(Divergence._fields),
        load=load_of(pair, ARRAYS),
        products=width + sizes_of(pair.teacher)[1],
        exponentials=2,
    )
    found = stream_past(pair.student, sweep, tpu).reshape(*normalisers.student.shift.shape, -1)
    return Divergence(found[..., 0], found[..., 1])


def divergence_gradients(
    pair: Pair, normalisers: Normalisers, pull_BT: Array, upstream_BT: Array, measure: Measure, types: Types, tpu: TPU
) -> tuple[Array, Sums]:
    """The backward pass, to the student only; as ``chunked_divergence.divergence_gradients``."""
    count, width, columns = sizes_of(pair.student)
    by_token, by_column = _of_teacher(pair, normalisers, (pull_BT, upstream_BT))
    loss = LogitGradient(
        name="token_divergence_backward",
        by_token=by_token,
        by_column=by_column,
        slope=partial(_slope_of_divergence, pair_settings(pair)[1], measure),
        load=load_of(pair, ARRAYS),
        flops=count * columns * (6 * width + 2 * pair.teacher.unembed_DV.shape[0]),
    )
    return push_back(pair.student, loss, types, tpu)


def pair_settings(pair: Pair) -> tuple[tuple[float | None, jnp.dtype], ...]:
    """Of each of both, the cap of its logits and the type in which its matrix is multiplied."""
    return tuple((operands.soft_cap, operands.operand) for operands in pair)


def _of_teacher(pair: Pair, normalisers: Normalisers, further: tuple[Array, ...]) -> tuple[tuple, tuple]:
    """What comes to the student's operands, by token and by column: the teacher's, and numbers of each token."""
    _, hidden, unembed, *_ = arrays_of(pair.teacher)
    numbers = (*normalisers.student, *normalisers.teacher, pair.teacher.inverse_temperature_BT, *further)
    return (hidden, jnp.stack([values.reshape(-1) for values in numbers], axis=1)), (unembed,)


def _log_probs(
    tile: tuple[Any, ...], student_nv: Array, teacher: tuple[float | None, jnp.dtype]
) -> tuple[Array, Array]:
    """log p and log q of a tile, from the student's logits."""
    hidden, numbers, unembed = tile
    shift, log_total, teacher_shift, teacher_log_total, inverse = (numbers[:, at : at + 1] for at in range(5))
    teacher_nv = logits_of(hidden, unembed, 0.0, inverse, *teacher)[0]
    return (teacher_nv - teacher_shift) - teacher_log_total, (student_nv - shift) - log_total


def _slope_of_divergence(
    teacher: tuple[float | None, jnp.dtype], measure: Measure, tile: tuple[Any, ...], student_nv: Array, _: Array
) -> Array:
    """The gradient of each of the student's logits after the cap."""
    numbers = tile[1]
    log_p_nv, log_q_nv = _log_probs(tile, student_nv, teacher)
    _, pull_nv = terms(log_p_nv, log_q_nv, measure)
    whole_pull, upstream = numbers[:, 5:6], numbers[:, 6:7]
    return upstream * (pull_nv - jnp.exp(log_q_nv) * whole_pull)


def _forward(settings, columns: int, measure: Measure, limit, hidden, unembed, bias, inverse, *rest) -> None:
    """One tile of tokens against one tile of columns."""
    *tile, out, value, pull = rest
    v, last = pl.program_id(1), pl.num_programs(1) - 1

    @pl.when(v == 0)
    def _() -> None:
        for sums in (value, pull):
            sums[...] = jnp.zeros_like(sums)

    student_nv = logits_of(hidden, unembed, bias[...], inverse[...], *settings[0])[0]
    real_nv = column_numbers(v, student_nv) < jnp.minimum(limit[0, 0], columns)
    found = terms(*_log_probs(tuple(tile), student_nv, settings[1]), measure)
    for sums, each_nv in zip((value, pull), found, strict=True):
        sums[...] += jnp.where(real_nv, each_nv, 0).sum(axis=1, keepdims=True)

    @pl.when(v == last)
    def _() -> None:
        out[...] = jnp.concatenate([value[...], pull[...]], axis=1)
