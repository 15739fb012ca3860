"""Log-probability statistics of tokens against a vocabulary, one chunk of tokens at a time, in plain XLA.

The logits of all tokens are the largest array of language-model training, so they never exist: a scan walks over chunks
of tokens, and the backward pass makes each chunk's logits again. What compares two distributions is in
``chunked_divergence``.

Legend: B rows, T time, K candidates of one token, D model width, V columns of the vocabulary on this device, N tokens
of one chunk.
"""

from typing import Literal, NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from reasoning.kernels.operands import MASKED, Operands, Slopes, Softmax, Statistics, Sums

CHUNKS = 8
"""Least number of chunks, where there are that many tokens: no chunk then holds more than a quarter of them."""


class Tokens(NamedTuple):
    """What one chunk's logits are made of, besides the parameters."""

    hidden_ND: Array
    inverse_temperature_N: Array


def statistics(operands: Operands, targets_BTK: Array, logits_bytes: int) -> Statistics:
    """The forward pass over this device's tokens and columns, with at most ``logits_bytes`` of logits at a time.

    ``targets_BTK`` counts from this device's first column; an id outside its columns matches nothing here.
    """
    rows, steps = _chunk_shape_of(operands, logits_bytes)

    def chunk(_: None, inputs: tuple[Tokens, Array]) -> tuple[None, Statistics]:
        tokens, targets_NK = inputs
        logits_NV = masked(logits(tokens, operands)[0], operands)
        shift_N = logits_NV.max(axis=-1)
        centred_NV = logits_NV - shift_N[:, None]
        weight_NV = jnp.exp(centred_NV)
        return None, Statistics(
            shift=shift_N,
            total=weight_NV.sum(axis=-1),
            moment=(weight_NV * centred_NV).sum(axis=-1),
            target=_at_candidates(logits_NV, targets_NK),
        )

    _, chunks = lax.scan(chunk, None, (split_tokens(operands, rows, steps), split(targets_BTK, rows, steps)))
    return Statistics(*(join(values, rows, steps, *targets_BTK.shape[:2]) for values in chunks))


def gradients(
    operands: Operands,
    targets_BTK: Array,
    softmax: Softmax,
    slopes: Slopes,
    hidden_type: jnp.dtype,
    logits_bytes: int,
) -> tuple[Array, Sums]:
    """The backward pass over this device's tokens and columns: the hidden states' gradient in ``hidden_type``, and the
    parameters', summed in the accumulator's type.
    """
    rows, steps = _chunk_shape_of(operands, logits_bytes)

    def chunk(sums: Sums, inputs: tuple) -> tuple[Sums, Array]:
        tokens, targets_NK, softmax_N, slopes_N = inputs
        logits_NV, slope = logits(tokens, operands)
        gradient_NV = slope * _logit_gradient(logits_NV, targets_NK, softmax_N, slopes_N)
        if operands.real_columns is not None:
            gradient_NV = jnp.where(_columns(logits_NV) < operands.real_columns, gradient_NV, 0)
        return push_back(gradient_NV, tokens, operands, sums, hidden_type)

    tokens, targets = split_tokens(operands, rows, steps), split(targets_BTK, rows, steps)
    kept = Softmax(*(split(values, rows, steps) for values in softmax))
    # A ragged end repeats real tokens, whose softmax is finite, and their zero slopes make every gradient zero.
    upstream = Slopes(*(split(values, rows, steps, end="constant") for values in slopes))
    sums, chunks = lax.scan(chunk, no_sums(operands), (tokens, targets, kept, upstream))
    return join(chunks, rows, steps, *targets_BTK.shape[:2]), sums


def no_sums(operands: Operands) -> Sums:
    """The zeros that the parameters' sums begin with; under shard_map they differ from device to device."""

    def zeros(shape: tuple[int, ...]) -> Array:
        start = jnp.zeros(shape, operands.accumulator)
        return lax.pcast(start, operands.varying, to="varying") if operands.varying else start

    return Sums(zeros(operands.unembed_DV.shape), None if operands.bias_V is None else zeros(operands.bias_V.shape))


def push_back(
    gradient_NV: Array, tokens: Tokens, operands: Operands, sums: Sums, hidden_type: jnp.dtype
) -> tuple[Sums, Array]:
    """A chunk's gradient of ``h W + b`` taken on: added to the parameters' sums, and to the hidden states [N, D]."""
    of_bias = None if sums.bias_V is None else sums.bias_V + gradient_NV.sum(axis=0)
    of_unembed = sums.unembed_DV + _product(tokens.hidden_ND, gradient_NV, (0, 0), operands)
    of_hidden = _product(gradient_NV, operands.unembed_DV, (1, 1), operands)
    return Sums(of_unembed, of_bias), of_hidden.astype(hidden_type)


