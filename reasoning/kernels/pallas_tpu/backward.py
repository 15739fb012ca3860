"""Gradients through logits that live in VMEM only, as one Pallas kernel for TPUs, whatever the loss.

A tile of the matrix and the float32 sum of its gradient stay in VMEM while hidden states stream past. What that gives
for the hidden states is added to a float32 array in HBM by copies that run beside the matrix products. So each logit is
made once, and 6 N D V operations do both gradients; two kernels with one gradient each would need 8.

Legend: N tokens, K candidates of one token, D model width, V columns of the vocabulary on this device; n, v one tile of
N and V.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from reasoning.kernels.operands import GradientTypes, LogitCoefficients, Operands, ParameterGradients, SoftmaxResiduals
from reasoning.kernels.pallas_tpu.forward import (
    arrays_of,
    candidate,
    column_numbers,
    load_of,
    logits_of,
    over_candidates,
    parts,
    product,
    row_numbers,
    sizes_of,
)
from reasoning.kernels.pallas_tpu.hidden_gradient import HiddenGradient
from reasoning.kernels.pallas_tpu.tiles import TPU, Load, Tiles, backward_tiles

ARRAYS = 5
"""How many arrays of a tile's logits the gradients of log-probabilities need at once."""


@dataclass(frozen=True)
class BackwardPass:
    """What a loss brings to the kernel: the gradient of a tile's logits, and the arrays which that needs.

    ``logit_gradient(tile, logits_nv, column_nv)`` reads its arrays' parts from the references ``tile``: of those
    ``by_token`` [N, …] a tile of tokens, of those ``by_column`` [E, V] a tile of columns. ``load`` and ``flops`` count
    all of it.
    """

    name: str
    by_token: tuple[Array, ...]
    by_column: tuple[Array, ...]
    logit_gradient: Callable[[tuple[Any, ...], Array, Array], Array]
    load: Load
    flops: int


@dataclass(frozen=True)
class _Extent:
    """How many tokens and columns there are, how many tiles of each, and how cores of one device share them out.

    Cores share out columns, each with a sum of the hidden states' gradient of its own; or, ``by_tokens``, tokens, each
    with a matrix's gradient of its own, where that is small and the hidden states' sum is one that began elsewhere.
    """

    tokens: int
    columns: int
    token_tiles: int
    column_tiles: int
    cores: int
    by_tokens: bool

    @property
    def token_tiles_a_core(self) -> int:
        return pl.cdiv(self.token_tiles, self.cores) if self.by_tokens else self.token_tiles

    @property
    def column_tiles_a_core(self) -> int:
        return self.column_tiles if self.by_tokens else pl.cdiv(self.column_tiles, self.cores)

    @property
    def rows(self) -> int:
        """Tiles of tokens with those that the last core has beyond the last."""
        return self.token_tiles_a_core * (self.cores if self.by_tokens else 1)

    def token_tile(self, core: Any, n: Any) -> Any:
        """A step's tile of tokens, which may lie beyond the last."""
        return core * self.token_tiles_a_core + n if self.by_tokens else n

    def column_tile(self, core: Any, v: Any) -> Any:
        """A step's tile of columns, which may lie beyond the last."""
        return v if self.by_tokens else core * self.column_tiles_a_core + v


def gradients(
    operands: Operands,
    targets_BTK: Array,
    residuals: SoftmaxResiduals,
    coefficients: LogitCoefficients,
    types: GradientTypes,
    hidden_sum_BTD: Array | None,
    tpu: TPU,
) -> tuple[Array, ParameterGradients]:
    """The backward pass over this device's tokens and columns; as ``chunked.backward.gradients``."""
    count, width, columns = sizes_of(operands)
    candidates = targets_BTK.shape[2]
    of_softmax, of_entropy, of_target = coefficients
    numbers = (*(values[..., None] for values in (*residuals, of_softmax, of_entropy)), of_target)
    backward = BackwardPass(
        name="token_log_probs_backward",
        by_token=(targets_BTK.reshape(count, candidates), jnp.concatenate(numbers, axis=2).reshape(count, -1)),
        by_column=(),
        logit_gradient=_logit_gradient,
        load=load_of((operands,), ARRAYS),
        flops=6 * count * width * columns,
    )
    return backpropagate(operands, backward, types, tpu, hidden_sum_BTD)


def _logit_gradient(tile: tuple[Any, ...], logits_nv: Array, column_nv: Array) -> Array:
    """The gradient of each logit after the cap, as ``operands.LogitCoefficients`` has it."""
    targets, numbers = tile
    shift, log_total, entropy, of_softmax, of_entropy = (numbers[:, at : at + 1] for at in range(5))
    log_p_nv = (logits_nv - shift) - log_total
    of_all_nv = jnp.exp(log_p_nv) * (of_softmax - of_entropy * (log_p_nv + entropy))
    candidates_nK, of_target_nK = targets[...], numbers[:, 5:]

    def add_target(k: Any, gradient_nv: Array) -> Array:
        return gradient_nv + jnp.where(column_nv == candidate(candidates_nK, k), candidate(of_target_nK, k), 0)

    return over_candidates(add_target, of_all_nv, targets.shape[1])


