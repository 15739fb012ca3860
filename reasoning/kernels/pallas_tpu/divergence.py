"""How far a student's distribution is from a teacher's, as Pallas kernels for TPUs; neither's logits leave VMEM.

The counterpart of ``chunked.divergence``. Normalisers come first, from the log-probabilities' own kernel, one pass for
each model. Then a tile of both models' hidden states stays in VMEM while both matrices stream past it.

Legend: N tokens, D the student's width, E the teacher's, V columns of the vocabulary on this device; n, v one tile of N
and V.
"""

from functools import partial
from typing import Any

import jax.numpy as jnp
from jax import Array
from jax.experimental import pallas as pl

from reasoning.kernels.divergence import Divergence, value_and_gradient
from reasoning.kernels.operands import (
    DivergenceSums,
    GradientTypes,
    Normaliser,
    Normalisers,
    Operands,
    ParameterGradients,
    StudentTeacher,
)
from reasoning.kernels.pallas_tpu.backward import BackwardPass, backpropagate
from reasoning.kernels.pallas_tpu.forward import (
    ForwardPass,
    arrays_of,
    column_numbers,
    load_of,
    logits_of,
    run_forward,
    sizes_of,
    statistics,
)
from reasoning.kernels.pallas_tpu.tiles import TPU

_ARRAYS = 10
"""How many arrays of a tile's logits a divergence needs at once; of those shipped JSD needs the most."""


def normalisers_of(models: StudentTeacher, tpu: TPU) -> Normalisers:
    """Those over these columns alone; the caller merges them where the vocabulary is sharded."""
    return Normalisers(*(_normaliser(operands, tpu) for operands in models))


def _normaliser(operands: Operands, tpu: TPU) -> Normaliser:
    no_target_BT1 = jnp.full((*operands.inverse_temperature_BT.shape, 1), -1, jnp.int32)
    sums = statistics(operands, no_target_BT1, tpu)
    return Normaliser(sums.shift, jnp.log(sums.total))


def divergences(
    models: StudentTeacher, normalisers: Normalisers | None, divergence: Divergence, tpu: TPU
) -> tuple[DivergenceSums, Normalisers]:
    """The forward pass over this device's tokens and columns; as ``chunked.divergence.divergences``."""
    # Running sums can't be rescaled to another shift, as a softmax's can: how f changes with it isn't known. So both
    # distributions are normalised first, by a pass of their own.
    known = normalisers_of(models, tpu) if normalisers is None else normalisers
    _, width, columns = sizes_of(models.student)
    by_token, by_column = _of_teacher(models, known, ())
    forward = ForwardPass(
        name="token_divergence_forward",
        kernel=partial(_forward, _logit_settings(models), columns, divergence),
        by_token=by_token,
        by_column=by_column,
        results=(1,) * len(DivergenceSums._fields),
        load=load_of(models, _ARRAYS),
        products=width + sizes_of(models.teacher)[1],
        exponentials=2,
    )
    sums = run_forward(models.student, forward, tpu).reshape(*known.student.shift.shape, -1)
    return DivergenceSums(sums[..., 0], sums[..., 1]), known


def divergence_gradients(
    models: StudentTeacher,
    normalisers: Normalisers,
    gradient_BT: Array,
    upstream_BT: Array,
    divergence: Divergence,
    types: GradientTypes,
    hidden_sum_BTD: Array | None,
    tpu: TPU,
) -> tuple[Array, ParameterGradients]:
    """The backward pass, to the student only; as ``chunked.divergence.divergence_gradients``."""
    count, width, columns = sizes_of(models.student)
    by_token, by_column = _of_teacher(models, normalisers, (gradient_BT, upstream_BT))
    backward = BackwardPass(
        name="token_divergence_backward",
        by_token=by_token,
        by_column=by_column,
        logit_gradient=partial(_logit_gradient, _logit_settings(models)[1], divergence),
        load=load_of(models, _ARRAYS),
        flops=count * columns * (6 * width + 2 * models.teacher.unembed_DV.shape[0]),
    )
    return backpropagate(models.student, backward, types, tpu, hidden_sum_BTD)


def _logit_settings(models: StudentTeacher) -> tuple[tuple[float | None, jnp.dtype], ...]:
    """Of each of both, the cap of its logits and the type in which its matrix is multiplied."""
    return tuple((operands.soft_cap, operands.operand) for operands in models)


def _of_teacher(models: StudentTeacher, normalisers: Normalisers, further: tuple[Array, ...]) -> tuple[tuple, tuple]:
    """What comes to the student's operands, by token and by column: the teacher's, and numbers of each token."""
    _, hidden, unembed, *_ = arrays_of(models.teacher)
    # In one array: VMEM pads the last axis to 128 lanes, so an array for each number would take 128 times its size.
    numbers = (*normalisers.student, *normalisers.teacher, models.teacher.inverse_temperature_BT, *further)
    return (hidden, jnp.stack([values.reshape(-1) for values in numbers], axis=1)), (unembed,)


def _log_probs(
    tile: tuple[Any, ...], student_nv: Array, teacher: tuple[float | None, jnp.dtype]
) -> tuple[Array, Array]:
    """log p and log q of a tile, from the student's logits."""
    hidden, numbers, unembed = tile
    shift, log_total, teacher_shift, teacher_log_total, inverse = (numbers[:, at : at + 1] for at in range(5))
    teacher_nv = logits_of(hidden, unembed, 0.0, inverse, *teacher)[0]
    return (teacher_nv - teacher_shift) - teacher_log_total, (student_nv - shift) - log_total


def _logit_gradient(
    teacher: tuple[float | None, jnp.dtype], divergence: Divergence, tile: tuple[Any, ...], student_nv: Array, _: Array
) -> Array:
    """The gradient of each of the student's logits after the cap."""
    numbers = tile[1]
    log_p_nv, log_q_nv = _log_probs(tile, student_nv, teacher)
    _, gradient_nv = value_and_gradient(divergence, log_p_nv, log_q_nv)
    gradient_sum, upstream = numbers[:, 5:6], numbers[:, 6:7]
    return upstream * (gradient_nv - jnp.exp(log_q_nv) * gradient_sum)


def _forward(settings, columns: int, divergence: Divergence, limit, hidden, unembed, bias, inverse, *rest) -> None:
    """One tile of tokens against one tile of columns."""
    *tile, out, value, gradient = rest
    v, last = pl.program_id(1), pl.num_programs(1) - 1

    @pl.when(v == 0)
    def _() -> None:
        for sums in (value, gradient):
            sums[...] = jnp.zeros_like(sums)

    student_nv = logits_of(hidden, unembed, bias[...], inverse[...], *settings[0])[0]
    real_nv = column_numbers(v, student_nv.shape) < jnp.minimum(limit[0, 0], columns)
    columns_nv = value_and_gradient(divergence, *_log_probs(tuple(tile), student_nv, settings[1]))
    for sums, each_nv in zip((value, gradient), columns_nv, strict=True):
        # A select and no product with 0: what a ragged tile reads behind the matrix may be NaN.
        sums[...] += jnp.where(real_nv, each_nv, 0).sum(axis=1, keepdims=True)

    @pl.when(v == last)
    def _() -> None:
        out[...] = jnp.concatenate([value[...], gradient[...]], axis=1)
