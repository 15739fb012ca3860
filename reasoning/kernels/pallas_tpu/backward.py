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
    """How many tokens and columns there are, how many tiles of each, and how many tiles of columns a core has."""

    tokens: int
    columns: int
    token_tiles: int
    column_tiles: int
    column_tiles_a_core: int


def gradients(
    operands: Operands,
    targets_BTK: Array,
    residuals: SoftmaxResiduals,
    coefficients: LogitCoefficients,
    types: GradientTypes,
    tpu: TPU,
) -> tuple[Array, ParameterGradients]:
    """The backward pass over this device's tokens and columns; as ``chunked.backward.gradients``.

    The matrix's gradient is summed in float32 and leaves as ``types`` has it.
    """
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
    return backpropagate(operands, backward, types, tpu)


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
    operands: Operands, backward: BackwardPass, types: GradientTypes, tpu: TPU
) -> tuple[Array, ParameterGradients]:
    """The gradients of hidden states, matrix and bias, where a loss has the gradient of the logits."""
    count, width, columns = sizes_of(operands)
    wide = jnp.dtype(types.unembed).itemsize
    tiles = tpu.tiles or backward_tiles(tpu.chip, backward.load, (count, width), columns, wide)
    token_tiles, column_tiles = pl.cdiv(count, tiles.tokens), pl.cdiv(columns, tiles.columns)
    cores = min(tpu.chip.cores, column_tiles)  # a core without a tile would have none to write
    extent = _Extent(count, columns, token_tiles, column_tiles, pl.cdiv(column_tiles, cores))
    call = pl.pallas_call(
        partial(_backward, operands.soft_cap, extent, operands.operand, backward),
        # Tokens run fastest, so that a tile of columns and the float32 sum of its gradient stay in VMEM until the sum
        # is complete: it leaves once, in its own type. Of the two sums only the hidden states' goes to and fro.
        grid=(cores, extent.column_tiles_a_core, token_tiles),
        **_specs(extent, tiles, width, backward),
        out_shape=[
            # A sum for each core, which no two may write at once, in whole tiles, since manual copies aren't cut off
            # at an array's end.
            jax.ShapeDtypeStruct((cores, token_tiles * tiles.tokens, width), jnp.float32),
            jax.ShapeDtypeStruct((width, columns), types.unembed),
            jax.ShapeDtypeStruct((1, columns), jnp.float32),
        ],
        compiler_params=pltpu.CompilerParams(
            dimension_semantics=("parallel", "arbitrary", "arbitrary"), vmem_limit_bytes=tpu.chip.vmem_limit
        ),
        cost_estimate=pl.CostEstimate(
            flops=backward.flops,
            transcendentals=count * columns * (1 + len(backward.by_column)),
            bytes_accessed=columns * (backward.load.row_bytes + wide * width)
            + column_tiles * count * (backward.load.row_bytes + 8 * width),
        ),
        interpret=tpu.interpret,
        name=backward.name,
    )
    of_hidden, of_unembed, of_bias = call(*arrays_of(operands), *backward.by_token, *backward.by_column)
    of_hidden = of_hidden.sum(axis=0)[:count].astype(types.hidden).reshape(operands.hidden_BTD.shape)
    return of_hidden, ParameterGradients(of_unembed, None if operands.bias_V is None else of_bias[0])