def backpropagate(
    operands: Operands, backward: BackwardPass, types: GradientTypes, tpu: TPU, hidden_sum_BTD: Array | None
) -> tuple[Array, ParameterGradients]:
    """The gradients of hidden states, matrix and bias, where a loss has the gradient of the logits.

    With ``hidden_sum_BTD``, float32, which the hidden states' gradient is added to in place, a device's cores share out
    the tokens, and their sums of the matrix's gradient are added here.
    """
    count, width, columns = sizes_of(operands)
    begun = hidden_sum_BTD is not None
    wide = 4 if begun else jnp.dtype(types.unembed).itemsize
    tiles = tpu.tiles or backward_tiles(tpu.chip, backward.load, (count, width), columns, wide)
    token_tiles, column_tiles = pl.cdiv(count, tiles.tokens), pl.cdiv(columns, tiles.columns)
    cores = min(
        tpu.chip.cores, token_tiles if begun else column_tiles
    )  # a core without a tile would have none to write
    extent = _Extent(count, columns, token_tiles, column_tiles, cores, by_tokens=begun)
    rows, copies = extent.rows * tiles.tokens, (cores, 1) if begun else (1, cores)
    given = (*arrays_of(operands), *backward.by_token, *backward.by_column)
    sums = []
    if hidden_sum_BTD is not None:
        sums = [jnp.pad(hidden_sum_BTD.reshape(1, count, width), ((0, 0), (0, rows - count), (0, 0)))]
    call = pl.pallas_call(
        partial(_backward, operands.soft_cap, extent, operands.operand, backward),
        # Tokens run fastest, so that a tile of columns and the float32 sum of its gradient stay in VMEM until the sum
        # is complete: it leaves once, in its own type. Of the two sums only the hidden states' goes to and fro.
        grid=(cores, extent.column_tiles_a_core, extent.token_tiles_a_core),
        **_specs(extent, tiles, width, backward),
        out_shape=[
            # A sum for each core that no two may write at once, in whole tiles, since manual copies aren't cut off at
            # an array's end.
            jax.ShapeDtypeStruct((copies[1], rows, width), jnp.float32),
            jax.ShapeDtypeStruct((copies[0], width, columns), jnp.float32 if begun else types.unembed),
            jax.ShapeDtypeStruct((copies[0], 1, columns), jnp.float32),
        ],
        input_output_aliases={len(given): 0} if begun else {},
        compiler_params=pltpu.CompilerParams(
            dimension_semantics=("parallel", "arbitrary", "arbitrary"), vmem_limit_bytes=tpu.chip.vmem_limit
        ),
        cost_estimate=pl.CostEstimate(
            flops=backward.flops,
            transcendentals=count * columns * (1 + len(backward.by_column)),
            bytes_accessed=copies[0] * columns * (backward.load.row_bytes + wide * width)
            + column_tiles * count * (backward.load.row_bytes + 8 * width),
        ),
        interpret=tpu.interpret,
        name=backward.name,
    )
    of_hidden, of_unembed, of_bias = call(*given, *sums)
    of_hidden = of_hidden[0] if begun else of_hidden.sum(axis=0)
    of_hidden = of_hidden[:count].astype(types.hidden).reshape(operands.hidden_BTD.shape)
    of_unembed = of_unembed.sum(axis=0).astype(types.unembed) if begun else of_unembed[0]
    return of_hidden, ParameterGradients(of_unembed, None if operands.bias_V is None else of_bias.sum(axis=0)[0])


def _specs(extent: _Extent, tiles: Tiles, width: int, backward: BackwardPass) -> dict[str, Any]:
    """Which part of each operand and result a step of the kernel sees, and the VMEM that it keeps between steps."""

    def column(core: Any, v: Any) -> Any:
        # A core that has none left stays on its last, whose block then isn't copied again.
        return jnp.minimum(extent.column_tile(core, v), extent.column_tiles - 1)

    def token(core: Any, n: Any) -> Any:
        return jnp.minimum(extent.token_tile(core, n), extent.token_tiles - 1)

    def of_tokens(numbers: int) -> pl.BlockSpec:
        return pl.BlockSpec((tiles.tokens, numbers), lambda c, v, n: (token(c, n), 0))

    def of_columns(numbers: int) -> pl.BlockSpec:
        return pl.BlockSpec((numbers, tiles.columns), lambda c, v, n: (0, column(c, v)))

    def of_results(numbers: int) -> pl.BlockSpec:
        copy = (lambda core: core) if extent.by_tokens else lambda core: 0
        return pl.BlockSpec((None, numbers, tiles.columns), lambda c, v, n: (copy(c), 0, column(c, v)))

    own = [
        *(of_tokens(each.shape[1]) for each in backward.by_token),
        *(of_columns(each.shape[0]) for each in backward.by_column),
    ]
    limit, in_hbm = pl.BlockSpec(memory_space=pltpu.SMEM), pl.BlockSpec(memory_space=pl.ANY)
    begun = [in_hbm] if extent.by_tokens else []
    return {
        "in_specs": [limit, of_tokens(width), of_columns(width), of_columns(1), of_tokens(1), *own, *begun],
        # The hidden states' gradient stays in HBM: Pallas writes blocks of results but doesn't read them back, and this
        # one must be read to be added to.
        "out_specs": [in_hbm, of_results(width), of_results(1)],
        "scratch_shapes": [
            # The matrix's gradient adds up here and not in its block of the results, which may be bfloat16.
            pltpu.VMEM((width, tiles.columns), jnp.float32),
            pltpu.VMEM((2, tiles.tokens, width), jnp.float32),
            pltpu.SemaphoreType.DMA((2,)),  # reads, a semaphore for each of the two places
            pltpu.SemaphoreType.DMA((2,)),  # writes
        ],
    }


