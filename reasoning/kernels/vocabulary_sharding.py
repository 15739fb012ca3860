"""How tokens and the unembedding lie on a mesh, and the few collectives that a sharded vocabulary needs.

Each collective runs once per pass, outside the loop over chunks: the matrix is gathered over ``embed_axis`` before it
and its gradient scattered after it, or both once a strip of columns, where all of them would be large. Only [tokens]
scalars (and the hidden states' gradient) cross ``vocabulary_axis``.

Legend: B rows, T time, D model width, V vocabulary; d and v are one device's parts of D and V.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.experimental.layout import Layout, with_layout_constraint
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from reasoning.core.errors import InputError
from reasoning.kernels.operands import (
    GradientTypes,
    Operands,
    ParameterGradients,
    Statistics,
    strip_of,
    zeros_for,
)

Axes = str | tuple[str, ...] | None

_STRIPS = 8
"""How many strips there are where columns suffice: each has its collectives, whose latency they add up."""

_LANES = 128
"""Strips are a multiple of what a TPU's registers hold of a row."""

_WHOLE = 64 * 2**20
"""Bytes that a gathered matrix in bfloat16 and its gradient in float32 may take before there are strips."""


def _names(axes: Axes) -> tuple[str, ...]:
    """The mesh axes of one array axis, as a tuple."""
    if axes is None:
        return ()
    return (axes,) if isinstance(axes, str) else tuple(axes)


@dataclass(frozen=True)
class VocabularySharding:
    """Where hidden states [B, T, D] and the unembedding [D, V] live, so that no device sees more logits than its own.

    ``token_axes`` are the mesh axes of B and of T. V is cut over ``vocabulary_axis`` (padded where it doesn't divide)
    and D of the matrix over ``embed_axis``, which must be token axes. None leaves an axis whole; mesh axes
    that aren't named hold copies. Raises InputError for axes that the mesh lacks or that are used twice.
    """

    mesh: Mesh
    token_axes: tuple[Axes, Axes] = (("data", "fsdp", "expert"), "context")
    vocabulary_axis: str | None = "tensor"
    embed_axis: Axes = "fsdp"

    def __post_init__(self) -> None:
        used = (*self.tokens, *_names(self.vocabulary_axis))
        for name in (*used, *_names(self.embed_axis)):
            if name not in self.mesh.axis_names:
                raise InputError(f"the mesh has no axis {name!r}; it has {self.mesh.axis_names}; name one of those")
        if len(set(used)) < len(used):
            raise InputError(f"a mesh axis shards two things: tokens and vocabulary lie over {used}; name each once")
        if not set(_names(self.embed_axis)) <= set(self.tokens):
            raise InputError(f"embed_axis {self.embed_axis!r} must be one of the token axes or several, {self.tokens}")

    @property
    def tokens(self) -> tuple[str, ...]:
        """The mesh axes that share out the tokens."""
        return (*_names(self.token_axes[0]), *_names(self.token_axes[1]))

    @property
    def token_spec(self) -> P:
        """Of [B, T] arrays, and of [B, T, D]."""
        return P(*self.token_axes)

    @property
    def unembed_spec(self) -> P:
        """Of [D, V]."""
        return P(self.embed_axis, self.vocabulary_axis)

    @property
    def bias_spec(self) -> P:
        """Of [V]."""
        return P(self.vocabulary_axis)

    def size(self, axes: Axes) -> int:
        """How many parts these mesh axes make."""
        return math.prod(self.mesh.shape[name] for name in _names(axes))


def pad_to(values: Array, axis: int, parts: int) -> Array:
    """``values`` with zeros at the end of ``axis``, so that it divides into ``parts``."""
    widths = [(0, 0)] * values.ndim
    widths[axis] = (0, -values.shape[axis] % parts)
    return jnp.pad(values, widths) if widths[axis][1] else values


def first_columns(unembed_DV: Array, vocabulary: int, sharding: VocabularySharding | None) -> Array:
    """The matrix without what it has beyond its first ``vocabulary`` columns.

    Where a mesh cuts the columns, a few beyond stay so that it can; ``own_operands`` masks them like padding.
    """
    parts = 1 if sharding is None else sharding.size(sharding.vocabulary_axis)
    kept = vocabulary + -vocabulary % parts
    return unembed_DV[:, :kept] if kept < unembed_DV.shape[1] else unembed_DV


def pad_unembed(unembed_DV: Array, sharding: VocabularySharding | None) -> Array:
    """The matrix, padded so that both of its axes divide over the mesh; ``gathered`` and masks take the padding off."""
    if sharding is None:
        return unembed_DV
    wide = pad_to(unembed_DV, 1, sharding.size(sharding.vocabulary_axis))
    return pad_to(wide, 0, sharding.size(sharding.embed_axis))