def _specs(extent: _Extent, tiles: Tiles, width: int, backward: BackwardPass) -> dict[str, Any]:
    """Which part of each operand and result a step of the kernel sees, and the VMEM that it keeps between steps."""

    def column(core: Any, v: Any) -> Any:
        # A core that has none left stays on its last, whose block then isn't copied again.
        return jnp.minimum(core * extent.column_tiles_a_core + v, extent.column_tiles - 1)

    def of_tokens(numbers: int) -> pl.BlockSpec:
        return pl.BlockSpec((tiles.tokens, numbers), lambda c, v, n: (n, 0))

    def of_columns(numbers: int) -> pl.BlockSpec:
        return pl.BlockSpec((numbers, tiles.columns), lambda c, v, n: (0, column(c, v)))

    own = [
        *(of_tokens(each.shape[1]) for each in backward.by_token),
        *(of_columns(each.shape[0]) for each in backward.by_column),
    ]
    limit = pl.BlockSpec(memory_space=pltpu.SMEM)
    return {
        "in_specs": [limit, of_tokens(width), of_columns(width), of_columns(1), of_tokens(1), *own],
        # The hidden states' gradient stays in HBM: Pallas writes blocks of results but doesn't read them back, and this
        # one must be read to be added to.
        "out_specs": [pl.BlockSpec(memory_space=pl.ANY), of_columns(width), of_columns(1)],
        "scratch_shapes": [
            # The matrix's gradient adds up here and not in its block of the results, which may be bfloat16.
            pltpu.VMEM((width, tiles.columns), jnp.float32),
            pltpu.VMEM((2, tiles.tokens, width), jnp.float32),
            pltpu.SemaphoreType.DMA((2,)),  # reads, a semaphore for each of the two places
            pltpu.SemaphoreType.DMA((2,)),  # writes
        ],
    }


@dataclass(frozen=True)
class _HiddenGradient:
    """The hidden states' gradient, which waits in HBM between two tiles of columns and comes to VMEM to be added to.

    Double buffering by hand: VMEM holds two tiles of tokens, so that one is fetched during the step before its own,
    and the one before is written back, while matrix products run. ``step`` counts tiles of tokens over all tiles of
    columns. With one tile of tokens it stays in VMEM until the end.
    """

    in_hbm: Any
    in_vmem: Any
    read_done: Any
    write_done: Any
    core: Any
    extent: _Extent

    @property
    def _steps(self) -> int:
        return self.extent.token_tiles * self.extent.column_tiles_a_core

    def _place(self, step: Any) -> Any:
        """Which of the two tiles in VMEM is a step's: in turn, so neighbouring steps never share one."""
        return step % min(2, self.extent.token_tiles)

    def _copy(self, step: Any, write: bool) -> Any:
        # Made anew for start and for wait: a copy is known by its semaphore, and so by its place and direction. At most
        # one of each is on its way, or a wait might be satisfied by the bytes of another copy.
        rows, place = self.in_vmem.shape[1], self._place(step)
        tile = self.in_hbm.at[self.core, pl.ds((step % self.extent.token_tiles) * rows, rows), :]
        if write:
            return pltpu.make_async_copy(self.in_vmem.at[place], tile, self.write_done.at[place])
        return pltpu.make_async_copy(tile, self.in_vmem.at[place], self.read_done.at[place])

    def fetch_next(self, step: Any) -> None:
        """Begins to fetch the next step's tile, which was written a tile of columns ago, or by the step before."""
        token_tiles = self.extent.token_tiles
        if token_tiles == 1:
            return

        # The step before wrote from the place that the next one is fetched to, and with two tiles of tokens it wrote
        # the very tile. It had all of this step's logits to finish.
        @pl.when(step >= 1)
        def _() -> None:
            self._copy(step - 1, write=True).wait()

        # In the first tile of columns there is nothing to fetch yet: HBM holds whatever was there.
        @pl.when((step + 1 >= token_tiles) & (step + 1 < self._steps))
        def _() -> None:
            self._copy(step + 1, write=False).start()

    def add(self, step: Any, make: Callable[[slice], Array]) -> None:
        """Adds what ``make`` gives of each part of D to the step's tile, and sends it back."""
        token_tiles, place = self.extent.token_tiles, self._place(step)

        @pl.when(step < token_tiles)
        def _() -> None:
            for part in parts(self.in_vmem.shape[2]):
                self.in_vmem[place, :, part] = make(part)

        @pl.when(step >= token_tiles)
        def _() -> None:
            if token_tiles > 1:
                self._copy(step, write=False).wait()
            for part in parts(self.in_vmem.shape[2]):
                self.in_vmem[place, :, part] += make(part)

        last = step == self._steps - 1

        def send() -> None:
            self._copy(step, write=True).start()

        if token_tiles > 1:
            send()
        else:
            pl.when(last)(send)

        # No later step waits for the last write, and a kernel must not end while a copy is on its way.
        @pl.when(last)
        def _() -> None:
            self._copy(step, write=True).wait()


