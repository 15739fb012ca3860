"""How much of a cache is read."""

import pytest

from reasoning.models.attention import cache_prefixes


@pytest.mark.parametrize(
    ("length", "time", "expected"),
    [
        (192, 1, (192,)),
        (511, 1, (511,)),
        (586, 1, (146, 586)),
        (1100, 1, (137, 1100)),
        (32_768, 1, (512, 4096, 32_768)),
        (4096, 600, (1024, 4096)),
        (64, 64, (64,)),
    ],
)
def test_a_long_cache_is_read_in_few_parts_each_with_room_for_what_is_new(
    length: int, time: int, expected: tuple[int, ...]
):
    assert cache_prefixes(length, time) == expected
