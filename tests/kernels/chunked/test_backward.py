"""Strips of columns cover everything once and stay within their bounds."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasoning.kernels.chunked.backward import LEAST_COLUMNS, backpropagate, strip_size
from reasoning.kernels.operands import GradientTypes, Operands

tokens = st.integers(1, 100_000)
columns = st.integers(1, 262_144)
budget = st.sampled_from([1, 2**12, 2**20, 2**26])


@given(tokens=tokens, columns=columns, budget=budget)
def test_a_strip_stays_within_the_memory_budget_unless_it_is_narrow_and_within_a_quarter(tokens, columns, budget):
    size = strip_size(tokens, columns, 4, budget)
    assert 1 <= size <= columns
    assert size * tokens * 4 <= budget or size <= LEAST_COLUMNS
    assert size <= max(1, columns / 4)


@pytest.mark.parametrize("columns", [1, 8, 37, 64, 301])
def test_each_column_is_pushed_back_once_whatever_is_left_for_the_last_strip(columns):
    random = np.random.default_rng(0)
    hidden, matrix = random.normal(size=(2, 3, 4)), random.normal(size=(4, columns))
    gradients = random.normal(size=(6, columns))
    operands = Operands(*map(jnp.float32, (hidden, matrix, np.zeros(columns), np.ones((2, 3)))), real_columns=None)

    def logit_gradient(logits, start):
        return jnp.take(jnp.float32(gradients), start + jnp.arange(logits.shape[1]), axis=1)

    types = GradientTypes(jnp.float32, jnp.bfloat16)
    of_hidden, of_parameters = backpropagate(operands, logit_gradient, types, 1, jnp.ones((2, 3, 4)))
    np.testing.assert_allclose(of_hidden.reshape(6, 4), 1 + gradients @ matrix.T, rtol=1e-4, atol=1e-5)
    assert of_parameters.unembed_DV.dtype == jnp.bfloat16
    np.testing.assert_allclose(of_parameters.unembed_DV, hidden.reshape(6, 4).T @ gradients, rtol=1e-2, atol=1e-2)
    np.testing.assert_allclose(of_parameters.bias_V, gradients.sum(axis=0), rtol=1e-5, atol=1e-5)
