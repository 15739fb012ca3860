"""Sums of hidden states' gradients, in a simulated TPU's memory, against plain XLA's."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental.pallas import tpu as pltpu

from reasoning.kernels.backends import chunked, pallas_tpu
from reasoning.kernels.operands import GradientTypes, LogitCoefficients, Operands, SoftmaxResiduals
from reasoning.kernels.pallas_tpu.hidden_gradient import halves, joined
from reasoning.kernels.pallas_tpu.tiles import TPU, Tiles, chip_named

ROWS, TIME, WIDTH = 2, 19, 24
COLUMNS = {"TPU v5e": 300, "TPU v5p": 384}
"""Of two cores' results, which are written in place, the simulation takes no block for less than whole."""


def both(chip: str, tiles: Tiles, dtype: Any, begun: jax.Array | None) -> tuple[Any, Any]:
    """The gradients of hidden states and of the matrix, by cores in a simulated memory and by plain XLA in float32."""
    generator, columns = np.random.default_rng(0), COLUMNS[chip]
    hidden, matrix = (
        jnp.asarray(generator.normal(size=shape), dtype) for shape in ((ROWS, TIME, WIDTH), (WIDTH, columns))
    )
    ones = jnp.ones((ROWS, TIME))
    targets = jnp.asarray(generator.integers(0, columns, (ROWS, TIME, 1)), jnp.int32)
    residuals = SoftmaxResiduals(5 * ones, ones, ones)
    coefficients = LogitCoefficients(-ones, ones / 3, ones[..., None])
    simulated = TPU(chip_named(chip), pltpu.InterpretParams(num_cores_or_threads=2, detect_races=True), tiles)
    wide, found = jnp.dtype("float32"), []
    for kernels, type_ in ((pallas_tpu(simulated), dtype), (chunked(), wide)):
        operands = Operands(hidden, matrix, None, ones, None)
        types = GradientTypes(type_, wide)
        of_hidden, others = kernels.gradients(operands, targets, residuals, coefficients, types, begun)
        found.append((of_hidden, others.unembed_DV))
    return found[0], found[1]


def largest(values: jax.Array) -> float:
    return float(jnp.abs(values).max())


@pytest.mark.parametrize("tiles", [Tiles(16, 128), pytest.param(Tiles(48, 128), marks=pytest.mark.slow)], ids=str)
@pytest.mark.parametrize("chip", ["TPU v5p", pytest.param("TPU v5e", marks=pytest.mark.slow)])
def test_a_sum_that_began_elsewhere_is_added_to_by_all_cores(chip: str, tiles: Tiles):
    begun = jnp.asarray(np.random.default_rng(1).normal(size=(ROWS, TIME, WIDTH)), jnp.float32)
    found, expected = both(chip, tiles, jnp.dtype("float32"), begun)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5 * largest(other))


@pytest.mark.parametrize("chip", ["TPU v5e", pytest.param("TPU v5p", marks=pytest.mark.slow)])
def test_a_bfloat16_gradient_is_summed_in_float32_and_rounded_once(chip: str):
    found, expected = both(chip, Tiles(16, 128), jnp.dtype("bfloat16"), None)
    assert found[0].dtype == jnp.bfloat16
    np.testing.assert_allclose(found[1], expected[1], atol=1e-2 * largest(expected[1]))
    # The logits' gradient is rounded before it is multiplied, here and there alike, so that most numbers are the same.
    exactly = np.asarray(found[0] == expected[0].astype(jnp.bfloat16)).mean()
    assert exactly > 0.9


def test_halves_lose_nothing_and_the_upper_is_the_nearest_bfloat16():
    bits = np.random.default_rng(0).integers(0, 2**32, 4096, dtype=np.uint32)
    edges = np.array([0, 0x80000000, 0x7F7FFFFF, 0x7F800000, 0xFF800000, 0x3F808000, 0x3F807FFF], np.uint32)
    values = np.concatenate([bits, edges]).view(np.float32)
    values = values[~np.isnan(values)]
    upper, lower = halves(jnp.asarray(values))
    np.testing.assert_array_equal(np.asarray(joined(upper, lower)).view(np.uint32), values.view(np.uint32))
    # Equal but for ties, which go away from zero and not to the even one.
    nearest, tie = values.astype(jnp.bfloat16), values.view(np.uint32) & 0xFFFF == 0x8000
    np.testing.assert_array_equal(np.asarray(upper)[~tie], nearest[~tie])
    assert np.isnan(np.asarray(halves(jnp.float32(jnp.nan))[0], np.float32))
