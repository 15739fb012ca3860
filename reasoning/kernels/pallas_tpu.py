"""Log-probability statistics of tokens against a vocabulary as Pallas kernels for TPUs: logits live in VMEM only.

The counterpart of ``chunked`` with the same contract. The forward pass keeps a tile of hidden states in VMEM while the
matrix streams past it. The backward pass keeps a tile of the matrix and the sum of its gradient while hidden states
stream past, and adds to their gradient, a float32 array in HBM, by copies of its own; so each logit is made once in
either pass, 8 N D V operations in all. docs/kernels.md has the mathematics and the tiling.

Legend: N tokens, D model width, V columns of the vocabulary on this device; n, v one tile of N and V.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from reasoning.core.errors import InputError
from reasoning.kernels.chunked import MASKED, Head, Operands, Slopes, Softmax, Statistics, Sums
from reasoning.kernels.tpu_tiles import Chip, Tiles, backward_tiles, forward_tiles

STRIP = 512
"""Columns of D that one matrix product of the backward pass makes, which bounds what it needs besides its results."""


@dataclass(frozen=True)
class TPU:
    """What the kernels are built for, and whether they are interpreted (on a CPU, by tests)."""

    chip: Chip
    interpret: bool = False
    forward: Tiles | None = None  # None: the best that fit
    backward: Tiles | None = None


def statistics(operands: Operands, targets_BT: Array, head: Head, tpu: TPU) -> Statistics:
    """The forward pass over this device's tokens and columns; as ``chunked.statistics``."""
    hidden_ND, unembed_DV, count, width, columns = _flat(operands)
    tiles = tpu.forward or forward_tiles(tpu.chip, operands.operand.itemsize, hidden_ND.shape, columns)
    grid = (pl.cdiv(count, tiles.tokens), pl.cdiv(columns, tiles.columns))
    token = pl.BlockSpec((tiles.tokens, 1), lambda n, v: (n, 0))
    call = pl.pallas_call(
        partial(_forward, head.soft_cap, columns, operands.operand),
        grid=grid,
        in_specs=[
            pl.BlockSpec(memory_space=pltpu.SMEM),
            pl.BlockSpec((tiles.tokens, width), lambda n, v: (n, 0)),
            pl.BlockSpec((width, tiles.columns), lambda n, v: (0, v)),
            pl.BlockSpec((1, tiles.columns), lambda n, v: (0, v)),
            token,
            token,
        ],
        out_specs=[pl.BlockSpec((tiles.tokens, len(Statistics._fields)), lambda n, v: (n, 0))],
        out_shape=[jax.ShapeDtypeStruct((count, len(Statistics._fields)), jnp.float32)],
        scratch_shapes=[pltpu.VMEM((tiles.tokens, 1), jnp.float32)] * len(Statistics._fields),
        compiler_params=pltpu.CompilerParams(
            dimension_semantics=("parallel", "arbitrary"), vmem_limit_bytes=tpu.chip.vmem_limit
        ),
        cost_estimate=pl.CostEstimate(
            flops=2 * count * width * columns,
            transcendentals=count * columns,
            bytes_accessed=operands.operand.itemsize * width * (count + columns * grid[0]),
        ),
        interpret=pltpu.InterpretParams() if tpu.interpret else False,
        name="token_log_probs_forward",
    )
    [found] = call(
        _real_columns(operands, columns),
        hidden_ND,
        unembed_DV,
        _bias(operands, columns),
        operands.inverse_temperature_BT.reshape(-1, 1),
        targets_BT.reshape(-1, 1),
    )
    return Statistics(*(found[:, at].reshape(targets_BT.shape) for at in range(found.shape[1])))