def _backward(
    soft_cap: float | None, extent: _Extent, operand: jnp.dtype, backward: BackwardPass, limit, hidden, *rest
) -> None:
    """One tile of columns against one tile of tokens, whose gradient of the hidden states waits in HBM in between."""
    unembed, bias, inverse, *tile, of_hidden, of_unembed, of_bias, sum_Dv, in_vmem, read_done, write_done = rest
    if extent.by_tokens:
        tile = tile[:-1]  # the sum that began elsewhere is the result ``of_hidden``
    core, v, n = (pl.program_id(axis) for axis in range(3))
    column_tile, token_tile = extent.column_tile(core, v), extent.token_tile(core, n)
    step, rows = v * extent.token_tiles_a_core + n, hidden.shape[0]
    # Where tiles of columns don't divide by the cores, the last core repeats its last one with a gradient of zeros: its
    # share of the grid is that of the others, and its copies stay in step.
    own, column_tile = column_tile < extent.column_tiles, jnp.minimum(column_tile, extent.column_tiles - 1)
    hidden_gradient = _hidden_gradient(extent, core, of_hidden, in_vmem, read_done, write_done)
    hidden_gradient.fetch_first(step)

    logits_nv, derivative = logits_of(hidden, unembed, bias[...], inverse[...], soft_cap, operand)
    # After the logits, so that the write which it waits for had their time, and the read has that of both gradients.
    hidden_gradient.fetch_next(step)
    column_nv = column_numbers(column_tile, logits_nv.shape)
    real_nv = (column_nv < jnp.minimum(limit[0, 0], extent.columns)) & own
    # What lies behind the last token or column may be anything, NaN too, and zero times NaN isn't zero: so the
    # gradient is selected, and below the other factor of each product too, which sums over tokens or over columns.
    if extent.tokens % (extent.rows * rows):
        real_nv &= row_numbers(token_tile, logits_nv.shape) < extent.tokens
    logit_gradient_nv = backward.logit_gradient(tuple(tile), logits_nv, column_nv)
    gradient_nv = jnp.where(real_nv, derivative * logit_gradient_nv, 0)
    narrow_nv = gradient_nv.astype(operand)

    @pl.when(n == 0)
    def _() -> None:
        sum_Dv[...] = jnp.zeros_like(sum_Dv)

    # By parts of D: the float32 product of a whole width would take as much VMEM as the sum.
    for part in parts(hidden.shape[1]):
        hidden_nd = _within(hidden[:, part], partial(row_numbers, token_tile), extent.tokens, extent.rows * rows)
        sum_Dv[part] += product(hidden_nd, narrow_nv, (0, 0), operand)

    # A block of results stays in VMEM while its index doesn't change, so a repeated tile must leave what its own first
    # visit wrote.
    @pl.when(own & (n == 0))
    def _() -> None:
        of_bias[...] = jnp.zeros_like(of_bias)

    @pl.when(own)
    def _() -> None:
        of_bias[...] += gradient_nv.sum(axis=0, keepdims=True)

    @pl.when(own & (n == extent.token_tiles_a_core - 1))
    def _() -> None:
        of_unembed[...] = sum_Dv[...].astype(of_unembed.dtype)

    def of_tokens(part: slice) -> Array:
        unembed_dv = _within(unembed[part, :], partial(column_numbers, column_tile), extent.columns, unembed.shape[1])
        return product(narrow_nv, unembed_dv, (1, 1), operand)

    hidden_gradient.add(step, of_tokens)


def _hidden_gradient(
    extent: _Extent, core: Any, of_hidden: Any, in_vmem: Any, read_done: Any, write_done: Any
) -> HiddenGradient:
    """A core's part of the hidden states' gradient, or its own copy of all of it."""
    return HiddenGradient(
        in_hbm=of_hidden.at[0 if extent.by_tokens else core],
        in_vmem=in_vmem,
        read_done=read_done,
        write_done=write_done,
        first=extent.token_tile(core, 0),
        tiles=extent.token_tiles_a_core,
        steps=extent.token_tiles_a_core * extent.column_tiles_a_core,
        begun=extent.by_tokens,
    )


def _within(tile: Array, numbers: Callable[[tuple[int, ...]], Array], count: int, size: int) -> Array:
    """A tile with zeros at ``numbers`` from ``count`` on, where tiles of ``size`` don't fill up the array."""
    return jnp.where(numbers(tile.shape) < count, tile, 0) if count % size else tile
