"""Chunks of tokens and strips of columns cover everything once and stay within their bounds."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasoning.kernels.chunked.backward import LEAST, push_back, strip_size
from reasoning.kernels.chunked.forward import by_chunks, chunk_size
from reasoning.kernels.operands import Operands, Types

tokens = st.integers(1, 100_000)
columns = st.integers(1, 262_144)
budget = st.sampled_from([1, 2**12, 2**20, 2**26])


@given(tokens=tokens, columns=columns, budget=budget)
@settings(deadline=None)
def test_a_chunk_stays_within_the_memory_budget_unless_it_is_one_token(tokens, columns, budget):
    size = chunk_size(tokens, columns, 4, budget)
    assert 1 <= size <= tokens
    assert size * columns * 4 <= budget or size == 1
    assert size < 16 or size % 16 == 0


@given(tokens=tokens)
@settings(deadline=None)
def test_a_chunk_holds_at_most_a_quarter_of_four_or_more_tokens(tokens):
    assert chunk_size(tokens, 100, 4, 2**40) <= max(1, tokens / 4)


@given(tokens=tokens, columns=columns, budget=budget)
@settings(deadline=None)
def test_a_strip_stays_within_the_memory_budget_unless_it_is_narrow_and_within_a_quarter(tokens, columns, budget):
    size = strip_size(tokens, columns, 4, budget)
    assert 1 <= size <= columns
    assert size * tokens * 4 <= budget or size <= LEAST
    assert size <= max(1, columns / 4)


@pytest.mark.parametrize(("count", "size"), [(1, 1), (6, 3), (7, 3), (20, 16), (5, 5)])
def test_chunks_are_joined_in_order_whatever_is_left_for_the_last(count, size):
    values = np.arange(2.0 * count).reshape(count, 2)
    doubled, first = by_chunks(lambda part: (2 * part, part[:, 0]), jnp.asarray(values), size)
    np.testing.assert_array_equal(doubled, 2 * values)
    np.testing.assert_array_equal(first, values[:, 0])


@pytest.mark.parametrize("columns", [1, 8, 37, 64, 301])
def test_each_column_is_pushed_back_once_whatever_is_left_for_the_last_strip(columns):
    random = np.random.default_rng(0)
    hidden, matrix = random.normal(size=(2, 3, 4)), random.normal(size=(4, columns))
    slopes = random.normal(size=(6, columns))
    operands = Operands(*map(jnp.float32, (hidden, matrix, np.zeros(columns), np.ones((2, 3)))), real_columns=None)

    def slope_of(logits, start):
        return jnp.take(jnp.float32(slopes), start + jnp.arange(logits.shape[1]), axis=1)

    types = Types(jnp.float32, jnp.bfloat16)
    of_hidden, sums = push_back(operands, slope_of, types, logits_bytes=1)
    np.testing.assert_allclose(of_hidden.reshape(6, 4), slopes @ matrix.T, rtol=1e-4, atol=1e-5)
    assert sums.unembed_DV.dtype == jnp.bfloat16
    np.testing.assert_allclose(sums.unembed_DV, hidden.reshape(6, 4).T @ slopes, rtol=1e-2, atol=1e-2)
    np.testing.assert_allclose(sums.bias_V, slopes.sum(axis=0), rtol=1e-5, atol=1e-5)