def gradients(
    operands: Operands,
    targets_BT: Array,
    softmax: Softmax,
    slopes: Slopes,
    unembed_type: jnp.dtype,
    hidden_type: jnp.dtype,
    head: Head,
    tpu: TPU,
) -> tuple[Array, Sums]:
    """The backward pass over this device's tokens and columns; as ``chunked.gradients``.

    The matrix's gradient is summed in float32 and leaves as ``unembed_type``.
    """
    hidden_ND, unembed_DV, count, width, columns = _flat(operands)
    sizes = (operands.operand.itemsize, jnp.dtype(unembed_type).itemsize)
    tiles = tpu.backward or backward_tiles(tpu.chip, *sizes, hidden_ND.shape, columns)
    steps, strips = pl.cdiv(count, tiles.tokens), pl.cdiv(columns, tiles.columns)
    cores = min(tpu.chip.cores, strips)  # each has a tile of its own to write
    each = pl.cdiv(strips, cores)  # tiles of columns that one core takes

    def column(core: Any, v: Any) -> Any:
        return jnp.minimum(core * each + v, strips - 1)  # a core that has none left stays on its last

    token = pl.BlockSpec((tiles.tokens, 1), lambda c, v, n: (n, 0))
    strip = pl.BlockSpec((width, tiles.columns), lambda c, v, n: (0, column(c, v)))
    bias = pl.BlockSpec((1, tiles.columns), lambda c, v, n: (0, column(c, v)))
    numbers = (*softmax, *slopes)
    call = pl.pallas_call(
        partial(_backward, head.soft_cap, Round(count, columns, steps, strips, each), operands.operand),
        grid=(cores, each, steps),
        in_specs=[
            pl.BlockSpec(memory_space=pltpu.SMEM),
            pl.BlockSpec((tiles.tokens, width), lambda c, v, n: (n, 0)),
            strip,
            bias,
            token,
            token,
            pl.BlockSpec((tiles.tokens, len(numbers)), lambda c, v, n: (n, 0)),
        ],
        out_specs=[pl.BlockSpec(memory_space=pl.ANY), strip, bias],
        out_shape=[
            jax.ShapeDtypeStruct((cores, steps * tiles.tokens, width), jnp.float32),
            jax.ShapeDtypeStruct((width, columns), unembed_type),
            jax.ShapeDtypeStruct((1, columns), jnp.float32),
        ],
        scratch_shapes=[
            pltpu.VMEM((width, tiles.columns), jnp.float32),
            pltpu.VMEM((2, tiles.tokens, width), jnp.float32),
            pltpu.SemaphoreType.DMA((2,)),
            pltpu.SemaphoreType.DMA((2,)),
        ],
        compiler_params=pltpu.CompilerParams(
            dimension_semantics=("parallel", "arbitrary", "arbitrary"), vmem_limit_bytes=tpu.chip.vmem_limit
        ),
        cost_estimate=pl.CostEstimate(
            flops=6 * count * width * columns,
            transcendentals=count * columns,
            bytes_accessed=(sizes[0] + sizes[1]) * width * columns + count * width * strips * (sizes[0] + 8),
        ),
        interpret=pltpu.InterpretParams() if tpu.interpret else False,
        name="token_log_probs_backward",
    )
    of_hidden, of_unembed, of_bias = call(
        _real_columns(operands, columns),
        hidden_ND,
        unembed_DV,
        _bias(operands, columns),
        operands.inverse_temperature_BT.reshape(-1, 1),
        targets_BT.reshape(-1, 1),
        jnp.stack([values.reshape(-1) for values in numbers], axis=1),
    )
    of_hidden = of_hidden.sum(axis=0)[:count].astype(hidden_type).reshape(operands.hidden_BTD.shape)
    return of_hidden, Sums(of_unembed, None if operands.bias_V is None else of_bias[0])


def _flat(operands: Operands) -> tuple[Array, Array, int, int, int]:
    """Hidden states [N, D], the matrix, and N, D and V."""
    if operands.accumulator != jnp.float32:
        raise InputError(f"the TPU's kernels take bfloat16 and float32, not {operands.operand}; use the chunked ones")
    width, columns = operands.unembed_DV.shape
    hidden_ND = operands.hidden_BTD.reshape(-1, width)
    return hidden_ND, operands.unembed_DV, hidden_ND.shape[0], width, columns


