"""Log-probability statistics of tokens against a vocabulary, one chunk of tokens at a time, in plain XLA.

The logits of all tokens are the largest array of language-model training, so they never exist: a scan walks over chunks
of tokens. The backward pass, in ``backward``, makes logits again, by strips of columns. What compares two
distributions is in ``divergence``.

Legend: B rows, T time, N all tokens of this device, n those of one chunk, K candidates of one token, D model width,
V columns of the vocabulary on this device.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from reasoning.kernels.operands import MASKED, Operands, Statistics

CHUNKS = 8
"""Least number of chunks, where there are that many tokens: no chunk then holds more than a quarter of them."""


class Tokens(NamedTuple):
    """What logits are made of, besides the parameters: hidden states [N, D] or [n, D], and temperatures."""

    hidden: Array
    inverse_temperature: Array


def statistics(operands: Operands, targets_BTK: Array, logits_bytes: int) -> Statistics:
    """The forward pass over this device's tokens and columns, with at most ``logits_bytes`` of logits at a time.

    ``targets_BTK`` counts from this device's first column; an id outside its columns matches nothing here.
    """

    def chunk(part: tuple[Tokens, Array]) -> Statistics:
        tokens, targets_nK = part
        return statistics_of(masked(logits(tokens, operands)[0], operands), targets_nK)[0]

    tokens = flat(operands)
    size = chunk_size(len(tokens.hidden), operands.unembed_DV.shape[1], operands.accumulator.itemsize, logits_bytes)
    sums = by_chunks(chunk, (tokens, targets_BTK.reshape(-1, targets_BTK.shape[2])), size)
    return by_row(sums, targets_BTK.shape[:2])


def by_row(sums: Statistics, shape: tuple[int, ...]) -> Statistics:
    """Statistics of tokens on one axis as those of [B, T]."""
    return Statistics(*(each.reshape(*shape, *each.shape[1:]) for each in sums))


def statistics_of(logits_nV: Array, targets_nK: Array) -> tuple[Statistics, Array]:
    """The sums over a chunk's logits, and exp(z - shift), of which they are made."""
    shift_n = logits_nV.max(axis=-1)
    centred_nV = logits_nV - shift_n[:, None]
    weight_nV = jnp.exp(centred_nV)
    moment_n = (weight_nV * centred_nV).sum(axis=-1)
    return Statistics(shift_n, weight_nV.sum(axis=-1), moment_n, _at_candidates(logits_nV, targets_nK)), weight_nV


def flat(operands: Operands) -> Tokens:
    """All tokens on one axis."""
    width = operands.hidden_BTD.shape[2]
    return Tokens(operands.hidden_BTD.reshape(-1, width), operands.inverse_temperature_BT.reshape(-1))


def chunk_size(tokens: int, columns: int, itemsize: int, logits_bytes: int) -> int:
    """How many tokens make a chunk: as many as ``logits_bytes`` hold (one, if none), and at most an eighth of them all.

    Sixteen at a time where there are enough, since processors and compilers work on multiples.
    """
    held = max(1, min(logits_bytes // (columns * itemsize), -(-tokens // CHUNKS)))
    return held if held < 16 else held // 16 * 16


def by_chunks(function: Callable[[Any], Any], arrays: Any, size: int) -> Any:
    """``function`` of ``size`` tokens at a time, for trees of arrays [N, …] in and out.

    A last chunk that isn't full repeats tokens of the one before.
    """
    return summed_by_chunks(lambda _, part, repeated: (None, function(part)), None, arrays, size)[1]


def summed_by_chunks(
    function: Callable[[Any, Any, Array], tuple[Any, Any]], start: Any, arrays: Any, size: int
) -> tuple[Any, Any]:
    """As ``by_chunks``, with what goes from chunk to chunk: ``function(carried, part, repeated)`` gives it and results.

    The first ``repeated`` tokens of a part were in the chunk before, so sums must leave them out.
    """
    count = len(jax.tree.leaves(arrays)[0])

    def chunk(carried: Any, begin: Array) -> tuple[Any, Any]:
        # A scan's chunks have one shape; padding instead would copy the hidden states.
        first = jnp.minimum(begin, count - size)
        part = jax.tree.map(lambda each: lax.dynamic_slice_in_dim(each, first, size), arrays)
        return function(carried, part, begin - first)

    def joined(chunks: Array) -> Array:
        values, rest = chunks.reshape(-1, *chunks.shape[2:]), count % size
        return jnp.concatenate((values[: count - rest], values[len(values) - rest :])) if rest else values

    carried, chunks = lax.scan(chunk, start, jnp.arange(0, count, size))
    return carried, jax.tree.map(joined, chunks)


def product(left: Array, right: Array, summed: tuple[int, int], operands: Operands) -> Array:
    """A matrix product over one axis of each side, with wide sums."""
    left, right = left.astype(operands.operand), right.astype(operands.operand)
    axes = (((summed[0],), (summed[1],)), ((), ()))
    return lax.dot_general(left, right, axes, preferred_element_type=operands.accumulator)


def logits(tokens: Tokens, operands: Operands) -> tuple[Array, Array]:
    """A chunk's logits [n, V], and their derivative with respect to ``h W + b``."""
    logits_nV = product(tokens.hidden, operands.unembed_DV, (1, 0), operands)
    if operands.bias_V is not None:
        logits_nV = logits_nV + operands.bias_V.astype(logits_nV.dtype)[None, :]
    derivative = tokens.inverse_temperature[:, None]
    if operands.soft_cap is not None:
        bounded_nV = jnp.tanh(logits_nV / operands.soft_cap)
        logits_nV = operands.soft_cap * bounded_nV
        derivative = derivative * (1 - jnp.square(bounded_nV))  # tanh' = 1 - tanh^2
    return logits_nV * tokens.inverse_temperature[:, None], derivative


def masked(logits_nV: Array, operands: Operands) -> Array:
    """The logits, those of padded columns so low that they have no probability."""
    if operands.real_columns is None:
        return logits_nV
    return jnp.where(column_numbers(logits_nV) < operands.real_columns, logits_nV, MASKED)


def _at_candidates(logits_nV: Array, targets_nK: Array) -> Array:
    """The logits [n, K] of each token's candidates, 0 for those that aren't among these columns."""
    if targets_nK.shape[1] == 1:
        # A masked sum can fuse with the other sums over the logits; a gather would have to read them again.
        return jnp.where(column_numbers(logits_nV) == targets_nK, logits_nV, 0).sum(axis=-1, keepdims=True)
    places_nK = candidates_among(targets_nK, logits_nV)
    return jnp.take_along_axis(logits_nV, places_nK, axis=1, mode="fill", fill_value=0)


def candidates_among(targets_nK: Array, logits_nV: Array) -> Array:
    """The targets as indices, those before the first column moved behind the last, where indexing finds nothing."""
    return jnp.where(targets_nK < 0, logits_nV.shape[1], targets_nK)


def column_numbers(values: Array) -> Array:
    """The column of each entry."""
    return lax.broadcasted_iota(jnp.int32, values.shape, 1)
