"""What the kernels take: types of products and sums, temperatures, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from reasoning.core.errors import InputError
from reasoning.kernels.operands import MASKED, Operands, check_soft_cap, check_temperature, inverse_of


@pytest.mark.parametrize(
    ("hidden", "matrix", "operand", "accumulator"),
    [
        ("bfloat16", "bfloat16", "bfloat16", "float32"),
        ("bfloat16", "float32", "float32", "float32"),
        ("float64", "float64", "float64", "float64"),
    ],
)
def test_products_have_the_wider_type_and_sums_have_float32_at_least(hidden, matrix, operand, accumulator):
    with jax.enable_x64(True):
        operands = Operands(jnp.ones((1, 2, 3), hidden), jnp.ones((3, 4), matrix), None, jnp.ones((1, 2)), None)
        assert (operands.operand, operands.accumulator) == (operand, accumulator)


@pytest.mark.parametrize(
    ("temperature", "expected"), [(2.0, [[0.5] * 3] * 2), (((2.0,), (4.0,)), [[0.5] * 3, [0.25] * 3])]
)
def test_a_temperature_is_inverted_for_each_token(temperature, expected):
    given = temperature if isinstance(temperature, float) else jnp.asarray(temperature)
    np.testing.assert_array_equal(inverse_of(given, (2, 3), jnp.dtype("float32")), expected)


def test_a_masked_logit_has_no_probability_and_finite_products():
    assert jnp.exp(jnp.float32(MASKED)) == 0 and jnp.float32(MASKED) * 0 == 0


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan")])
def test_temperatures_and_caps_that_are_not_positive_are_refused(value):
    with pytest.raises(InputError, match=f"temperature is {value}"):
        check_temperature(value)
    with pytest.raises(InputError, match=f"soft_cap is {value}"):
        check_soft_cap(value)
    check_soft_cap(None)