def chunk_shape(rows: int, length: int, columns: int, itemsize: int, logits_bytes: int) -> tuple[int, int]:
    """How many rows and time steps make one chunk: all rows of a stretch of time while they fit, then fewer rows.

    Time is cut first, so that a batch axis sharded over devices stays as it is. A chunk's logits take at most
    ``logits_bytes`` (unless one token's take more), and no chunk holds more than a quarter of four or more tokens.
    """
    tokens = max(1, logits_bytes // (columns * itemsize))
    steps = min(_share(length, CHUNKS), max(1, tokens // rows))
    stretches = -(-length // steps)
    steps = -(-length // stretches)
    return min(_share(rows, -(-CHUNKS // stretches)), max(1, tokens // steps)), steps


def _share(size: int, parts: int) -> int:
    """The evenest part when ``size`` things are cut into at least ``parts`` parts (or single things, if fewer)."""
    return size if parts == 1 else min(-(-size // parts), max(1, (size - 1) // (parts - 1)))


def split(values: Array, rows: int, steps: int, end: Literal["edge", "constant"] = "edge") -> Array:
    """[B, T, ...] to [chunks, N, ...]; a ragged end repeats the last row and step ('edge') or is zero ('constant')."""
    batch, length, *rest = values.shape
    down, across = -(-batch // rows), -(-length // steps)
    padding = [(0, down * rows - batch), (0, across * steps - length)] + [(0, 0)] * len(rest)
    blocks = jnp.pad(values, padding, mode=end).reshape(down, rows, across, steps, *rest)
    return jnp.swapaxes(blocks, 1, 2).reshape(down * across, rows * steps, *rest)


def join(chunks: Array, rows: int, steps: int, batch: int, length: int) -> Array:
    """The inverse of ``split``: [chunks, N, ...] back to [B, T, ...], without the padding."""
    down, across, rest = -(-batch // rows), -(-length // steps), chunks.shape[2:]
    blocks = jnp.swapaxes(chunks.reshape(down, across, rows, steps, *rest), 1, 2)
    return blocks.reshape(down * rows, across * steps, *rest)[:batch, :length]


def _chunk_shape_of(operands: Operands, logits_bytes: int) -> tuple[int, int]:
    batch, length, _ = operands.hidden_BTD.shape
    columns, itemsize = operands.unembed_DV.shape[1], operands.accumulator.itemsize
    return chunk_shape(batch, length, columns, itemsize, logits_bytes)


def split_tokens(operands: Operands, rows: int, steps: int) -> Tokens:
    """All tokens in chunks, on a new first axis."""
    return Tokens(split(operands.hidden_BTD, rows, steps), split(operands.inverse_temperature_BT, rows, steps))


def _product(left: Array, right: Array, summed: tuple[int, int], operands: Operands) -> Array:
    """A matrix product over one axis of each side, with wide sums."""
    left, right = left.astype(operands.operand), right.astype(operands.operand)
    axes = (((summed[0],), (summed[1],)), ((), ()))
    return lax.dot_general(left, right, axes, preferred_element_type=operands.accumulator)


def logits(tokens: Tokens, operands: Operands) -> tuple[Array, Array]:
    """A chunk's logits [N, V], and their derivative with respect to ``h W + b``."""
    logits_NV = _product(tokens.hidden_ND, operands.unembed_DV, (1, 0), operands)
    if operands.bias_V is not None:
        logits_NV = logits_NV + operands.bias_V.astype(logits_NV.dtype)[None, :]
    slope = tokens.inverse_temperature_N[:, None]
    if operands.soft_cap is not None:
        bounded_NV = jnp.tanh(logits_NV / operands.soft_cap)
        logits_NV = operands.soft_cap * bounded_NV
        slope = slope * (1 - jnp.square(bounded_NV))
    return logits_NV * tokens.inverse_temperature_N[:, None], slope


def masked(logits_NV: Array, operands: Operands) -> Array:
    """The logits, those of padded columns so low that they have no probability."""
    if operands.real_columns is None:
        return logits_NV
    return jnp.where(_columns(logits_NV) < operands.real_columns, logits_NV, MASKED)


def _logit_gradient(logits_NV: Array, targets_NK: Array, softmax: Softmax, slopes: Slopes) -> Array:
    log_p_NV = (logits_NV - softmax.shift[:, None]) - softmax.log_total[:, None]
    surprise_NV = log_p_NV + softmax.entropy[:, None]
    smooth_NV = jnp.exp(log_p_NV) * (slopes.level[:, None] - slopes.bend[:, None] * surprise_NV)
    if targets_NK.shape[1] == 1:
        return smooth_NV + jnp.where(_columns(logits_NV) == targets_NK, slopes.pick, 0)
    rows_N1 = jnp.arange(logits_NV.shape[0])[:, None]
    return smooth_NV.at[rows_N1, _elsewhere(targets_NK, logits_NV)].add(slopes.pick, mode="drop")


def _at_candidates(logits_NV: Array, targets_NK: Array) -> Array:
    """The logits [N, K] of each token's candidates, 0 for those that aren't among these columns."""
    if targets_NK.shape[1] == 1:
        return jnp.where(_columns(logits_NV) == targets_NK, logits_NV, 0).sum(axis=-1, keepdims=True)
    places_NK = _elsewhere(targets_NK, logits_NV)
    return jnp.take_along_axis(logits_NV, places_NK, axis=1, mode="fill", fill_value=0)


def _elsewhere(targets_NK: Array, logits_NV: Array) -> Array:
    """The targets, those before the first column moved behind the last, where indexing finds nothing."""
    return jnp.where(targets_NK < 0, logits_NV.shape[1], targets_NK)


def _columns(logits_NV: Array) -> Array:
    return lax.broadcasted_iota(jnp.int32, logits_NV.shape, 1)