def _real_columns(operands: Operands, columns: int) -> Array:
    """[1, 1]: how many of this device's columns belong to the vocabulary."""
    return jnp.asarray(columns if operands.real_columns is None else operands.real_columns, jnp.int32).reshape(1, 1)


def _bias(operands: Operands, columns: int) -> Array:
    """[1, V]: what is added to the logits."""
    zeros = jnp.zeros((1, columns), jnp.float32)
    return zeros if operands.bias_V is None else operands.bias_V.astype(jnp.float32)[None]


def _forward(
    soft_cap: float | None, columns: int, operand: jnp.dtype, limit, hidden, unembed, bias, inverse, targets, out, *kept
) -> None:
    """One tile of tokens against one tile of columns; ``kept`` are the running statistics of the tokens."""
    v, last = pl.program_id(1), pl.num_programs(1) - 1
    shift, total, moment, target = kept

    @pl.when(v == 0)
    def _() -> None:
        shift[...] = jnp.full_like(shift, MASKED)
        for sums in (total, moment, target):
            sums[...] = jnp.zeros_like(sums)

    logits_nv = _logits(hidden[...], unembed[...], bias[...], inverse[...], soft_cap, operand)[0]
    column_nv = _columns(v, logits_nv)
    real_nv = column_nv < jnp.minimum(limit[0, 0], columns)
    logits_nv = jnp.where(real_nv, logits_nv, MASKED)
    before, largest = shift[...], jnp.maximum(shift[...], logits_nv.max(axis=1, keepdims=True))
    centred_nv, moved = logits_nv - largest, before - largest
    weight_nv, scale = jnp.exp(centred_nv), jnp.exp(moved)
    moment[...] = scale * (moment[...] + moved * total[...]) + (weight_nv * centred_nv).sum(axis=1, keepdims=True)
    total[...] = scale * total[...] + weight_nv.sum(axis=1, keepdims=True)
    shift[...] = largest
    # A target on another device may have the number of a column that only fills this tile up.
    target[...] += jnp.where(real_nv & (column_nv == targets[...]), logits_nv, 0).sum(axis=1, keepdims=True)

    @pl.when(v == last)
    def _() -> None:
        out[...] = jnp.concatenate([sums[...] for sums in kept], axis=1)