def check_tokens(shape: tuple[int, ...], sharding: VocabularySharding | None) -> None:
    """Raises InputError where [B, T] tokens can't be shared out evenly."""
    if sharding is None:
        return
    for size, axes, name in zip(shape, sharding.token_axes, ("rows", "time steps"), strict=True):
        if size % sharding.size(axes):
            raise InputError(
                f"{size} {name} don't divide over mesh axes {axes}: pad to a multiple of {sharding.size(axes)}"
            )


def has_whole_vocabulary(sharding: VocabularySharding | None) -> bool:
    """Whether each device holds all columns."""
    return sharding is None or sharding.size(sharding.vocabulary_axis) == 1


def _has_all_tokens(sharding: VocabularySharding | None) -> bool:
    """Whether no other device adds to the parameters' gradients."""
    return sharding is None or sharding.size(sharding.tokens) == 1


def gradient_types(
    hidden: Array, unembed: Array, wide: jnp.dtype, sharding: VocabularySharding | None
) -> GradientTypes:
    """The types in which one device's gradients are exact enough: ``wide`` where others are still to be added."""
    return GradientTypes(
        hidden=hidden.dtype if has_whole_vocabulary(sharding) else wide,
        unembed=unembed.dtype if _has_all_tokens(sharding) else wide,
    )


def on_each_device(
    function: Callable,
    sharding: VocabularySharding | None,
    arguments: tuple[str, ...],
    *,
    results: Any,
    typed: bool,
) -> Callable:
    """``function`` of each device's parts of its arguments, under shard_map; the function itself without a mesh.

    ``arguments`` say how each of them lies: 'unembed', 'bias', or 'token', a [B, T] array or a record of such;
    ``results``, such a word or a tree of them, how what it returns does. ``typed``: its results say over which mesh
    axes they differ.
    """
    if sharding is None:
        return function
    specs = {"token": sharding.token_spec, "unembed": sharding.unembed_spec, "bias": sharding.bias_spec}
    in_specs = tuple(specs[each] for each in arguments)
    out_specs = jax.tree.map(specs.__getitem__, results)
    # Unchecked for Pallas, whose results have no such types: that copies are equal is then ours to see to.
    return jax.shard_map(function, mesh=sharding.mesh, in_specs=in_specs, out_specs=out_specs, check_vma=typed)


# The functions below run on one device's parts; without a sharding each is the identity.


def first_column(columns: int, sharding: VocabularySharding | None) -> Array | int:
    """The vocabulary id of this device's first column, where each device holds ``columns``."""
    if sharding is None or sharding.vocabulary_axis is None:
        return 0
    return lax.axis_index(sharding.vocabulary_axis) * columns


def gathered(operands: Operands, width: int, sharding: VocabularySharding | None) -> Operands:
    """The operands with their columns of the matrix in full width, [D, v]."""
    if sharding is None or sharding.embed_axis is None:
        return operands
    matrix_Dv = lax.all_gather(operands.unembed_DV, sharding.embed_axis, axis=0, tiled=True)[:width]
    return replace(operands, unembed_DV=matrix_Dv)


def own_operands(
    hidden: Array,
    unembed: Array,
    bias: Array | None,
    inverse: Array,
    vocabulary: int,
    soft_cap: float | None,
    sharding: VocabularySharding | None,
) -> Operands:
    """This device's operands, with its part of the matrix [d, v], which ``gathered`` makes as wide as it was.

    ``vocabulary`` is that before any padding.
    """
    padded = sharding is not None and vocabulary % sharding.size(sharding.vocabulary_axis) > 0
    # A padded column is zeros, and a logit of 0 would have its share of the probability, so it is masked by its number.
    real_columns = jnp.asarray(vocabulary - first_column(unembed.shape[1], sharding)) if padded else None
    varying = () if sharding is None else (*sharding.tokens, *_names(sharding.vocabulary_axis))
    return Operands(hidden, unembed, bias, inverse, real_columns, soft_cap, varying)


def merge(own: Statistics, sharding: VocabularySharding | None) -> Statistics:
    """Statistics of the whole vocabulary from those of each device's columns."""
    if sharding is None or sharding.vocabulary_axis is None:
        return own
    shift = lax.pmax(own.shift, sharding.vocabulary_axis)
    # What each device summed relative to its own largest logit, relative to the largest of all: as between two tiles of
    # the online softmax. A device of padding alone has the shift MASKED, so its scale is 0, and no product is NaN.
    moved = own.shift - shift
    scale = jnp.exp(moved)
    sums = (scale * own.total, scale * (own.moment + moved * own.total), own.target)
    return Statistics(shift, *lax.psum(sums, sharding.vocabulary_axis))


def largest_over_columns(values_BT: Array, sharding: VocabularySharding | None) -> Array:
    """The largest of all devices' values for each token."""
    if sharding is None or sharding.vocabulary_axis is None:
        return values_BT
    return lax.pmax(values_BT, sharding.vocabulary_axis)


