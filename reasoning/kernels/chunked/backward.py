"""Gradients through logits that are made one strip of columns at a time, in plain XLA, whatever the loss.

All tokens see a strip of the matrix together, so that each column's gradient is finished when its strip is, in the type
that it leaves in; only the hidden states' gradient, the smaller one, is a sum that goes from strip to strip.

Legend: B rows, T time, N all tokens of this device, K candidates of one token, D model width, V columns of the
vocabulary on this device, v those of one strip.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from reasoning.kernels.chunked.forward import CHUNKS, Tokens, candidates_among, column_numbers, flat, logits, product
from reasoning.kernels.operands import (
    GradientTypes,
    LogitCoefficients,
    Operands,
    ParameterGradients,
    SoftmaxResiduals,
    strip_of,
    zeros_for,
)

LEAST_COLUMNS = 256
"""Columns of a strip at least (or an eighth of them all): narrower products are slow, and as large as hidden states."""

LogitGradient = Callable[[Array, Array], Array]
"""From a strip's logits [N, v] and its first column to the gradient of those logits."""


class _Carried(NamedTuple):
    """What goes from strip to strip: the sum of the hidden states' gradient, and the finished columns of the others."""

    hidden_ND: Array
    unembed_DV: Array
    bias_V: Array | None


def gradients(
    operands: Operands,
    targets_BTK: Array,
    residuals: SoftmaxResiduals,
    coefficients: LogitCoefficients,
    types: GradientTypes,
    hidden_sum_BTD: Array | None,
    logits_bytes: int,
) -> tuple[Array, ParameterGradients]:
    """The backward pass over this device's tokens and columns, with ``logits_bytes`` of logits at a time.

    Gradients leave as ``types`` has them, summed in the accumulator's type, the hidden states' on top of
    ``hidden_sum_BTD`` in that type.
    """
    targets_NK = targets_BTK.reshape(-1, targets_BTK.shape[2])
    of_softmax, of_entropy, of_target = coefficients
    of_target_NK = of_target.reshape(targets_NK.shape)
    shift, log_total, entropy, of_softmax, of_entropy = (
        values.reshape(-1, 1) for values in (*residuals, of_softmax, of_entropy)
    )

    def logit_gradient(logits_Nv: Array, start: Array) -> Array:
        log_p_Nv = (logits_Nv - shift) - log_total
        gradient_Nv = jnp.exp(log_p_Nv) * (of_softmax - of_entropy * (log_p_Nv + entropy))
        own_NK = targets_NK - start
        if own_NK.shape[1] == 1:
            # A comparison can fuse into the expression above; a scatter would write the strip once more.
            return gradient_Nv + jnp.where(column_numbers(logits_Nv) == own_NK, of_target_NK, 0)
        places_NK = candidates_among(own_NK, logits_Nv)
        return gradient_Nv.at[jnp.arange(len(places_NK))[:, None], places_NK].add(of_target_NK, mode="drop")

    return backpropagate(operands, logit_gradient, types, logits_bytes, hidden_sum_BTD)


def backpropagate(
    operands: Operands,
    logit_gradient: LogitGradient,
    types: GradientTypes,
    logits_bytes: int,
    hidden_sum_BTD: Array | None,
) -> tuple[Array, ParameterGradients]:
    """The gradients of hidden states, matrix and bias, where a loss has the gradient of the logits."""
    tokens = flat(operands)
    columns = operands.unembed_DV.shape[1]
    size = strip_size(len(tokens.hidden), columns, operands.accumulator.itemsize, logits_bytes)

    def strip(carried: _Carried, begin: Array) -> tuple[_Carried, None]:
        start = jnp.minimum(begin, columns - size)  # a last strip that isn't full repeats columns of the one before
        part = strip_of(operands, start, size)
        logits_Nv, derivative = logits(tokens, part)
        gradient_Nv = derivative * logit_gradient(logits_Nv, start)
        if part.real_columns is not None:
            gradient_Nv = jnp.where(column_numbers(logits_Nv) < part.real_columns, gradient_Nv, 0)
        # All tokens are in this product, so it is the whole sum: it may be rounded to the type that leaves at once.
        of_unembed = product(tokens.hidden, gradient_Nv, (0, 0), operands).astype(types.unembed)
        unembed_Dv = part.unembed_DV
        if columns % size:
            # Columns that the strip before had are written again to the others' gradients, with what they hold
            # already. Those of hidden states are a sum, to which they mustn't be added twice.
            unembed_Dv = jnp.where(column_numbers(unembed_Dv) >= begin - start, unembed_Dv, 0)
        of_bias = carried.bias_V
        if of_bias is not None:
            of_bias = lax.dynamic_update_slice_in_dim(of_bias, gradient_Nv.sum(axis=0), start, 0)
        return _Carried(
            carried.hidden_ND + product(gradient_Nv, unembed_Dv, (1, 1), operands),
            lax.dynamic_update_slice_in_dim(carried.unembed_DV, of_unembed, start, 1),
            of_bias,
        ), None

    sums, _ = lax.scan(strip, _beginning(operands, tokens, types, hidden_sum_BTD), jnp.arange(0, columns, size))
    of_hidden = sums.hidden_ND.astype(types.hidden).reshape(operands.hidden_BTD.shape)
    return of_hidden, ParameterGradients(sums.unembed_DV, sums.bias_V)


def strip_size(tokens: int, columns: int, itemsize: int, logits_bytes: int) -> int:
    """How many columns make a strip: at most an eighth of them all, and as many as ``logits_bytes`` hold.

    Where that is less than ``LEAST_COLUMNS``, memory gives way. Larger strips are a multiple of it.
    """
    most = -(-columns // CHUNKS)
    held = logits_bytes // (tokens * itemsize) // LEAST_COLUMNS * LEAST_COLUMNS
    return min(most, max(LEAST_COLUMNS, held))


def _beginning(operands: Operands, tokens: Tokens, types: GradientTypes, hidden_sum_BTD: Array | None) -> _Carried:
    """What the first strip adds to."""
    shape = tokens.hidden.shape
    if hidden_sum_BTD is None:
        of_hidden = zeros_for(operands, shape, operands.accumulator)
    else:
        of_hidden = hidden_sum_BTD.reshape(shape)
    return _Carried(of_hidden, *parameter_zeros(operands, types.unembed))


def parameter_zeros(operands: Operands, of_unembed: jnp.dtype) -> ParameterGradients:
    """What gradients of matrix and bias are added to."""
    bias_V = operands.bias_V
    return ParameterGradients(
        zeros_for(operands, operands.unembed_DV.shape, of_unembed),
        None if bias_V is None else zeros_for(operands, bias_V.shape, operands.accumulator),
    )
