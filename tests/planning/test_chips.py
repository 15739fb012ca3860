"""Peaks are known of the chips that can be planned for, and of no others."""

import pytest

from reasoning.core.errors import InputError
from reasoning.planning.chips import CHIPS, chip_of


def test_a_chip_is_found_by_what_jax_calls_its_devices():
    assert chip_of("TPU v5 lite") is CHIPS["v5e"] and chip_of("TPU v6 lite") is CHIPS["v6e"]


def test_an_unknown_device_is_refused_with_those_that_are_known():
    with pytest.raises(InputError, match="no peaks are known of the device 'cpu'; there are TPU v4"):
        chip_of("cpu")


@pytest.mark.parametrize("chip", CHIPS.values(), ids=CHIPS)
def test_programs_can_have_nearly_all_that_is_sold(chip):
    assert 0.9 * chip.memory < chip.usable < 1.1 * chip.memory and chip.source.startswith("https://")
