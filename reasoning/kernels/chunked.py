"""Log-probability statistics of tokens against a vocabulary, one chunk of tokens at a time, in plain XLA.

The logits of all tokens are the largest array of language-model training, so they never exist: a scan walks over chunks
of tokens, and the backward pass makes each chunk's logits again. Everything here is local to one device; sums over a
sharded vocabulary are the caller's. What compares two distributions is in ``chunked_divergence``.

Legend: B rows, T time, D model width, V columns of the vocabulary on this device, N tokens of one chunk.
"""

from typing import Literal, NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from reasoning.core.errors import InputError

CHUNKS = 8
"""Least number of chunks, where there are that many tokens: no chunk then holds more than a quarter of them."""

MASKED = -1e30
"""Logit of a padded column: its exponential is zero, and products with it stay finite (minus infinity's would not)."""


LOGITS_BYTES = 64 * 2**20
"""How much memory one chunk's logits may take on a device, unless a caller says otherwise."""


class Head(NamedTuple):
    """What shapes the logits besides the arrays, and how many bytes of them one chunk may take."""

    soft_cap: float | None
    logits_bytes: int


class Operands(NamedTuple):
    """The arrays that make the logits ``soft_cap * tanh((h W + b) / soft_cap) / temperature``.

    Columns from the scalar ``real_columns`` on are padding and have no probability; None means that all are real.
    """

    hidden_BTD: Array
    unembed_DV: Array
    bias_V: Array | None
    inverse_temperature_BT: Array
    real_columns: Array | None

    @property
    def accumulator(self) -> jnp.dtype:
        """The type of sums and outputs: float32, or float64 where the inputs are (so that finite differences work)."""
        return jnp.promote_types(self.operand, jnp.float32)

    @property
    def operand(self) -> jnp.dtype:
        """The type in which matrices are multiplied."""
        return jnp.result_type(self.hidden_BTD, self.unembed_DV)


class Statistics(NamedTuple):
    """Sums over one device's columns, from which log-probability, entropy and log-sum-exp follow; each [B, T].

    ``shift`` is the largest logit z, ``total`` sums exp(z - shift), ``moment`` sums exp(z - shift) (z - shift), and
    ``target`` is the target's logit (0 where it isn't among these columns). Sums relative to the shift keep their
    precision when logits are in the thousands.
    """

    shift: Array
    total: Array
    moment: Array
    target: Array


class Tokens(NamedTuple):
    """What one chunk's logits are made of, besides the parameters."""

    hidden_ND: Array
    inverse_temperature_N: Array


class Softmax(NamedTuple):
    """What the backward pass keeps of the forward pass, over the whole vocabulary: log p = z - shift - log_total."""

    shift: Array
    log_total: Array
    entropy: Array


class Slopes(NamedTuple):
    """A logit's gradient is ``p (level - bend (log p + entropy))``, plus ``pick`` for the target's; each [B, T]."""

    level: Array
    bend: Array
    pick: Array


class Sums(NamedTuple):
    """Gradients of matrix and bias over this device's tokens, in the accumulator's type."""

    unembed_DV: Array
    bias_V: Array | None


def check_temperature(temperature: float | Array) -> None:
    """Raises InputError for a number that isn't positive; what an array holds isn't known before the program runs."""
    if isinstance(temperature, int | float) and not temperature > 0:
        raise InputError(f"temperature is {temperature}; it divides the logits, so it must be above 0")


def check_soft_cap(soft_cap: float | None) -> None:
    """Raises InputError for a cap that isn't positive."""
    if soft_cap is not None and not soft_cap > 0:
        raise InputError(f"soft_cap is {soft_cap}; it must be above 0, or None for no cap")


def inverse_of(temperature: float | Array, shape: tuple[int, ...], dtype: jnp.dtype) -> Array:
    """1 / temperature for each token: a number, or an array that broadcasts to the ``shape`` [B, T]."""
    values = jnp.asarray(temperature, dtype)
    values = values.reshape((1,) * (2 - values.ndim) + values.shape)
    return jnp.broadcast_to(1 / values, shape)


def statistics(operands: Operands, targets_BT: Array, head: Head) -> Statistics:
    """The forward pass over this device's tokens and columns.

    ``targets_BT`` counts from this device's first column; an id outside its columns matches nothing here.
    """
    rows, steps = _chunk_shape_of(operands, head)

    def chunk(_: None, inputs: tuple[Tokens, Array]) -> tuple[None, Statistics]:
        tokens, targets_N = inputs
        logits_NV = masked(logits(tokens, operands, head)[0], operands)
        shift_N = logits_NV.max(axis=-1)
        centred_NV = logits_NV - shift_N[:, None]
        weight_NV = jnp.exp(centred_NV)
        is_target_NV = _columns(logits_NV) == targets_N[:, None]
        return None, Statistics(
            shift=shift_N,
            total=weight_NV.sum(axis=-1),
            moment=(weight_NV * centred_NV).sum(axis=-1),
            target=jnp.where(is_target_NV, logits_NV, 0).sum(axis=-1),
        )

    _, chunks = lax.scan(chunk, None, (split_tokens(operands, rows, steps), split(targets_BT, rows, steps)))
    return Statistics(*(join(values, rows, steps, *targets_BT.shape) for values in chunks))