def sum_over_columns(values: Array, sharding: VocabularySharding | None) -> Array:
    """A sum for each token, or the hidden states' gradient, over the whole vocabulary."""
    if sharding is None or sharding.vocabulary_axis is None:
        return values
    return lax.psum(values, sharding.vocabulary_axis)


def scattered_first(gradients: tuple, sharding: VocabularySharding | None) -> tuple:
    """What ``on_each_device`` gave, the hidden states' gradient only when the matrix's is scattered and not before.

    Nobody waits for the matrix's but the update, so the compiler would scatter it last, and keep a float32 sum of the
    whole matrix's size (3.5 GiB in DeepSeek-V3) through the backward pass of all layers.
    """
    if sharding is None or _has_all_tokens(sharding):
        return gradients
    return lax.optimization_barrier(gradients)


def sum_over_tokens(gradient: Array, sharding: VocabularySharding | None, *, scatter: bool) -> Array:
    """A parameter's gradient over all devices' tokens; ``scatter`` leaves each device its own part of axis 0."""
    if sharding is None:
        return gradient
    rest = sharding.tokens
    # Scattered, each device keeps the rows of the matrix that it holds; an all-reduce would move twice as much.
    if scatter and sharding.embed_axis is not None:
        rest = tuple(name for name in rest if name not in _names(sharding.embed_axis))
        # Row-major, or XLA transposes the whole float32 sum, and the optimizer's moments, for a tied embedding's sake.
        gradient = with_layout_constraint(pad_to(gradient, 0, sharding.size(sharding.embed_axis)), Layout((0, 1)))
        gradient = lax.psum_scatter(gradient, sharding.embed_axis, scatter_dimension=0, tiled=True)
    return lax.psum(gradient, rest) if rest else gradient


def has_strips(width: int, columns: int, sharding: VocabularySharding | None) -> bool:
    """Whether a device's ``columns`` of a matrix ``width`` wide are gathered, and so many that strips are worth it."""
    return sharding is not None and sharding.size(sharding.embed_axis) > 1 and 6 * width * columns > _WHOLE


def _width(columns: int) -> int:
    """How many columns make a strip."""
    each = -(-columns // _STRIPS)
    return -(-each // _LANES) * _LANES


def gradients_by_strips(
    gradients: Callable[[tuple[Operands, ...], Array, Array], tuple[Array, ParameterGradients]],
    models: tuple[Operands, ...],
    widths: tuple[int, ...],
    sharding: VocabularySharding,
    typed: bool,
) -> tuple[Array, ParameterGradients]:
    """The hidden states' gradient [B, T, D] over this device's columns, and this device's parts of the parameters'.

    ``models`` are as ``own_operands`` gives them, of matrices so wide, first the one that gradients are of.
    ``gradients(operands, first, hidden_sum)`` are those of the strip of columns from number ``first`` on, the hidden
    states' on top of ``hidden_sum``, both in the accumulator's type. ``typed`` is as in ``backends.Kernels``.

    All columns, gathered, and the float32 sum of their gradient before it is scattered would be 6 or 8 bytes for each
    of D V numbers, 3 GiB for a 7B model: more than all else of the head.
    """
    columns = models[0].unembed_DV.shape[1]
    size = _width(columns)
    count = -(-columns // size)
    if columns % size:
        models = tuple(_padded(each, size) for each in models)
    own = models[0]

    def strip(hidden_sum_BTD: Array, first: Array) -> tuple[Array, ParameterGradients]:
        parts = zip(models, widths, strict=True)
        operands = tuple(gathered(strip_of(each, first, size), width, sharding) for each, width in parts)
        hidden_sum_BTD, summed = gradients(operands, first, hidden_sum_BTD)
        of_unembed_dv = sum_over_tokens(summed.unembed_DV, sharding, scatter=True).astype(own.unembed_DV.dtype)
        of_bias_v = None if summed.bias_V is None else sum_over_tokens(summed.bias_V, sharding, scatter=False)
        return hidden_sum_BTD, ParameterGradients(of_unembed_dv, of_bias_v)

    zeros = zeros_for(own if typed else replace(own, varying=()), own.hidden_BTD.shape, own.accumulator)
    of_hidden, strips = lax.scan(strip, zeros, jnp.arange(0, count * size, size))
    of_unembed = strips.unembed_DV.swapaxes(0, 1).reshape(-1, count * size)[:, :columns]
    of_bias = None if strips.bias_V is None else strips.bias_V.reshape(-1)[:columns]
    return of_hidden, ParameterGradients(of_unembed, of_bias)


def _padded(own: Operands, size: int) -> Operands:
    """The operands with columns up to a multiple of ``size``, those that are added masked."""
    columns = own.unembed_DV.shape[1]
    real = jnp.asarray(columns) if own.real_columns is None else jnp.minimum(own.real_columns, columns)
    return replace(
        own,
        unembed_DV=pad_to(own.unembed_DV, 1, size),
        bias_V=None if own.bias_V is None else pad_to(own.bias_V, 0, size),
        real_columns=real,
    )