def _backward(
    soft_cap: float | None, extent: _Extent, operand: jnp.dtype, backward: BackwardPass, limit, hidden, *rest
) -> None:
    """One tile of columns against one tile of tokens, whose gradient of the hidden states waits in HBM in between."""
    unembed, bias, inverse, *tile, of_hidden, of_unembed, of_bias, sum_Dv, in_vmem, read_done, write_done = rest
    core, v, n = (pl.program_id(axis) for axis in range(3))
    column_tile, step, rows = core * extent.column_tiles_a_core + v, v * extent.token_tiles + n, hidden.shape[0]
    # Where tiles of columns don't divide by the cores, the last core repeats its last one with a gradient of zeros: its
    # share of the grid is that of the others, and its copies stay in step.
    own, column_tile = column_tile < extent.column_tiles, jnp.minimum(column_tile, extent.column_tiles - 1)
    hidden_gradient = _HiddenGradient(of_hidden, in_vmem, read_done, write_done, core, extent)

    logits_nv, derivative = logits_of(hidden, unembed, bias[...], inverse[...], soft_cap, operand)
    # After the logits, so that the write which it waits for had their time, and the read has that of both gradients.
    hidden_gradient.fetch_next(step)
    column_nv = column_numbers(column_tile, logits_nv.shape)
    real_nv = (column_nv < jnp.minimum(limit[0, 0], extent.columns)) & own
    # What lies behind the last token or column may be anything, NaN too, and zero times NaN isn't zero: so the
    # gradient is selected, and below the other factor of each product too, which sums over tokens or over columns.
    if extent.tokens % rows:
        real_nv &= row_numbers(n, logits_nv.shape) < extent.tokens
    logit_gradient_nv = backward.logit_gradient(tuple(tile), logits_nv, column_nv)
    gradient_nv = jnp.where(real_nv, derivative * logit_gradient_nv, 0)
    narrow_nv = gradient_nv.astype(operand)

    @pl.when(n == 0)
    def _() -> None:
        sum_Dv[...] = jnp.zeros_like(sum_Dv)

    # By parts of D: the float32 product of a whole width would take as much VMEM as the sum.
    for part in parts(hidden.shape[1]):
        hidden_nd = _within(hidden[:, part], partial(row_numbers, n), extent.tokens, rows)
        sum_Dv[part] += product(hidden_nd, narrow_nv, (0, 0), operand)

    # A block of results stays in VMEM while its index doesn't change, so a repeated tile must leave what its own first
    # visit wrote.
    @pl.when(own & (n == 0))
    def _() -> None:
        of_bias[...] = jnp.zeros_like(of_bias)

    @pl.when(own)
    def _() -> None:
        of_bias[...] += gradient_nv.sum(axis=0, keepdims=True)

    @pl.when(own & (n == extent.token_tiles - 1))
    def _() -> None:
        of_unembed[...] = sum_Dv[...].astype(of_unembed.dtype)

    def of_tokens(part: slice) -> Array:
        unembed_dv = _within(unembed[part, :], partial(column_numbers, column_tile), extent.columns, unembed.shape[1])
        return product(narrow_nv, unembed_dv, (1, 1), operand)

    hidden_gradient.add(step, of_tokens)


def _within(tile: Array, numbers: Callable[[tuple[int, ...]], Array], count: int, size: int) -> Array:
    """A tile with zeros at ``numbers`` from ``count`` on, where tiles of ``size`` don't fill up the array."""
    return jnp.where(numbers(tile.shape) < count, tile, 0) if count % size else tile
