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

from reasoning.kernels.operands import Operands, Slopes, Softmax, Sums, Types
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
class LogitGradient:
    """What a loss brings to the kernel: the gradient of a tile's logits, and the arrays which that needs.

    ``slope(tile, logits_nv, column_nv)`` reads its arrays' parts from the references ``tile``: of those ``by_token``
    [N, …] a tile of tokens, of those ``by_column`` [E, V] a tile of columns. ``load`` and ``flops`` count all of it.
    """

    name: str
    by_token: tuple[Array, ...]
    by_column: tuple[Array, ...]
    slope: Callable[[tuple[Any, ...], Array, Array], Array]
    load: Load
    flops: int


@dataclass(frozen=True)
class Round:
    """The tiles of a backward pass: those of tokens (``steps``), of columns (``strips``), and of columns a core."""

    count: int
    columns: int
    steps: int
    strips: int
    each: int


def gradients(
    operands: Operands, targets_BTK: Array, softmax: Softmax, slopes: Slopes, types: Types, tpu: TPU
) -> tuple[Array, Sums]:
    """The backward pass over this device's tokens and columns; as ``chunked.gradients``.

    The matrix's gradient is summed in float32 and leaves as ``types`` has it.
    """
    count, width, columns = sizes_of(operands)
    candidates = targets_BTK.shape[2]
    numbers = (*(values[..., None] for values in (*softmax, slopes.level, slopes.bend)), slopes.pick)
    loss = LogitGradient(
        name="token_log_probs_backward",
        by_token=(targets_BTK.reshape(count, candidates), jnp.concatenate(numbers, axis=2).reshape(count, -1)),
        by_column=(),
        slope=_slope_of_log_probs,
        load=load_of((operands,), ARRAYS),
        flops=6 * count * width * columns,
    )
    return push_back(operands, loss, types, tpu)


def _slope_of_log_probs(tile: tuple[Any, ...], logits_nv: Array, column_nv: Array) -> Array:
    """The gradient of each logit after the cap, as ``operands.Slopes`` has it."""
    targets, numbers = tile
    shift, log_total, entropy, level, bend = (numbers[:, at : at + 1] for at in range(5))
    log_p_nv = (logits_nv - shift) - log_total
    smooth_nv = jnp.exp(log_p_nv) * (level - bend * (log_p_nv + entropy))
    candidates_nK, picks_nK = targets[...], numbers[:, 5:]

    def pick(k: Any, slope_nv: Array) -> Array:
        return slope_nv + jnp.where(column_nv == candidate(candidates_nK, k), candidate(picks_nK, k), 0)

    return over_candidates(pick, smooth_nv, targets.shape[1])


def push_back(operands: Operands, loss: LogitGradient, types: Types, tpu: TPU) -> tuple[Array, Sums]:
    """The gradients of hidden states, matrix and bias, where a loss has the gradient of the logits."""
    count, width, columns = sizes_of(operands)
    wide = jnp.dtype(types.unembed).itemsize
    tiles = tpu.tiles or backward_tiles(tpu.chip, loss.load, (count, width), columns, wide)
    steps, strips = pl.cdiv(count, tiles.tokens), pl.cdiv(columns, tiles.columns)
    cores = min(tpu.chip.cores, strips)  # each has a tile of its own to write
    round_ = Round(count, columns, steps, strips, pl.cdiv(strips, cores))
    call = pl.pallas_call(
        partial(_backward, operands.soft_cap, round_, operands.operand, loss),
        grid=(cores, round_.each, steps),
        **_specs(round_, tiles, width, loss),
        out_shape=[
            jax.ShapeDtypeStruct((cores, steps * tiles.tokens, width), jnp.float32),
            jax.ShapeDtypeStruct((width, columns), types.unembed),
            jax.ShapeDtypeStruct((1, columns), jnp.float32),
        ],
        compiler_params=pltpu.CompilerParams(
            dimension_semantics=("parallel", "arbitrary", "arbitrary"), vmem_limit_bytes=tpu.chip.vmem_limit
        ),
        cost_estimate=pl.CostEstimate(
            flops=loss.flops,
            transcendentals=count * columns * (1 + len(loss.by_column)),
            bytes_accessed=columns * (loss.load.row_bytes + wide * width)
            + strips * count * (loss.load.row_bytes + 8 * width),
        ),
        interpret=tpu.interpret,
        name=loss.name,
    )
    of_hidden, of_unembed, of_bias = call(*arrays_of(operands), *loss.by_token, *loss.by_column)
    of_hidden = of_hidden.sum(axis=0)[:count].astype(types.hidden).reshape(operands.hidden_BTD.shape)
    return of_hidden, Sums(of_unembed, None if operands.bias_V is None else of_bias[0])


def _specs(round_: Round, tiles: Tiles, width: int, loss: LogitGradient) -> dict[str, Any]:
    """Which part of each operand and result a step of the kernel sees, and the VMEM that it keeps between steps."""

    def column(core: Any, v: Any) -> Any:
        return jnp.minimum(core * round_.each + v, round_.strips - 1)  # a core that has none left stays on its last

    def of_tokens(numbers: int) -> pl.BlockSpec:
        return pl.BlockSpec((tiles.tokens, numbers), lambda c, v, n: (n, 0))

    def of_columns(numbers: int) -> pl.BlockSpec:
        return pl.BlockSpec((numbers, tiles.columns), lambda c, v, n: (0, column(c, v)))

    own = [
        *(of_tokens(each.shape[1]) for each in loss.by_token),
        *(of_columns(each.shape[0]) for each in loss.by_column),
    ]
    limit = pl.BlockSpec(memory_space=pltpu.SMEM)
    return {
        "in_specs": [limit, of_tokens(width), of_columns(width), of_columns(1), of_tokens(1), *own],
        "out_specs": [pl.BlockSpec(memory_space=pl.ANY), of_columns(width), of_columns(1)],
        "scratch_shapes": [
            pltpu.VMEM((width, tiles.columns), jnp.float32),
            pltpu.VMEM((2, tiles.tokens, width), jnp.float32),
            pltpu.SemaphoreType.DMA((2,)),
            pltpu.SemaphoreType.DMA((2,)),
        ],
    }


