"""The TPU's kernels of token log-probabilities: interpreted against the chunked ones, and compiled for real chips."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental.pallas import tpu as pltpu

from reasoning.core.errors import InputError
from reasoning.core.mesh import MeshShape, build_mesh
from reasoning.kernels.backends import Kernels, chunked, kernels_for, pallas_tpu
from reasoning.kernels.operands import Operands
from reasoning.kernels.pallas_tpu.tiles import (
    TPU,
    Tiles,
    chip_named,
)
from reasoning.kernels.token_log_probs import TokenLogProbs, VocabularySharding, token_log_probs
from reasoning.planning.topology import libtpu_is_installed, topology_devices

ONE_CORE, TWO_CORES = chip_named("TPU v5 lite"), chip_named("TPU v5p")
SMALL = Tiles(16, 128)


def interpreted(chip=ONE_CORE, tiles: Tiles = SMALL) -> Kernels:
    return pallas_tpu(TPU(chip, interpret=pltpu.InterpretParams(), tiles=tiles))


WHOLE_BLOCKS = jax.__version_info__ >= (0, 11)
"""Whether XLA's operations, in JAX's own interpreter, take no ragged block of what is written in place either."""


def in_place(chip, columns: int) -> Kernels:
    """Of what two cores write in place the simulation takes no block for less than whole, but XLA's operations do."""
    if chip.cores > 1 and columns % 128:
        return pallas_tpu(TPU(chip, interpret=True, tiles=SMALL))
    return interpreted(chip)


@partial(jax.jit, static_argnums=range(6))
def arrays(batch: int, time: int, width: int, vocabulary: int, dtype=jnp.float32, scale: float = 1.0) -> dict:
    """Operands of a call, with a bias, a temperature of each token, and some tokens to ignore; gradients above it."""
    keys = jax.random.split(jax.random.key(0), 5)
    return {
        "hidden_BTD": (scale * jax.random.normal(keys[0], (batch, time, width))).astype(dtype),
        "unembed_DV": jax.random.normal(keys[1], (width, vocabulary)).astype(dtype),
        "targets_BT": jax.random.randint(keys[2], (batch, time), -1, vocabulary),
        "temperature": jax.random.uniform(keys[3], (batch, time), minval=0.5, maxval=2.0),
        "bias_V": jax.random.normal(keys[4], (vocabulary,)).astype(dtype),
        "upstream": upstream(batch, time),
    }


def upstream(batch: int, time: int) -> TokenLogProbs:
    """Gradients of the three results, mixed in sign, some zero and some huge."""
    keys = jax.random.split(jax.random.key(1), 3)
    values = (jax.random.normal(key, (batch, time)) for key in keys)
    return TokenLogProbs(*(each.at[0, 0].set(0).at[-1, -1].multiply(1e4) for each in values))


def both_passes(given: dict, **options) -> tuple:
    """Results, and gradients of hidden states, matrix and bias."""
    names = ("hidden_BTD", "unembed_DV", "bias_V")

    @jax.jit
    def passes(given: dict) -> tuple:
        rest = {name: value for name, value in given.items() if name not in (*names, "upstream")}

        def run(hidden, unembed, bias):
            return token_log_probs(hidden, unembed, bias_V=bias, **rest, **options)

        results, back = jax.vjp(run, *(given[name] for name in names))
        return (*results, *back(given["upstream"]))

    return passes(given)


def check_equal(found: tuple, expected: tuple, tolerance: float) -> None:
    """Every array within ``tolerance`` of the other's largest number."""
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == other.dtype
        one, other = np.asarray(one, np.float64), np.asarray(other, np.float64)
        np.testing.assert_allclose(one, other, atol=tolerance * max(1.0, np.abs(other).max()))


