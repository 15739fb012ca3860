"""Chunks cover every token once and stay within their bounds."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasoning.kernels.chunked import chunk_shape, join, split

sizes = st.integers(1, 300)


@given(rows=sizes, length=sizes, columns=st.integers(1, 200_000), budget=st.sampled_from([2**12, 2**20, 2**26]))
@settings(deadline=None)
def test_a_chunk_stays_within_the_memory_budget_unless_it_is_one_token(rows, length, columns, budget):
    chunk_rows, steps = chunk_shape(rows, length, columns, 4, budget)
    assert 1 <= chunk_rows <= rows and 1 <= steps <= length
    assert chunk_rows * steps * columns * 4 <= budget or chunk_rows * steps == 1


@given(rows=sizes, length=sizes)
@settings(deadline=None)
def test_a_chunk_holds_at_most_a_quarter_of_four_or_more_tokens(rows, length):
    chunk_rows, steps = chunk_shape(rows, length, 100, 4, 2**40)
    assert chunk_rows * steps <= max(1, rows * length / 4)


@given(rows=sizes, length=st.integers(8, 300))
@settings(deadline=None)
def test_rows_stay_whole_and_time_makes_at_least_eight_chunks_while_memory_allows(rows, length):
    chunk_rows, steps = chunk_shape(rows, length, 100, 4, 2**40)
    assert chunk_rows == rows
    assert -(-length // steps) >= 8


def test_many_rows_of_a_large_vocabulary_are_split_within_one_time_step():
    assert chunk_shape(1024, 64, 32_000, 4, 64 * 2**20) == (524, 1)


@pytest.mark.parametrize(
    ("rows", "length", "chunk_rows", "steps"), [(1, 1, 1, 1), (6, 8, 3, 2), (7, 20, 3, 6), (2, 5, 2, 9)]
)
def test_joining_undoes_splitting(rows, length, chunk_rows, steps):
    values = np.arange(rows * length * 2).reshape(rows, length, 2)
    chunks = split(jnp.asarray(values), chunk_rows, steps)
    assert chunks.shape[1:] == (chunk_rows * steps, 2)
    np.testing.assert_array_equal(join(chunks, chunk_rows, steps, rows, length), values)


def test_the_ragged_end_repeats_the_last_step_or_is_zero():
    values = jnp.asarray([[1, 2, 3]])
    np.testing.assert_array_equal(split(values, 1, 2), [[1, 2], [3, 3]])
    np.testing.assert_array_equal(split(values, 1, 2, end="constant"), [[1, 2], [3, 0]])
