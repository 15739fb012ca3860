import math

import pytest

from reasoning.core.ranges import Range


@pytest.mark.parametrize(
    ("bounds", "inside", "outside", "complaint"),
    [
        (Range(minimum=0), (0, 1e9), (-1e-9, -math.inf), "must be at least 0"),
        (Range(maximum=1), (1, -1e9), (1 + 1e-9, math.inf), "must be at most 1"),
        (Range(above=0), (1e-9, math.inf), (0, -1), "must be above 0"),
        (Range(below=1), (1 - 1e-9, -1), (1, 2), "must be below 1"),
        (Range(minimum=0, below=1), (0, 0.5), (1,), "must be below 1"),
    ],
)
def test_bounds_include_minimum_and_maximum_and_exclude_above_and_below(bounds, inside, outside, complaint):
    assert [bounds.complaint(value) for value in inside] == [None] * len(inside)
    assert [bounds.complaint(value) for value in outside] == [complaint] * len(outside)


@pytest.mark.parametrize("bounds", [Range(minimum=0), Range(maximum=0), Range(above=0), Range(below=0)])
def test_what_is_no_number_is_within_no_bounds(bounds):
    assert bounds.complaint(math.nan) is not None
    assert Range().complaint(math.nan) is None
