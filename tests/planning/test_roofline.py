"""The least time is that of the slowest part, by published peaks."""

import pytest

from reasoning.planning.chips import CHIPS
from reasoning.planning.compiling import Compiled, Exchanged
from reasoning.planning.roofline import roofline


def found(**costs) -> Compiled:
    return Compiled(memory=0, arguments=0, largest=(), **costs)


@pytest.mark.parametrize(
    ("costs", "seconds", "binds"),
    [
        ({"flops": 197e12, "hbm": 81.9e9}, 1.0, "products"),
        ({"flops": 197e11, "hbm": 819e9}, 1.0, "memory"),
        ({"hbm": 819e8, "exchanged": (Exchanged("all-gather", "fsdp", 400e9, 0),)}, 2.0, "links"),
        ({"exchanged": (Exchanged("all-reduce", "data", 6.2e9, 0, across_slices=True),)}, 2.0, "network"),
    ],
)
def test_the_slowest_part_binds(costs, seconds, binds):
    times = roofline(found(**costs), CHIPS["v5e"])
    assert times.seconds == pytest.approx(seconds) and times.binds == binds


def test_a_device_of_a_chip_with_two_has_half_of_its_peaks():
    times = roofline(found(flops=2307e12), CHIPS["tpu7x"])
    assert times.products == pytest.approx(2.0)