@dataclass(frozen=True)
class Carried:
    """The hidden states' gradient, which waits in HBM between two tiles of columns and comes to VMEM to be added to.

    Copies run beside matrix products: a tile is fetched during the step before its own. With one tile of tokens it
    stays in VMEM until the end.
    """

    there: Any
    held: Any
    read_done: Any
    write_done: Any
    core: Any
    round: Round

    def _copy(self, step: Any, write: bool) -> Any:
        rows, slot = self.held.shape[1], self.slot(step)
        of_tile = self.there.at[self.core, pl.ds((step % self.round.steps) * rows, rows), :]
        if write:
            return pltpu.make_async_copy(self.held.at[slot], of_tile, self.write_done.at[slot])
        return pltpu.make_async_copy(of_tile, self.held.at[slot], self.read_done.at[slot])

    def slot(self, step: Any) -> Any:
        """Where a step's tile is in VMEM."""
        return step % min(2, self.round.steps)

    def fetch_next(self, step: Any) -> None:
        """Begins the next step's copy. Its tile was written a whole round ago, or just now, which is waited for."""
        if self.round.steps == 1:
            return

        @pl.when(step >= 1)
        def _() -> None:
            self._copy(step - 1, write=True).wait()

        @pl.when((step + 1 >= self.round.steps) & (step + 1 < self.round.steps * self.round.each))
        def _() -> None:
            self._copy(step + 1, write=False).start()

    def add(self, step: Any, make: Callable[[slice], Array]) -> None:
        """Adds what ``make`` gives of each part of D to the step's tile, and sends it back."""
        steps, slot = self.round.steps, self.slot(step)

        @pl.when(step < steps)
        def _() -> None:
            for part in parts(self.held.shape[2]):
                self.held[slot, :, part] = make(part)

        @pl.when(step >= steps)
        def _() -> None:
            if steps > 1:
                self._copy(step, write=False).wait()
            for part in parts(self.held.shape[2]):
                self.held[slot, :, part] += make(part)

        last = step == steps * self.round.each - 1

        def send() -> None:
            self._copy(step, write=True).start()

        if steps > 1:
            send()
        else:
            pl.when(last)(send)

        @pl.when(last)
        def _() -> None:
            self._copy(step, write=True).wait()


def _backward(
    soft_cap: float | None,
    round_: Round,
    operand: jnp.dtype,
    loss: LogitGradient,
    limit,
    hidden,
    unembed,
    bias,
    inverse,
    *rest,
) -> None:
    """One tile of columns against one tile of tokens, whose gradient of the hidden states waits in HBM in between."""
    *tile, of_hidden, of_unembed, of_bias, sum_Dv, held, read_done, write_done = rest
    core, v, n = (pl.program_id(axis) for axis in range(3))
    strip, step, rows = core * round_.each + v, v * round_.steps + n, hidden.shape[0]
    own, strip = strip < round_.strips, jnp.minimum(strip, round_.strips - 1)
    carried = Carried(of_hidden, held, read_done, write_done, core, round_)

    logits_nv, slope = logits_of(hidden, unembed, bias[...], inverse[...], soft_cap, operand)
    carried.fetch_next(step)
    column_nv = column_numbers(strip, logits_nv)
    real_nv = (column_nv < jnp.minimum(limit[0, 0], round_.columns)) & own
    # What lies behind the last token or column may be anything, and zero times anything isn't zero.
    if round_.count % rows:
        real_nv &= row_numbers(n, logits_nv.shape) < round_.count
    gradient_nv = jnp.where(real_nv, slope * loss.slope(tuple(tile), logits_nv, column_nv), 0)
    narrow_nv = gradient_nv.astype(operand)

    def real_tokens(part: slice) -> Array:
        hidden_nd = hidden[:, part]
        inside_nd = row_numbers(n, hidden_nd.shape) < round_.count
        return jnp.where(inside_nd, hidden_nd, 0) if round_.count % rows else hidden_nd

    def real_columns(part: slice) -> Array:
        unembed_dv = unembed[part, :]
        inside_dv = column_numbers(strip, unembed_dv) < round_.columns
        return jnp.where(inside_dv, unembed_dv, 0) if round_.columns % unembed.shape[1] else unembed_dv

    @pl.when(n == 0)
    def _() -> None:
        sum_Dv[...] = jnp.zeros_like(sum_Dv)

    for part in parts(hidden.shape[1]):
        sum_Dv[part] += product(real_tokens(part), narrow_nv, (0, 0), operand)

    @pl.when(own & (n == 0))
    def _() -> None:
        of_bias[...] = jnp.zeros_like(of_bias)

    @pl.when(own)
    def _() -> None:
        of_bias[...] += gradient_nv.sum(axis=0, keepdims=True)

    @pl.when(own & (n == round_.steps - 1))
    def _() -> None:
        of_unembed[...] = sum_Dv[...].astype(of_unembed.dtype)

    carried.add(step, lambda part: product(narrow_nv, real_columns(part), (1, 1), operand))
