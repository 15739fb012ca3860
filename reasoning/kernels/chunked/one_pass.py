"""Log-probabilities and their gradients in one pass, where a token's weight follows from its own log-probability.

The backward pass makes logits again because a loss may need all tokens' results before it says how much one weighs.
Where it needs that token's alone, a chunk's logits become its statistics and, while they are there, its gradients:
6 N D V operations where two passes need 8. The price is that every chunk adds to the gradient of the whole matrix, in
the type of sums.

Legend: B rows, T time, N all tokens of this device, n those of one chunk, D model width, V columns of the vocabulary on
this device, v those of one strip.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from reasoning.kernels.chunked.backward import parameter_zeros
from reasoning.kernels.chunked.forward import (
    CHUNKS,
    Tokens,
    by_row,
    chunk_size,
    column_numbers,
    flat,
    logits,
    masked,
    product,
    statistics_of,
    summed_by_chunks,
)
from reasoning.kernels.operands import Operands, ParameterGradients, Statistics

_LEAST_TOKENS = 256
"""Tokens of a chunk at least (or an eighth of them all): with fewer, adding to the matrix's gradient takes longer than
the product that is saved."""


def weighted(
    operands: Operands,
    targets_BT1: Array,
    weigh: Callable[[Array, Any], Array],
    values: Any,
    merged: Callable[[Statistics], Statistics],
    logits_bytes: int,
) -> tuple[Statistics, Array, ParameterGradients]:
    """The statistics of the whole vocabulary, and the gradients of a sum of losses of tokens.

    ``weigh(log_probs, values)`` gives the derivative of each token's loss in its log p(target), for arrays [n, 1] of a
    chunk's tokens; ``values`` is a tree of arrays [B, T]. ``merged`` makes statistics of the whole vocabulary from this
    device's columns, for a chunk of tokens; hidden states' gradients [B, T, D] are sums over these columns, and all
    gradients have the accumulator's type. ``logits_bytes`` hold a chunk's logits, or ``_LEAST_TOKENS`` tokens where
    those need more.
    """

    def chunk(
        sums: ParameterGradients, part: tuple[Tokens, Array, Any], repeated: Array
    ) -> tuple[ParameterGradients, tuple[Statistics, Array]]:
        tokens, targets_n1, values_n1 = part
        logits_nV, derivative = logits(tokens, operands)
        logits_nV = masked(logits_nV, operands)
        own, exponential_nV = statistics_of(logits_nV, targets_n1)
        whole = merged(own)
        log_probs_n1 = (whole.target - whole.shift[:, None]) - jnp.log(whole.total)[:, None]
        weights_n1 = weigh(log_probs_n1, values_n1).astype(operands.accumulator)
        share_n1 = (jnp.exp(own.shift - whole.shift) / whole.total)[:, None]
        hit_nV = column_numbers(logits_nV) == targets_n1
        gradient_nV = weights_n1 * derivative * (jnp.where(hit_nV, 1, 0) - share_n1 * exponential_nV)
        of_hidden = product(gradient_nV, operands.unembed_DV, (1, 1), operands)
        fresh_n1 = lax.broadcasted_iota(jnp.int32, weights_n1.shape, 0) >= repeated
        return _added(sums, tokens.hidden, jnp.where(fresh_n1, gradient_nV, 0), operands), (whole, of_hidden)

    tokens = flat(operands)
    count, columns = len(tokens.hidden), operands.unembed_DV.shape[1]
    held = chunk_size(count, columns, operands.accumulator.itemsize, logits_bytes)
    size = max(held, min(_LEAST_TOKENS, -(-count // CHUNKS)))
    arrays = tokens, targets_BT1.reshape(-1, 1), jax.tree.map(lambda each: each.reshape(-1, 1), values)
    sums, (statistics, of_hidden) = summed_by_chunks(
        chunk, parameter_zeros(operands, operands.accumulator), arrays, size
    )
    return by_row(statistics, targets_BT1.shape[:2]), of_hidden.reshape(operands.hidden_BTD.shape), sums


def _added(sums: ParameterGradients, hidden_nD: Array, gradient_nV: Array, operands: Operands) -> ParameterGradients:
    """The parameters' gradients with a chunk's, a strip of columns at a time: a product of the matrix's size beside
    the sum would take as much memory again."""
    columns = gradient_nV.shape[1]
    size = -(-columns // CHUNKS)

    def strip(unembed_DV: Array, begin: Array) -> tuple[Array, None]:
        start = jnp.minimum(begin, columns - size)  # a last strip that isn't full overlaps the one before
        gradient_nv = lax.dynamic_slice_in_dim(gradient_nV, start, size, 1)
        if columns % size:
            gradient_nv = jnp.where(column_numbers(gradient_nv) >= begin - start, gradient_nv, 0)
        sum_Dv = lax.dynamic_slice_in_dim(unembed_DV, start, size, 1)
        sum_Dv = sum_Dv + product(hidden_nD, gradient_nv, (0, 0), operands)
        return lax.dynamic_update_slice_in_dim(unembed_DV, sum_Dv, start, 1), None

    of_unembed, _ = lax.scan(strip, sums.unembed_DV, jnp.arange(0, columns, size))
    of_bias = None if sums.bias_V is None else sums.bias_V + gradient_nV.sum(axis=0)
    return ParameterGradients(of_unembed, of_bias)
