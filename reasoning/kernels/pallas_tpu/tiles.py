"""Tile sizes of the TPU's kernels, from what a chip holds and how fast it computes and reads.

A tile is right when the kernel's buffers fit the chip's VMEM and the matrix units wait for no copy: the forward pass
reads the matrix once a tile of tokens, so ``tokens`` must exceed the chip's operations a byte; the backward pass reads
and writes tokens once a tile of columns.

Legend: N tokens, D model width, V columns of the vocabulary on this device.
"""

from collections.abc import Callable
from dataclasses import dataclass

from jax.experimental.pallas import tpu as pltpu

from reasoning.core.errors import InputError

_LANES, _SUBLANES = 128, 16
_SIZES = (1024, 512, 256, 128)
"""Tile sizes that are tried, the best first."""

# What the compiler adds isn't counted here: values that it spills, and pieces of float32 products. So a tenth of VMEM
# lies between what is counted and what is allowed; a kernel on v5p that was counted as 51.2 of its 64 MiB took 51.3.
_SHARE, _LIMIT = 0.8, 0.9
"""The part of VMEM that the buffers counted here may take, and the part that a kernel may with what it spills."""


@dataclass(frozen=True)
class Chip:
    """How many cores one device has, and the bytes of VMEM of each of them."""

    name: str
    cores: int
    vmem: int

    @property
    def vmem_limit(self) -> int:
        """What a kernel may take of VMEM."""
        return int(self.vmem * _LIMIT)


@dataclass(frozen=True)
class Tiles:
    """How many tokens and columns of the vocabulary one step of a kernel works on."""

    tokens: int
    columns: int


@dataclass(frozen=True)
class TPU:
    """What the kernels are built for, and whether they are interpreted on another device.

    ``interpret`` True turns a kernel into XLA's operations, on any mesh; ``InterpretParams`` simulates a TPU's memory,
    with NaN behind every ragged end, on one device (those of a mesh would wait for each other's callbacks).
    Tiles are the best that fit where None; those given serve the kernels of both passes.
    """

    chip: Chip
    interpret: bool | pltpu.InterpretParams = False
    tiles: Tiles | None = None


VERSIONS = {
    "TPU v4": (pltpu.ChipVersion.TPU_V4, 2),
    "TPU v5 lite": (pltpu.ChipVersion.TPU_V5E, 1),
    "TPU v5e": (pltpu.ChipVersion.TPU_V5E, 1),
    "TPU v5": (pltpu.ChipVersion.TPU_V5P, 2),
    "TPU v5p": (pltpu.ChipVersion.TPU_V5P, 2),
    "TPU v6 lite": (pltpu.ChipVersion.TPU_V6E, 1),
    "TPU v6e": (pltpu.ChipVersion.TPU_V6E, 1),
    "TPU7x": (pltpu.ChipVersion.TPU_7X, 1),
}
"""What JAX calls devices, the chip behind each, and how many of its cores are one device."""


def chip_named(kind: str) -> Chip:
    """The chip that JAX calls ``kind``. Raises InputError for one that isn't known."""
    if kind not in VERSIONS:
        raise InputError(
            f"no kernel tiles are known for {kind!r}, only for {', '.join(VERSIONS)}; set kernels to 'chunked'"
        )
    version, cores = VERSIONS[kind]
    return Chip(kind, cores, pltpu.get_tpu_info_for_chip(version, cores).vmem_capacity_bytes)


@dataclass(frozen=True)
class Load:
    """What a kernel holds of each token, of each column, and of each logit.

    ``row_bytes`` are the operands' of one token, or one column (two distributions: both operands'); ``arrays`` is how
    many float32 arrays of a tile's logits live at once.
    """

    row_bytes: int
    arrays: int


def forward_bytes(tiles: Tiles, load: Load) -> int:
    """VMEM of a forward pass: operands twice, for copies run ahead, and the logits and what becomes of them."""
    operands = 2 * load.row_bytes * (tiles.tokens + tiles.columns)
    return operands + 4 * load.arrays * tiles.tokens * tiles.columns + 4 * _LANES * 10 * tiles.tokens


def backward_bytes(tiles: Tiles, load: Load, width: int, gradient_itemsize: int) -> int:
    """VMEM of a backward pass: the same, the matrix's gradient and its sum, and two tiles of the hidden states'."""
    gradients = width * (tiles.columns * (4 + 2 * gradient_itemsize) + 2 * 4 * tiles.tokens)
    return forward_bytes(tiles, load) + gradients


def forward_tiles(chip: Chip, load: Load, count: int, columns: int) -> Tiles:
    """The tiles that re-read the matrix least often; of those with the same tokens, the widest."""
    options = _fitting(chip, count, columns, lambda tiles: forward_bytes(tiles, load))
    return max(options, key=lambda tiles: (tiles.tokens, tiles.columns))


def backward_tiles(
    chip: Chip, load: Load, hidden_shape: tuple[int, int], columns: int, gradient_itemsize: int
) -> Tiles:
    """The tiles that re-read tokens and their gradient least often; of those with the same columns, the tallest.

    Cores share out both tokens and columns, so that none is without tiles where there are few.
    """
    count, width = hidden_shape
    count, columns = (-(-each // chip.cores) for each in (count, columns))
    options = _fitting(chip, count, columns, lambda tiles: backward_bytes(tiles, load, width, gradient_itemsize))
    return max(options, key=lambda tiles: (tiles.columns, tiles.tokens))


def _fitting(chip: Chip, count: int, columns: int, needs: Callable[[Tiles], int]) -> list[Tiles]:
    """The tiles of which a kernel ``needs`` no more VMEM than there is. Raises InputError where none are so small."""
    tiles = [
        Tiles(_at_most(tokens, count, _SUBLANES), _at_most(strip, columns, _LANES))
        for tokens in _SIZES
        for strip in _SIZES
    ]
    if options := [each for each in tiles if needs(each) <= chip.vmem * _SHARE]:
        return options
    least = min(map(needs, tiles))
    raise InputError(
        f"hidden states are so wide that the smallest tile of a kernel needs {least // 2**20} MiB of VMEM, and "
        f"{chip.name} has {chip.vmem // 2**20}; set kernels to 'chunked'"
    )


def _at_most(tile: int, size: int, multiple: int) -> int:
    """The tile, or all of a smaller axis, in the multiple that the chip's registers hold."""
    return min(tile, -(-size // multiple) * multiple)
