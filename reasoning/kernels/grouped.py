"""Rows sorted into groups times a matrix a group, as mixtures of experts want it.

On TPUs ``jax.lax.ragged_dot`` is a kernel, and so is its gradient in the rows, but XLA makes that in the matrices as a
dense product of all rows for each group, masked: as many times the operations as there are groups. JAX's Pallas kernel
for it (``megablox``) multiplies each group's rows only.

Shapes: M rows, E groups, D width of a row, F width of its product.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
from jax.experimental.pallas.ops.tpu.megablox.gmm import tgmm
from jax.sharding import Mesh

from reasoning.kernels.backends import Choice, resolved

_ROWS, _LANES = 512, 128
"""Rows that are multiplied at a time at most, and what a TPU's registers are wide."""

_TILE_BYTES = 2048
"""What a row of a tile may take: two operands, the result and a float32 sum then fit VMEM's 16 MiB, with room."""


@dataclass(frozen=True)
class GroupedProduct:
    """``product(rows_MD, matrices_EDF, sizes_E) -> products_MF``: the first rows times the first matrix, and so on.

    What it gives for rows beyond the last group isn't defined. ``typed`` as in ``backends.Kernels``.
    """

    description: str
    typed: bool
    product: Callable[[jax.Array, jax.Array, jax.Array], jax.Array]

    def __str__(self) -> str:
        return self.description


PLAIN = GroupedProduct("plain XLA", typed=True, product=jax.lax.ragged_dot)
"""For CPUs and GPUs."""


def grouped_for(choice: Choice, mesh: Mesh | None) -> GroupedProduct:
    """The product for the mesh's devices, by the choice that names the other kernels too.

    Raises InputError for a choice that isn't known, and for Pallas where there is no TPU.
    """
    choice, _ = resolved(choice, mesh)
    return PLAIN if choice == "chunked" else _MEGABLOX[choice == "pallas_tpu_interpreted"]


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _product(interpret: bool, rows_MD: jax.Array, matrices_EDF: jax.Array, sizes_E: jax.Array) -> jax.Array:
    return jax.lax.ragged_dot(rows_MD, matrices_EDF, sizes_E)


def _forward(
    interpret: bool, rows_MD: jax.Array, matrices_EDF: jax.Array, sizes_E: jax.Array
) -> tuple[jax.Array, tuple[jax.Array, ...]]:
    return jax.lax.ragged_dot(rows_MD, matrices_EDF, sizes_E), (rows_MD, matrices_EDF, sizes_E)


def _backward(
    interpret: bool, operands: tuple[jax.Array, ...], upstream_MF: jax.Array
) -> tuple[jax.Array, jax.Array, None]:
    rows_MD, matrices_EDF, sizes_E = operands
    pull = jax.vjp(lambda rows: jax.lax.ragged_dot(rows, matrices_EDF, sizes_E), rows_MD)[1]
    # Rows go by whole tiles; those that fill the last one up belong to no group.
    many = min(_ROWS, _up(rows_MD.shape[0], _LANES))
    filled_MD, filled_MF = (jnp.pad(x, ((0, -x.shape[0] % many), (0, 0))) for x in (rows_MD, upstream_MF))
    tiles = (many, *(_tile(x.shape[1], x.dtype.itemsize) for x in (rows_MD, upstream_MF)))
    of_matrices = tgmm(filled_MD.swapaxes(0, 1), filled_MF, sizes_E, matrices_EDF.dtype, tiles, interpret=interpret)
    return *pull(upstream_MF), of_matrices, None


_product.defvjp(_forward, _backward)

_MEGABLOX = tuple(
    GroupedProduct(f"megablox{how}", typed=False, product=partial(_product, interpret))
    for interpret, how in ((False, ""), (True, ", interpreted"))
)


def _up(size: int, unit: int) -> int:
    return -(-size // unit) * unit


def _tile(width: int, itemsize: int) -> int:
    """Columns at a time: all, or even parts of what may be."""
    largest = _TILE_BYTES // itemsize
    return width if width <= largest else _up(-(-width // -(-width // largest)), _LANES)
