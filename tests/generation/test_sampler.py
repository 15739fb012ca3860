"""The sampler's static choices; what it samples is shown in ``test_engine``."""

import pytest

from reasoning.generation.sampler import cache_bounds


@pytest.mark.parametrize(
    ("limit", "expected"),
    [(1, (1,)), (16, (16,)), (23, (23,)), (25, (13, 25)), (40, (20, 40)), (50, (17, 34, 50)), (64, (16, 32, 48, 64))],
)
def test_a_cache_grows_in_equal_parts_up_to_the_limit(limit, expected):
    assert cache_bounds(limit, 16) == expected


@pytest.mark.parametrize("step", [1, 3, 16])
def test_bounds_rise_and_end_at_the_limit(step):
    for limit in range(1, 100):
        found = cache_bounds(limit, step)
        assert found[-1] == limit
        assert list(found) == sorted(set(found))
