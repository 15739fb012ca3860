"""Gradients through logits that are made one strip of columns at a time, in plain XLA, whatever the loss.

All tokens see a strip of the matrix together, so that each column's gradient is finished when its strip is, in the type
that it leaves in; only the hidden states' gradient, the smaller one, is a sum that goes from strip to strip.

Legend: B rows, T time, N all tokens of this device, K candidates of one token, D model width, V columns of the
vocabulary on this device, v those of one strip.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from reasoning.kernels.chunked.forward import CHUNKS, Tokens, candidates_among, column_numbers, flat, logits, product
from reasoning.kernels.operands import Operands, Slopes, Softmax, Sums, Types

LEAST = 256
"""Columns of a strip at least (or an eighth of them all): narrower products are slow, and as large as hidden states."""

LogitGradient = Callable[[Array, Array], Array]
"""From a strip's logits [N, v] and its first column to the gradient of those logits."""


class _Carried(NamedTuple):
    """What goes from strip to strip: the sum of the hidden states' gradient, and the finished columns of the others."""

    hidden_ND: Array
    unembed_DV: Array
    bias_V: Array | None


def gradients(
    operands: Operands, targets_BTK: Array, softmax: Softmax, slopes: Slopes, types: Types, logits_bytes: int
) -> tuple[Array, Sums]:
    """The backward pass over this device's tokens and columns, with ``logits_bytes`` of logits at a time.

    The matrix's gradient leaves as ``types`` has it, summed in the accumulator's type.
    """
    targets_NK = targets_BTK.reshape(-1, targets_BTK.shape[2])
    shift, log_total, entropy, level, bend = (values.reshape(-1, 1) for values in (*softmax, slopes.level, slopes.bend))
    pick_NK = slopes.pick.reshape(targets_NK.shape)

    def slope_of(logits_Nv: Array, start: Array) -> Array:
        log_p_Nv = (logits_Nv - shift) - log_total
        smooth_Nv = jnp.exp(log_p_Nv) * (level - bend * (log_p_Nv + entropy))
        own_NK = targets_NK - start
        if own_NK.shape[1] == 1:
            return smooth_Nv + jnp.where(column_numbers(logits_Nv) == own_NK, pick_NK, 0)
        places_NK = candidates_among(own_NK, logits_Nv)
        return smooth_Nv.at[jnp.arange(len(places_NK))[:, None], places_NK].add(pick_NK, mode="drop")

    return push_back(operands, slope_of, types, logits_bytes)


def push_back(operands: Operands, slope_of: LogitGradient, types: Types, logits_bytes: int) -> tuple[Array, Sums]:
    """The gradients of hidden states, matrix and bias, where a loss has the gradient of the logits."""
    tokens = flat(operands)
    columns = operands.unembed_DV.shape[1]
    size = strip_size(len(tokens.hidden), columns, operands.accumulator.itemsize, logits_bytes)

    def strip(carried: _Carried, begin: Array) -> tuple[_Carried, None]:
        start = jnp.minimum(begin, columns - size)  # a last strip that isn't full repeats columns of the one before
        part = strip_of(operands, start, size)
        logits_Nv, slope = logits(tokens, part)
        gradient_Nv = slope * slope_of(logits_Nv, start)
        if part.real_columns is not None:
            gradient_Nv = jnp.where(column_numbers(logits_Nv) < part.real_columns, gradient_Nv, 0)
        of_unembed = product(tokens.hidden, gradient_Nv, (0, 0), operands).astype(types.unembed)
        unembed_Dv = part.unembed_DV
        if columns % size:
            unembed_Dv = jnp.where(column_numbers(unembed_Dv) >= begin - start, unembed_Dv, 0)
        of_bias = carried.bias_V
        if of_bias is not None:
            of_bias = lax.dynamic_update_slice_in_dim(of_bias, gradient_Nv.sum(axis=0), start, 0)
        return _Carried(
            carried.hidden_ND + product(gradient_Nv, unembed_Dv, (1, 1), operands),
            lax.dynamic_update_slice_in_dim(carried.unembed_DV, of_unembed, start, 1),
            of_bias,
        ), None

    found, _ = lax.scan(strip, _nothing_yet(operands, tokens, types), jnp.arange(0, columns, size))
    of_hidden = found.hidden_ND.astype(types.hidden).reshape(operands.hidden_BTD.shape)
    return of_hidden, Sums(found.unembed_DV, found.bias_V)


def strip_size(tokens: int, columns: int, itemsize: int, logits_bytes: int) -> int:
    """How many columns make a strip: at most an eighth of them all, and as many as ``logits_bytes`` hold.

    Where that is less than ``LEAST``, memory gives way. Larger strips are a multiple of it.
    """
    most = -(-columns // CHUNKS)
    held = logits_bytes // (tokens * itemsize) // LEAST * LEAST
    return min(most, max(LEAST, held))


def strip_of(operands: Operands, start: Array, size: int) -> Operands:
    """The operands of ``size`` columns from ``start`` on."""
    bias_V, real_columns = operands.bias_V, operands.real_columns
    return replace(
        operands,
        unembed_DV=lax.dynamic_slice_in_dim(operands.unembed_DV, start, size, 1),
        bias_V=None if bias_V is None else lax.dynamic_slice_in_dim(bias_V, start, size, 0),
        real_columns=None if real_columns is None else real_columns - start,
    )


def _nothing_yet(operands: Operands, tokens: Tokens, types: Types) -> _Carried:
    """What the first strip finds; under shard_map it differs from device to device."""

    def zeros(shape: tuple[int, ...], dtype: jnp.dtype) -> Array:
        start = jnp.zeros(shape, dtype)
        return lax.pcast(start, operands.varying, to="varying") if operands.varying else start

    wide = operands.accumulator
    return _Carried(
        zeros(tokens.hidden.shape, wide),
        zeros(operands.unembed_DV.shape, types.unembed),
        None if operands.bias_V is None else zeros(operands.bias_V.shape, wide),
    )
