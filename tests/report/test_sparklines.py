"""A line of blocks that follows the values."""

import math

import pytest

from reasoning.report.sparklines import sparkline


@pytest.mark.parametrize(
    ("values", "width", "line"),
    [
        (range(8), 8, "▁▂▃▄▅▆▇█"),
        ([0, 0, 7, 7], 2, "▁█"),
        ([3, 3, 3], 8, "▁▁▁"),
        ([0, math.nan, 1], 8, "▁ █"),
        ([math.inf, math.nan], 8, "  "),
        ([], 8, ""),
    ],
)
def test_it_goes_from_the_least_to_the_largest(values, width, line):
    assert sparkline([float(value) for value in values], width) == line


def test_many_values_are_shown_by_means_of_neighbours():
    assert sparkline([float(at % 2) for at in range(1000)], 10) == "▁" * 10
