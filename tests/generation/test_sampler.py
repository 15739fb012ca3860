"""The sampler's static choices; what it samples is shown in ``test_engine``."""

import math

import pytest

from reasoning.generation.sampler import SamplerSettings, cache_bounds


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        (1, (1,)),
        (47, (47,)),
        (50, (25, 50)),
        (96, (24, 96)),
        (320, (80, 320)),
        (32_768, (32, 128, 512, 2048, 8192, 32_768)),
    ],
)
def test_a_cache_grows_by_four_up_to_the_limit_so_that_long_replies_are_few_loops(limit, expected):
    assert cache_bounds(limit, SamplerSettings(1, limit, ()).first_cache) == expected


@pytest.mark.parametrize("first", [1, 3, 16])
def test_bounds_rise_end_at_the_limit_and_are_as_few_as_its_logarithm(first):
    for limit in range(1, 300):
        found = cache_bounds(limit, first)
        assert found[-1] == limit and found[0] >= min(first, limit)
        assert list(found) == sorted(set(found))
        assert len(found) <= 2 + math.log(limit, 4)
        assert all(longer < 8 * shorter for shorter, longer in zip(found, found[1:], strict=False))
