"""Lengths that arrays are padded to."""

import numpy as np
import pytest

from reasoning.core.buckets import padded_length, rounded_length


@pytest.mark.parametrize(("longest", "expected"), [(1, 16), (16, 16), (17, 32), (64, 64), (65, 100), (100, 100)])
def test_lengths_are_powers_of_two_from_16_and_the_limit(longest: int, expected: int):
    assert padded_length(longest, (), 100) == expected


@pytest.mark.parametrize(("longest", "expected"), [(1, 40), (40, 40), (41, 90), (91, 100)])
def test_lengths_that_are_named_are_taken_in_whatever_order_and_then_the_limit(longest: int, expected: int):
    assert padded_length(longest, (90, 40), 100) == expected
    assert padded_length(longest, (40, 90, 300), 100) == expected


@pytest.mark.parametrize(
    ("longest", "limit", "expected"), [(0, 100, 0), (1, 100, 16), (33, 100, 48), (97, 100, 100), (101, 100, 101)]
)
def test_lengths_that_differ_little_are_rounded_to_the_same_multiple(longest: int, limit: int, expected: int):
    assert rounded_length(longest, limit) == expected


def test_an_array_always_holds_what_it_must_and_never_exceeds_the_limit():
    generator = np.random.default_rng(0)
    for _ in range(300):
        limit = int(generator.integers(1, 500))
        longest = int(generator.integers(1, limit + 1))
        lengths = tuple(generator.integers(1, 600, generator.integers(0, 4)).tolist())
        assert longest <= padded_length(longest, lengths, limit) <= limit
