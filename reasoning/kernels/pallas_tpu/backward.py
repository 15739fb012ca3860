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
from jax import Array, lax
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
from reasoning.kernels.pallas_tpu.hidden_gradient import HALVES, HiddenGradient
from reasoning.kernels.pallas_tpu.tiles import TPU, Load, Tiles, backward_tiles
from reasoning.kernels.pallas_tpu.turns import MatrixGradient, Turns

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

    ``hidden_sum_BTD``, float32, is what the hidden states' gradient is added to in place. Without it a bfloat16
    gradient is summed in two halves of float32's digits, one of which is the result.
    """
    count, width, columns = sizes_of(operands)
    itemsize = jnp.dtype(types.unembed).itemsize
    tiles = tpu.tiles or backward_tiles(tpu.chip, backward.load, (count, width), columns, itemsize)
    token_tiles, column_tiles = pl.cdiv(count, tiles.tokens), pl.cdiv(columns, tiles.columns)
    turns = Turns(count, columns, token_tiles, column_tiles, min(tpu.chip.cores, token_tiles, column_tiles))
    halved = hidden_sum_BTD is None and jnp.dtype(types.hidden) == jnp.bfloat16
    # In whole tiles, since manual copies aren't cut off at an array's end.
    rows = turns.rows * tiles.tokens
    of_hidden = [jax.ShapeDtypeStruct((rows, width), each) for each in (HALVES if halved else (jnp.float32,))]
    sums = [
        *of_hidden,
        jax.ShapeDtypeStruct((width, columns), types.unembed),
        jax.ShapeDtypeStruct((turns.cores, 1, columns), jnp.float32),
    ]
    if turns.cores > 1:
        sums.append(jax.ShapeDtypeStruct((turns.cores, width, tiles.columns), jnp.float32))
        begun = len(sums)
    else:
        begun = 0 if hidden_sum_BTD is None else 1
    call, given = _call(operands, backward, turns, tiles, tpu, sums, begun)
    start = [jnp.zeros(each.shape, each.dtype) for each in sums[:begun]]
    if hidden_sum_BTD is not None:
        start[0] = jnp.pad(hidden_sum_BTD.reshape(count, width), ((0, rows - count), (0, 0)))

    def take(turn: Any, before: list[Array]) -> list[Array]:
        return list(call(jnp.asarray(turn, jnp.int32).reshape(1), *given, *before))

    found = take(0, start) if turns.count == 1 else lax.fori_loop(0, turns.count, take, start)
    of_unembed, of_bias = found[len(of_hidden) : len(of_hidden) + 2]
    hidden_BTD = found[0][:count].astype(types.hidden).reshape(operands.hidden_BTD.shape)
    return hidden_BTD, ParameterGradients(of_unembed, None if operands.bias_V is None else of_bias.sum(axis=0)[0])


def _call(
    operands: Operands, backward: BackwardPass, turns: Turns, tiles: Tiles, tpu: TPU, sums: list[Any], begun: int
) -> tuple[Callable[..., list[Array]], tuple[Array, ...]]:
    """A turn of the kernel, of the turn's number, the arrays that it is returned with, and the first ``begun`` of
    ``sums`` as they are before, which it writes in place.
    """
    count, width, columns = sizes_of(operands)
    given = (*arrays_of(operands), *backward.by_token, *backward.by_column)
    # Hidden states and their sum once a tile of columns; the matrix once a core, and its gradient, of which two cores
    # write and read a half too.
    by_token = turns.column_tiles * count * (backward.load.row_bytes + 8 * width)
    by_column = columns * (turns.cores * backward.load.row_bytes + (4 if turns.cores == 1 else 12) * width)
    call = pl.pallas_call(
        partial(_backward, operands.soft_cap, turns, operands.operand, backward, begun),
        grid_spec=pltpu.PrefetchScalarGridSpec(
            num_scalar_prefetch=1,
            # Tokens run fastest, so that a tile of columns and the float32 sum of its gradient stay in VMEM until the
            # sum is complete: it leaves once, in its own type. Of the two sums only the hidden states' goes to and fro.
            grid=(turns.cores, turns.visits, turns.token_tiles_a_core),
            **_specs(turns, tiles, width, backward, sums, begun),
        ),
        out_shape=sums,
        input_output_aliases={1 + len(given) + number: number for number in range(begun)},
        compiler_params=pltpu.CompilerParams(
            dimension_semantics=("parallel", "arbitrary", "arbitrary"), vmem_limit_bytes=tpu.chip.vmem_limit
        ),
        cost_estimate=pl.CostEstimate(
            flops=backward.flops // turns.count,
            transcendentals=count * columns * (1 + len(backward.by_column)) // turns.count,
            bytes_accessed=(by_token + by_column) // turns.count,
        ),
        interpret=tpu.interpret,
        name=backward.name,
    )
    return call, given


def _specs(
    turns: Turns, tiles: Tiles, width: int, backward: BackwardPass, sums: list[Any], begun: int
) -> dict[str, Any]:
    """Which part of each operand and result a step of the kernel sees, and the VMEM that it keeps between steps."""

    def of_tokens(numbers: int) -> pl.BlockSpec:
        def block(core: Any, v: Any, n: Any, turn: Any) -> tuple[Any, int]:
            return jnp.minimum(turns.token_tile(turn[0], core, n), turns.token_tiles - 1), 0

        return pl.BlockSpec((tiles.tokens, numbers), block)

    def of_columns(numbers: int) -> pl.BlockSpec:
        return pl.BlockSpec((numbers, tiles.columns), lambda c, v, n, turn: (0, turns.block(turn[0], c, v)))

    def of_unembed(core: Any, v: Any, n: Any, turn: Any) -> tuple[int, Any]:
        # Of two visits the first completes a tile.
        return 0, turns.block(turn[0], core, v if turns.cores == 1 else 0)

    def of_bias(core: Any, v: Any, n: Any, turn: Any) -> tuple[Any, int, Any]:
        return turns.share(turn[0], core), 0, turns.block(turn[0], core, v)

    own = [
        *(of_tokens(each.shape[1]) for each in backward.by_token),
        *(of_columns(each.shape[0]) for each in backward.by_column),
    ]
    limit, in_hbm = pl.BlockSpec(memory_space=pltpu.SMEM), pl.BlockSpec(memory_space=pl.ANY)
    # The hidden states' gradient stays in HBM: Pallas writes blocks of results but doesn't read them back, and this one
    # must be read to be added to.
    between = [in_hbm] if turns.cores > 1 else []
    of_hidden = sums[: len(sums) - 2 - len(between)]
    blocks = [pl.BlockSpec((width, tiles.columns), of_unembed), pl.BlockSpec((None, 1, tiles.columns), of_bias)]
    copies = pltpu.SemaphoreType.DMA((len(of_hidden), 2))  # for each of the two places in VMEM
    return {
        "in_specs": [limit, of_tokens(width), of_columns(width), of_columns(1), of_tokens(1), *own, *[in_hbm] * begun],
        "out_specs": [*[in_hbm] * len(of_hidden), *blocks, *between],
        "scratch_shapes": [
            # The matrix's gradient adds up here and not in its block of the results, which may be bfloat16.
            pltpu.VMEM((width, tiles.columns), jnp.float32),
            pltpu.SemaphoreType.DMA,
            *(pltpu.VMEM((2, tiles.tokens, width), each.dtype) for each in of_hidden),
            copies,  # reads
            copies,  # writes
        ],
    }


def _backward(
    soft_cap: float | None, turns: Turns, operand: jnp.dtype, backward: BackwardPass, begun: int, turn, limit, *rest
) -> None:
    """One tile of columns against one tile of tokens, whose gradient of the hidden states waits in HBM in between."""
    hidden, unembed, bias, inverse, *rest = rest
    core, v, n = (pl.program_id(axis) for axis in range(3))
    inputs = len(backward.by_token) + len(backward.by_column)
    # What began elsewhere is among the results.
    tile, references = tuple(rest[:inputs]), rest[inputs + begun :]
    hidden_gradient, matrix_gradient, of_unembed, of_bias = _sums(references, turns, turn[0], core, begun > 0)
    column_tile, token_tile = turns.block(turn[0], core, v), turns.token_tile(turn[0], core, n)
    step = v * turns.token_tiles_a_core + n - turns.steps(turn[0], core)[1]
    row_number, column_number = (partial(row_numbers, token_tile), partial(column_numbers, column_tile))
    rows = turns.rows * hidden.shape[0]

    def work() -> None:
        hidden_gradient.fetch_first(step)
        matrix_gradient.begin(v, n)
        logits_nv, derivative = logits_of(hidden, unembed, bias[...], inverse[...], soft_cap, operand)
        # After the logits, so that the write which it waits for had their time, and the read that of both gradients.
        hidden_gradient.fetch_next(step)
        column_nv = column_number(logits_nv.shape)
        real_nv = column_nv < jnp.minimum(limit[0, 0], turns.columns)
        # What lies behind the last token or column may be anything, NaN too, and zero times NaN isn't zero: so the
        # gradient is selected, and below the other factor of each product too, which sums over tokens or over columns.
        if turns.tokens % rows:
            real_nv &= row_number(logits_nv.shape) < turns.tokens
        gradient_nv = jnp.where(real_nv, derivative * backward.logit_gradient(tile, logits_nv, column_nv), 0)
        narrow_nv = gradient_nv.astype(operand)
        matrix_gradient.fetched(v, n)
        # By parts of D: the float32 product of a whole width would take as much VMEM as the sum.
        for part in parts(hidden.shape[1]):
            hidden_nd = _within(hidden[:, part], row_number, turns.tokens, rows)
            matrix_gradient.sum_Dv[part] += product(hidden_nd, narrow_nv, (0, 0), operand)

        @pl.when(n == 0)
        def _() -> None:
            of_bias[...] = jnp.zeros_like(of_bias)

        of_bias[...] += gradient_nv.sum(axis=0, keepdims=True)

        def complete(sum_Dv: Array) -> None:
            of_unembed[...] = sum_Dv.astype(of_unembed.dtype)

        matrix_gradient.end(v, n == turns.token_tiles_a_core - 1, complete)

        def of_tokens(part: slice) -> Array:
            unembed_dv = _within(unembed[part, :], column_number, turns.columns, unembed.shape[1])
            return product(narrow_nv, unembed_dv, (1, 1), operand)

        hidden_gradient.add(step, of_tokens)

    if turns.cores == 1:
        work()
    else:
        pl.when(turns.is_own(turn[0], core, v))(work)


def _sums(
    references: list[Any], turns: Turns, turn: Any, core: Any, begun: bool
) -> tuple[HiddenGradient, MatrixGradient, Any, Any]:
    """A core's sums, from the kernel's results and scratch, and where the gradients of matrix and bias go."""
    between = 1 if turns.cores > 1 else 0
    # The hidden states' gradient is one array or two, in HBM and in VMEM alike.
    arrays = (len(references) - 6 - between) // 2
    of_unembed, of_bias = references[arrays : arrays + 2]
    sum_Dv, done, *in_vmem, read_done, write_done = references[arrays + 2 + between :]
    hidden_gradient = HiddenGradient(
        in_hbm=tuple(references[:arrays]),
        in_vmem=tuple(in_vmem),
        read_done=read_done,
        write_done=write_done,
        first=turns.token_tile(turn, core, 0),
        tiles=turns.token_tiles_a_core,
        steps=turns.steps(turn, core)[0],
        begun=begun,
    )
    kept = references[arrays + 2].at[core] if between else None
    return hidden_gradient, MatrixGradient(sum_Dv, kept, done), of_unembed, of_bias


def _within(tile: Array, numbers: Callable[[tuple[int, ...]], Array], count: int, size: int) -> Array:
    """A tile with zeros at ``numbers`` from ``count`` on, where tiles of ``size`` don't fill up the array."""
    return jnp.where(numbers(tile.shape) < count, tile, 0) if count % size else tile