@dataclass(frozen=True)
class Round:
    """The tiles of a backward pass: those of tokens (``steps``), of columns (``strips``), and of columns a core."""

    count: int
    columns: int
    steps: int
    strips: int
    each: int

    def parts(self, width: int) -> list[slice]:
        """Columns of D, strip by strip."""
        return [slice(start, min(start + STRIP, width)) for start in range(0, width, STRIP)]


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
            for part in self.round.parts(self.held.shape[2]):
                self.held[slot, :, part] = make(part)

        @pl.when(step >= steps)
        def _() -> None:
            if steps > 1:
                self._copy(step, write=False).wait()
            for part in self.round.parts(self.held.shape[2]):
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
    limit,
    hidden,
    unembed,
    bias,
    inverse,
    targets,
    numbers,
    of_hidden,
    of_unembed,
    of_bias,
    sum_Dv,
    held,
    read_done,
    write_done,
) -> None:
    """One tile of columns against one tile of tokens, whose gradient of the hidden states waits in HBM in between."""
    core, v, n = (pl.program_id(axis) for axis in range(3))
    strip, step, rows = core * round_.each + v, v * round_.steps + n, hidden.shape[0]
    own, strip = strip < round_.strips, jnp.minimum(strip, round_.strips - 1)
    carried = Carried(of_hidden, held, read_done, write_done, core, round_)

    hidden_nD, unembed_Dv = hidden[...], unembed[...]
    logits_nv, slope = _logits(hidden_nD, unembed_Dv, bias[...], inverse[...], soft_cap, operand)
    carried.fetch_next(step)
    column_nv = _columns(strip, logits_nv)
    real_nv = (column_nv < jnp.minimum(limit[0, 0], round_.columns)) & own
    # What lies behind the last token or column may be anything, and zero times anything isn't zero.
    if round_.count % rows:
        real_nv &= _rows(n, logits_nv.shape) < round_.count
        hidden_nD = jnp.where(_rows(n, hidden_nD.shape) < round_.count, hidden_nD, 0)
    if round_.columns % unembed.shape[1]:
        unembed_Dv = jnp.where(_columns(strip, unembed_Dv) < round_.columns, unembed_Dv, 0)
    gradient_nv = slope * _slope_of_loss(logits_nv, column_nv == targets[...], numbers)
    gradient_nv = jnp.where(real_nv, gradient_nv, 0)
    narrow_nv = gradient_nv.astype(operand)

    @pl.when(n == 0)
    def _() -> None:
        sum_Dv[...] = jnp.zeros_like(sum_Dv)

    for part in round_.parts(hidden.shape[1]):
        sum_Dv[part] += _product(hidden_nD[:, part], narrow_nv, (0, 0), operand)

    @pl.when(own & (n == 0))
    def _() -> None:
        of_bias[...] = jnp.zeros_like(of_bias)

    @pl.when(own)
    def _() -> None:
        of_bias[...] += gradient_nv.sum(axis=0, keepdims=True)

    @pl.when(own & (n == round_.steps - 1))
    def _() -> None:
        of_unembed[...] = sum_Dv[...].astype(of_unembed.dtype)

    carried.add(step, lambda part: _product(narrow_nv, unembed_Dv[part], (1, 1), operand))


def _slope_of_loss(logits_nv: Array, is_target_nv: Array, numbers: Any) -> Array:
    """The gradient of each logit after the cap, as ``chunked.Slopes`` has it."""
    shift, log_total, entropy, level, bend, pick = (numbers[:, at : at + 1] for at in range(6))
    log_p_nv = (logits_nv - shift) - log_total
    smooth_nv = jnp.exp(log_p_nv) * (level - bend * (log_p_nv + entropy))
    return smooth_nv + jnp.where(is_target_nv, pick, 0)


def _logits(
    hidden_nD: Array, unembed_Dv: Array, bias_1v: Array, inverse_n1: Array, soft_cap: float | None, operand: jnp.dtype
) -> tuple[Array, Array]:
    """A tile's logits [n, v], and their derivative with respect to ``h W + b``."""
    logits_nv = _product(hidden_nD, unembed_Dv, (1, 0), operand) + bias_1v
    slope = inverse_n1
    if soft_cap is not None:
        bounded_nv = jnp.tanh(logits_nv / soft_cap)
        logits_nv, slope = soft_cap * bounded_nv, slope * (1 - bounded_nv * bounded_nv)
    return logits_nv * inverse_n1, slope


def _product(left: Array, right: Array, summed: tuple[int, int], operand: jnp.dtype) -> Array:
    """A matrix product over one axis of each side with float32 sums; float32 operands keep all their digits."""
    axes = (((summed[0],), (summed[1],)), ((), ()))
    precision = lax.Precision.HIGHEST if operand == jnp.float32 else lax.Precision.DEFAULT
    left, right = left.astype(operand), right.astype(operand)
    return lax.dot_general(left, right, axes, precision=precision, preferred_element_type=jnp.float32)


def _rows(n: Any, shape: tuple[int, ...]) -> Array:
    """The token number of each entry of tile number ``n``."""
    return n * shape[0] + lax.broadcasted_iota(jnp.int32, shape, 0)


def _columns(v: Any, tile: Array) -> Array:
    """The column number of each entry of tile number ``v``."""
    return v * tile.shape[1] + lax.broadcasted_iota(jnp.int32, tile.shape, 1)
