"""A sum of hidden states' gradients that began elsewhere, in a simulated TPU's memory, against plain XLA's."""

import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental.pallas import tpu as pltpu

from reasoning.kernels.backends import chunked, pallas_tpu
from reasoning.kernels.operands import GradientTypes, LogitCoefficients, Operands, SoftmaxResiduals
from reasoning.kernels.pallas_tpu.tiles import TPU, Tiles, chip_named

ROWS, TIME, WIDTH, COLUMNS = 2, 19, 24, 200


@pytest.mark.parametrize("tiles", [Tiles(16, 128), pytest.param(Tiles(48, 128), marks=pytest.mark.slow)], ids=str)
@pytest.mark.parametrize("chip", ["TPU v5p", pytest.param("TPU v5e", marks=pytest.mark.slow)])
def test_a_sum_that_began_elsewhere_is_added_to_by_all_cores(chip: str, tiles: Tiles):
    generator = np.random.default_rng(0)
    shapes = (ROWS, TIME, WIDTH), (ROWS, TIME, WIDTH), (WIDTH, COLUMNS)
    hidden, begun, matrix = (jnp.asarray(generator.normal(size=shape), jnp.float32) for shape in shapes)
    ones = jnp.ones((ROWS, TIME))
    operands = Operands(hidden, matrix, None, ones, None)
    targets = jnp.asarray(generator.integers(0, COLUMNS, (ROWS, TIME, 1)), jnp.int32)
    residuals = SoftmaxResiduals(5 * ones, ones, ones)
    coefficients = LogitCoefficients(-ones, ones / 3, ones[..., None])
    rest = targets, residuals, coefficients, GradientTypes(jnp.dtype("float32"), jnp.dtype("float32")), begun
    simulated = TPU(chip_named(chip), pltpu.InterpretParams(num_cores_or_threads=2, detect_races=True), tiles)
    (of_hidden, found), (expected, others) = (
        kernels.gradients(operands, *rest) for kernels in (pallas_tpu(simulated), chunked())
    )
    np.testing.assert_allclose(of_hidden, expected, atol=1e-5 * float(jnp.abs(expected).max()))
    np.testing.assert_allclose(found.unembed_DV, others.unembed_DV, atol=1e-5 * float(jnp.abs(others.unembed_DV).max()))