def gradients(
    operands: Operands,
    targets_BT: Array,
    softmax: Softmax,
    slopes: Slopes,
    start: Sums,
    hidden_type: jnp.dtype,
    head: Head,
) -> tuple[Array, Sums]:
    """The backward pass over this device's tokens and columns: the hidden states' gradient, and the parameters'.

    ``start`` holds the zeros that the sums begin with; the hidden states' gradient has type ``hidden_type``.
    """
    rows, steps = _chunk_shape_of(operands, head)

    def chunk(sums: Sums, inputs: tuple) -> tuple[Sums, Array]:
        tokens, targets_N, softmax_N, slopes_N = inputs
        logits_NV, slope = logits(tokens, operands, head)
        gradient_NV = slope * _logit_gradient(logits_NV, targets_N, softmax_N, slopes_N)
        if operands.real_columns is not None:
            gradient_NV = jnp.where(_columns(logits_NV) < operands.real_columns, gradient_NV, 0)
        return push_back(gradient_NV, tokens, operands, sums, hidden_type)

    tokens, targets = split_tokens(operands, rows, steps), split(targets_BT, rows, steps)
    kept = Softmax(*(split(values, rows, steps) for values in softmax))
    # A ragged end repeats real tokens, whose softmax is finite, and their zero slopes make every gradient zero.
    upstream = Slopes(*(split(values, rows, steps, end="constant") for values in slopes))
    sums, chunks = lax.scan(chunk, start, (tokens, targets, kept, upstream))
    return join(chunks, rows, steps, *targets_BT.shape), sums


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


def _chunk_shape_of(operands: Operands, head: Head) -> tuple[int, int]:
    batch, length, _ = operands.hidden_BTD.shape
    columns, itemsize = operands.unembed_DV.shape[1], operands.accumulator.itemsize
    return chunk_shape(batch, length, columns, itemsize, head.logits_bytes)


def split_tokens(operands: Operands, rows: int, steps: int) -> Tokens:
    """All tokens in chunks, on a new first axis."""
    return Tokens(split(operands.hidden_BTD, rows, steps), split(operands.inverse_temperature_BT, rows, steps))


def _product(left: Array, right: Array, summed: tuple[int, int], operands: Operands) -> Array:
    """A matrix product over one axis of each side, with wide sums."""
    left, right = left.astype(operands.operand), right.astype(operands.operand)
    axes = (((summed[0],), (summed[1],)), ((), ()))
    return lax.dot_general(left, right, axes, preferred_element_type=operands.accumulator)


def logits(tokens: Tokens, operands: Operands, head: Head) -> tuple[Array, Array]:
    """A chunk's logits [N, V], and their derivative with respect to ``h W + b``."""
    logits_NV = _product(tokens.hidden_ND, operands.unembed_DV, (1, 0), operands)
    if operands.bias_V is not None:
        logits_NV = logits_NV + operands.bias_V.astype(logits_NV.dtype)[None, :]
    slope = tokens.inverse_temperature_N[:, None]
    if head.soft_cap is not None:
        bounded_NV = jnp.tanh(logits_NV / head.soft_cap)
        logits_NV = head.soft_cap * bounded_NV
        slope = slope * (1 - jnp.square(bounded_NV))
    return logits_NV * tokens.inverse_temperature_N[:, None], slope


def masked(logits_NV: Array, operands: Operands) -> Array:
    """The logits, those of padded columns so low that they have no probability."""
    if operands.real_columns is None:
        return logits_NV
    return jnp.where(_columns(logits_NV) < operands.real_columns, logits_NV, MASKED)


def _logit_gradient(logits_NV: Array, targets_N: Array, softmax: Softmax, slopes: Slopes) -> Array:
    log_p_NV = (logits_NV - softmax.shift[:, None]) - softmax.log_total[:, None]
    surprise_NV = log_p_NV + softmax.entropy[:, None]
    smooth_NV = jnp.exp(log_p_NV) * (slopes.level[:, None] - slopes.bend[:, None] * surprise_NV)
    return smooth_NV + jnp.where(_columns(logits_NV) == targets_N[:, None], slopes.pick[:, None], 0)


def _columns(logits_NV: Array) -> Array:
    return lax.broadcasted_iota(jnp.int32, logits_NV.shape, 1)