@pytest.mark.parametrize("chip", (ONE_CORE, TWO_CORES), ids=("one core", "two cores"))
@pytest.mark.parametrize(
    ("shape", "soft_cap"),
    (
        ((2, 24, 16, 384), None),  # three tiles of each: two cores share them unevenly
        ((1, 37, 24, 301), 5.0),  # ragged in tokens, width and vocabulary
        pytest.param((1, 5, 16, 100), None, marks=pytest.mark.slow),  # less than one tile
        pytest.param((2, 8, 16, 300), None, marks=pytest.mark.slow),  # one tile of tokens, several of columns
    ),
)
def test_interpreted_kernels_give_what_the_chunked_ones_give(chip, shape, soft_cap):
    if chip is TWO_CORES and WHOLE_BLOCKS:
        shape = (*shape[:3], -(-shape[3] // SMALL.columns) * SMALL.columns)
    given = arrays(*shape)
    found = both_passes(given, soft_cap=soft_cap, kernels=in_place(chip, shape[-1]))
    check_equal(found, both_passes(given, soft_cap=soft_cap), 1e-5)


def test_bfloat16_stays_within_its_own_rounding():
    given = arrays(2, 16, 32, 300, jnp.bfloat16)
    check_equal(both_passes(given, kernels=interpreted()), both_passes(given), 2.0**-7)


@pytest.mark.slow
def test_logits_in_the_thousands_keep_their_digits():
    given = arrays(2, 16, 16, 300, scale=1e3)
    found, expected = both_passes(given, kernels=interpreted()), both_passes(given)
    largest = float(np.abs(expected[2]).max())
    assert largest > 5e3
    for one, other in zip(found[:3], expected[:3], strict=True):
        np.testing.assert_allclose(one, other, atol=1e-7 * largest)  # a logit has no more digits in float32
    check_equal(found[3:], expected[3:], 1e-3)
    assert all(np.isfinite(np.asarray(one)).all() for one in found)


def test_the_parts_of_a_cut_vocabulary_make_up_the_whole():
    """Each of four parts has 65 columns, of which the third has 58 and the last none that are real."""
    given = arrays(2, 8, 16, 260)
    real, targets_BT1 = 188, given["targets_BT"][..., None] % 188
    own = []
    for first in range(0, 260, 65):
        unembed_DV = given["unembed_DV"][:, first : first + 65]
        limit = jnp.asarray(real - first)
        part = Operands(given["hidden_BTD"], unembed_DV, None, 1 / given["temperature"], limit)
        own.append(interpreted().statistics(part, targets_BT1 - first))
    whole = Operands(given["hidden_BTD"], given["unembed_DV"][:, :real], None, 1 / given["temperature"], None)
    expected = chunked().statistics(whole, targets_BT1)
    shift = jnp.stack([part.shift for part in own]).max(axis=0)
    np.testing.assert_array_equal(shift, expected.shift)
    total = sum(jnp.exp(part.shift - shift) * part.total for part in own)
    np.testing.assert_allclose(total, expected.total, rtol=1e-5)
    np.testing.assert_allclose(sum(part.target for part in own), expected.target, rtol=1e-5, atol=1e-5)


def test_float64_is_refused():
    with jax.enable_x64(True):
        given = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), arrays(1, 4, 16, 128) | {"targets_BT": jnp.ones(1)})
        given["targets_BT"] = jnp.zeros((1, 4), jnp.int32)
        with pytest.raises(InputError, match="set kernels to 'chunked'"):
            both_passes(given, kernels=interpreted())


@pytest.mark.slow
@pytest.mark.skipif(not libtpu_is_installed(), reason="libtpu isn't installed")
@pytest.mark.parametrize(
    ("topology", "dtype", "width"),
    (
        ("v5e:1x1", jnp.bfloat16, 1024),
        ("v6e:1x1", jnp.bfloat16, 4096),
        ("tpu7x:1x1x1", jnp.bfloat16, 1024),
        ("v5p:1x1x1", jnp.float32, 4096),  # the most VMEM that a kernel needs by what it holds
    ),
)
def test_both_passes_compile_for_a_chip_and_keep_no_logits(topology: str, dtype: jnp.dtype, width: int):
    device = topology_devices(topology)[0]
    mesh = build_mesh(MeshShape(), [device])
    given = jax.eval_shape(lambda: arrays(2, 1024, width, 262_144, dtype))
    run = partial(both_passes, sharding=VocabularySharding(mesh), kernels=kernels_for("auto", mesh))
    place = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    compiled = jax.jit(run, in_shardings=place, out_shardings=place).lower(given).compile()
    text, memory = compiled.as_text(), compiled.memory_analysis()
    assert text is not None and text.count("tpu_custom_call") >= 2
    logits = 2048 * 262_144 * 4
    assert memory is not None and memory.temp_size_in_bytes < logits / 4
