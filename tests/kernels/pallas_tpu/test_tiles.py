"""Tile sizes fit a chip's memory and keep its matrix units busy; what fits no chip is refused."""

import pytest
from jax.experimental.pallas import tpu as pltpu

from reasoning.core.errors import InputError
from reasoning.kernels.pallas_tpu.tiles import (
    VERSIONS,
    Load,
    backward_bytes,
    backward_tiles,
    chip_named,
    forward_tiles,
)


@pytest.mark.parametrize("kind", VERSIONS)
def test_tiles_fit_and_multiply_faster_than_they_read(kind: str):
    chip = chip_named(kind)
    if chip.vmem < 2**25:
        return  # v4 has too little VMEM to wait for nothing
    load = Load(row_bytes=2 * 4096, arrays=5)
    forward = forward_tiles(chip, load, 4096, 128_256)
    backward = backward_tiles(chip, load, (4096, 4096), 128_256, 2)
    known = pltpu.get_tpu_info_for_chip(*VERSIONS[kind])
    operations_a_byte = known.bf16_ops_per_second / known.mem_bw_bytes_per_second
    assert forward.tokens > operations_a_byte
    assert backward_bytes(backward, load, 4096, 2) <= chip.vmem_limit < chip.vmem
    assert 6 * backward.columns / 10 > 0.9 * operations_a_byte


def test_a_width_that_fits_no_tile_and_a_chip_that_is_not_known_are_refused():
    with pytest.raises(InputError, match="needs 977 MiB of VMEM, and TPU v5 lite has 128"):
        forward_tiles(chip_named("TPU v5 lite"), Load(row_bytes=2 * 1_000_000, arrays=4), 4096, 4096)
    with pytest.raises(InputError, match="'TPU v2'"):
        chip_named("TPU v2")
