"""Chunks of tokens cover everything once and stay within their bounds."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasoning.kernels.chunked.forward import by_chunks, chunk_size

tokens = st.integers(1, 100_000)
columns = st.integers(1, 262_144)
budget = st.sampled_from([1, 2**12, 2**20, 2**26])


@given(tokens=tokens, columns=columns, budget=budget)
def test_a_chunk_stays_within_the_memory_budget_unless_it_is_one_token(tokens, columns, budget):
    size = chunk_size(tokens, columns, 4, budget)
    assert 1 <= size <= tokens
    assert size * columns * 4 <= budget or size == 1
    assert size < 16 or size % 16 == 0


@given(tokens=tokens)
def test_a_chunk_holds_at_most_a_quarter_of_four_or_more_tokens(tokens):
    assert chunk_size(tokens, 100, 4, 2**40) <= max(1, tokens / 4)


@pytest.mark.parametrize(("count", "size"), [(1, 1), (6, 3), (7, 3), (20, 16), (5, 5)])
def test_chunks_are_joined_in_order_whatever_is_left_for_the_last(count, size):
    values = np.arange(2.0 * count).reshape(count, 2)
    doubled, first = by_chunks(lambda part: (2 * part, part[:, 0]), jnp.asarray(values), size)
    np.testing.assert_array_equal(doubled, 2 * values)
    np.testing.assert_array_equal(first, values[:, 0])
