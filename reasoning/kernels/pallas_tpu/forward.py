"""Log-probability statistics of tokens against a vocabulary as a Pallas kernel for TPUs: logits live in VMEM only.

The counterpart of ``chunked.statistics``: a tile of hidden states stays in VMEM while the matrix streams past it, and
each logit is made once, 2 N D V operations. The backward pass is in ``backward``.

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

from reasoning.core.errors import InputError
from reasoning.kernels.operands import MASKED, Operands, Statistics
from reasoning.kernels.pallas_tpu.tiles import TPU, Load, forward_tiles

ARRAYS = 4
"""How many arrays of a tile's logits the statistics need at once."""

_STRIP = 512
"""Columns of D that one matrix product makes or sums, where that bounds what it needs besides operands and result."""


@dataclass(frozen=True)
class ForwardPass:
    """What a forward kernel needs to sum up numbers of each token while columns stream past.

    Besides what ``arrays_of`` gives the kernel sees those ``by_token`` [N, …] and ``by_column`` [E, V]; it writes
    ``results`` columns for each token, and keeps scratch of just those. ``load`` and ``products`` (matrix products of
    N, this many numbers, and V) count all of it, ``exponentials`` those of each logit.
    """

    name: str
    kernel: Callable[..., None]
    by_token: tuple[Array, ...]
    by_column: tuple[Array, ...]
    results: tuple[int, ...]
    load: Load
    products: int
    exponentials: int


def statistics(operands: Operands, targets_BTK: Array, tpu: TPU) -> Statistics:
    """The forward pass over this device's tokens and columns; as ``chunked.statistics``."""
    _, width, columns = sizes_of(operands)
    candidates = targets_BTK.shape[2]
    forward = ForwardPass(
        name="token_log_probs_forward",
        kernel=partial(_forward, operands.soft_cap, columns, operands.operand),
        by_token=(targets_BTK.reshape(-1, candidates),),
        by_column=(),
        results=(1, 1, 1, candidates),
        load=load_of((operands,), ARRAYS),
        products=width,
        exponentials=1,
    )
    sums = run_forward(operands, forward, tpu).reshape(*targets_BTK.shape[:2], 3 + candidates)
    return Statistics(sums[..., 0], sums[..., 1], sums[..., 2], sums[..., 3:])


def run_forward(operands: Operands, forward: ForwardPass, tpu: TPU) -> Array:
    """The sums of each token [N, all results]: a tile of tokens stays in VMEM while columns stream past."""
    count, width, columns = sizes_of(operands)
    tiles = tpu.tiles or forward_tiles(tpu.chip, forward.load, count, columns)
    # The last axis of a grid runs fastest: a tile of tokens, whose block doesn't change meanwhile, is copied once, and
    # the sums can stay in scratch. Pallas fetches the next tile of columns during the products of this one.
    grid = (pl.cdiv(count, tiles.tokens), pl.cdiv(columns, tiles.columns))

    def of_tokens(numbers: int) -> pl.BlockSpec:
        return pl.BlockSpec((tiles.tokens, numbers), lambda n, v: (n, 0))

    def of_columns(numbers: int) -> pl.BlockSpec:
        return pl.BlockSpec((numbers, tiles.columns), lambda n, v: (0, v))

    shared = [pl.BlockSpec(memory_space=pltpu.SMEM), of_tokens(width), of_columns(width), of_columns(1), of_tokens(1)]
    own = [of_tokens(each.shape[1]) for each in forward.by_token] + [
        of_columns(each.shape[0]) for each in forward.by_column
    ]
    call = pl.pallas_call(
        forward.kernel,
        grid=grid,
        in_specs=[*shared, *own],
        out_specs=[of_tokens(sum(forward.results))],
        out_shape=[jax.ShapeDtypeStruct((count, sum(forward.results)), jnp.float32)],
        scratch_shapes=[pltpu.VMEM((tiles.tokens, each), jnp.float32) for each in forward.results],
        compiler_params=pltpu.CompilerParams(
            # Two cores of a device may share out tokens; columns add to what the column before has left in scratch.
            dimension_semantics=("parallel", "arbitrary"),
            vmem_limit_bytes=tpu.chip.vmem_limit,
        ),
        cost_estimate=pl.CostEstimate(
            flops=2 * count * forward.products * columns,
            transcendentals=forward.exponentials * count * columns,
            bytes_accessed=forward.load.row_bytes * (count + columns * grid[0]),
        ),
        interpret=tpu.interpret,
        name=forward.name,
    )
    [sums] = call(*arrays_of(operands), *forward.by_token, *forward.by_column)
    return sums


def sizes_of(operands: Operands) -> tuple[int, int, int]:
    """N, D and V. Raises InputError for a type that no TPU multiplies."""
    if operands.accumulator != jnp.float32:
        raise InputError(
            f"the TPU's kernels take bfloat16 and float32, not {operands.operand}; set kernels to 'chunked'"
        )
    width, columns = operands.unembed_DV.shape
    return operands.inverse_temperature_BT.size, width, columns


def load_of(models: tuple[Operands, ...], arrays: int) -> Load:
    """What a kernel holds of one distribution, or of two, with so many arrays of a tile's logits."""
    return Load(sum(each.operand.itemsize * each.unembed_DV.shape[0] for each in models), arrays)


