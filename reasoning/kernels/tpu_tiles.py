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

LANES, SUBLANES = 128, 16
SIZES = (1024, 512, 256, 128)
"""Tile sizes that are tried, the best first."""

SHARE = 0.8
"""The part of VMEM that the buffers counted here may take; the compiler keeps some for what it spills."""


@dataclass(frozen=True)
class Chip:
    """How many cores one device has, and the bytes of VMEM of each of them."""

    name: str
    cores: int
    vmem: int

    @property
    def vmem_limit(self) -> int:
        """What a kernel may take of VMEM."""
        return int(self.vmem * SHARE)


@dataclass(frozen=True)
class Tiles:
    """How many tokens and columns of the vocabulary one step of a kernel works on."""

    tokens: int
    columns: int


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
        raise InputError(f"no kernel tiles are known for {kind!r}, only for {', '.join(VERSIONS)}; choose 'chunked'")
    version, cores = VERSIONS[kind]
    return Chip(kind, cores, pltpu.get_tpu_info_for_chip(version, cores).vmem_capacity_bytes)


def forward_bytes(tiles: Tiles, width: int, itemsize: int) -> int:
    """VMEM of the forward pass: both operands twice, for copies run ahead, and the logits and what becomes of them."""
    operands = 2 * itemsize * width * (tiles.tokens + tiles.columns)
    return operands + 4 * 4 * tiles.tokens * tiles.columns + 4 * LANES * 10 * tiles.tokens


def backward_bytes(tiles: Tiles, width: int, itemsize: int, gradient_itemsize: int) -> int:
    """VMEM of the backward pass: the same, the matrix's gradient and its sum, and two tiles of the hidden states'."""
    gradients = width * (tiles.columns * (4 + 2 * gradient_itemsize) + 2 * 4 * tiles.tokens)
    operands = 2 * itemsize * width * (tiles.tokens + tiles.columns)
    return operands + gradients + 5 * 4 * tiles.tokens * tiles.columns + 4 * LANES * 8 * tiles.tokens


def forward_tiles(chip: Chip, itemsize: int, hidden_shape: tuple[int, int], columns: int) -> Tiles:
    """The tiles that re-read the matrix least often; of those with the same tokens, the widest."""
    count, width = hidden_shape
    options = _fitting(chip, width, count, columns, lambda tiles: forward_bytes(tiles, width, itemsize))
    return max(options, key=lambda tiles: (tiles.tokens, tiles.columns))


def backward_tiles(
    chip: Chip, itemsize: int, gradient_itemsize: int, hidden_shape: tuple[int, int], columns: int
) -> Tiles:
    """The tiles that re-read tokens and their gradient least often; of those with the same columns, the tallest."""
    count, width = hidden_shape
    itemsizes = (itemsize, gradient_itemsize)
    options = _fitting(chip, width, count, columns, lambda tiles: backward_bytes(tiles, width, *itemsizes))
    return max(options, key=lambda tiles: (tiles.columns, tiles.tokens))


def _fitting(chip: Chip, width: int, count: int, columns: int, needs: Callable[[Tiles], int]) -> list[Tiles]:
    """The tiles of which a kernel ``needs`` no more VMEM than there is. Raises InputError where none are so small."""
    tiles = (
        Tiles(_at_most(tokens, count, SUBLANES), _at_most(strip, columns, LANES)) for tokens in SIZES for strip in SIZES
    )
    if options := [each for each in tiles if needs(each) <= chip.vmem_limit]:
        return options
    raise InputError(
        f"no tile of hidden states of width {width} fits the {chip.vmem // 2**20} MiB of VMEM of {chip.name}; choose "
        "'chunked' kernels"
    )


def _at_most(tile: int, size: int, multiple: int) -> int:
    """The tile, or all of a smaller axis, in the multiple that the chip's registers hold."""
    return min(tile, -(-size // multiple) * multiple)