def arrays_of(operands: Operands) -> tuple[Array, ...]:
    """What all kernels read first: how many columns are real [1, 1], hidden states [N, D], matrix, bias [1, V], and of
    each token the inverse temperature [N, 1].
    """
    width, columns = operands.unembed_DV.shape
    limit = columns if operands.real_columns is None else operands.real_columns
    bias_V = jnp.zeros(columns) if operands.bias_V is None else operands.bias_V
    return (
        jnp.asarray(limit, jnp.int32).reshape(1, 1),
        operands.hidden_BTD.reshape(-1, width),
        operands.unembed_DV,
        bias_V.astype(jnp.float32)[None],
        operands.inverse_temperature_BT.reshape(-1, 1),
    )


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

    logits_nv = logits_of(hidden, unembed, bias[...], inverse[...], soft_cap, operand)[0]
    column_nv = column_numbers(v, logits_nv.shape)
    real_nv = column_nv < jnp.minimum(limit[0, 0], columns)
    logits_nv = jnp.where(real_nv, logits_nv, MASKED)
    # The online softmax (Milakov and Gimelshein, arXiv 1805.02867): when the largest logit grows, what was summed
    # relative to the one before is rescaled by exp(before - largest). The moment sums e^c c of centred logits c, and
    # each c moves by the same ``moved``. Before the first tile the sums are 0, and exp(MASKED - largest) is 0.
    before, largest = shift[...], jnp.maximum(shift[...], logits_nv.max(axis=1, keepdims=True))
    centred_nv, moved = logits_nv - largest, before - largest
    weight_nv, scale = jnp.exp(centred_nv), jnp.exp(moved)
    moment[...] = scale * (moment[...] + moved * total[...]) + (weight_nv * centred_nv).sum(axis=1, keepdims=True)
    total[...] = scale * total[...] + weight_nv.sum(axis=1, keepdims=True)
    shift[...] = largest
    # A target on another device may have the number of a column that only fills this tile up.
    candidates_nK = targets[...]

    def pick(k: Any, picked_nK: Array) -> Array:
        is_target_nv = real_nv & (column_nv == candidate(candidates_nK, k))
        of_target_n1 = jnp.where(is_target_nv, logits_nv, 0).sum(axis=1, keepdims=True)
        return picked_nK + jnp.where(column_numbers(0, picked_nK.shape) == k, of_target_n1, 0)

    target[...] = over_candidates(pick, target[...], targets.shape[1])

    @pl.when(v == last)
    def _() -> None:
        out[...] = jnp.concatenate([sums[...] for sums in kept], axis=1)


def logits_of(
    hidden: Any,
    unembed: Any,
    bias_1v: Array | float,
    inverse_n1: Array,
    soft_cap: float | None,
    operand: jnp.dtype,
) -> tuple[Array, Array]:
    """A tile's logits [n, v], and their derivative with respect to ``h W + b``, from references [n, D] and [D, v]."""
    # Float32 is multiplied in pieces of bfloat16, which for the whole width at once would take more memory than the
    # operands.
    strips = parts(hidden.shape[1]) if operand == jnp.float32 else [slice(None)]
    logits_nv = sum((product(hidden[:, part], unembed[part, :], (1, 0), operand) for part in strips), bias_1v)
    derivative = inverse_n1
    if soft_cap is not None:
        bounded_nv = jnp.tanh(logits_nv / soft_cap)
        logits_nv, derivative = soft_cap * bounded_nv, derivative * (1 - bounded_nv * bounded_nv)
    return logits_nv * inverse_n1, derivative


def parts(width: int) -> list[slice]:
    """Columns of D, strip by strip."""
    return [slice(start, min(start + _STRIP, width)) for start in range(0, width, _STRIP)]


def product(left: Array, right: Array, summed: tuple[int, int], operand: jnp.dtype) -> Array:
    """A matrix product over one axis of each side with float32 sums; float32 operands keep all their digits."""
    axes = (((summed[0],), (summed[1],)), ((), ()))
    precision = lax.Precision.HIGHEST if operand == jnp.float32 else lax.Precision.DEFAULT
    left, right = left.astype(operand), right.astype(operand)
    return lax.dot_general(left, right, axes, precision=precision, preferred_element_type=jnp.float32)


def over_candidates(step: Callable[[Any, Array], Array], start: Array, count: int) -> Array:
    """``step`` of each candidate's number in turn; a loop, or a few dozen of them would not fit into VMEM."""
    return step(0, start) if count == 1 else lax.fori_loop(0, count, step, start)


def candidate(values_nK: Array, k: Any) -> Array:
    """One candidate's column [n, 1]; float32 holds every id of a vocabulary exactly."""
    if values_nK.shape[1] == 1:
        return values_nK
    # A position along lanes that only the loop knows is no index that a TPU takes; a masked sum picks it.
    column_n1 = jnp.where(column_numbers(0, values_nK.shape) == k, values_nK.astype(jnp.float32), 0).sum(
        axis=1, keepdims=True
    )
    return column_n1.astype(values_nK.dtype)


def row_numbers(n: Any, shape: tuple[int, ...]) -> Array:
    """The token number of each entry of tile number ``n``."""
    return n * shape[0] + lax.broadcasted_iota(jnp.int32, shape, 0)


def column_numbers(v: Any, shape: tuple[int, ...]) -> Array:
    """The column number of each entry of tile number ``v``."""
    return v * shape[1] + lax.broadcasted_iota(jnp.int32, shape, 1)
