"""The TPU's kernels of divergences: interpreted, against the chunked ones, and compiled for real chips."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from divergences import OWN, SHIPPED
from jax.experimental.pallas import tpu as pltpu

from reasoning.core.mesh import MeshShape, build_mesh
from reasoning.kernels.backends import Kernels, chunked, kernels_for, pallas_tpu
from reasoning.kernels.divergence import Divergence
from reasoning.kernels.operands import Operands, StudentTeacher
from reasoning.kernels.pallas_tpu.tiles import TPU, Tiles, chip_named
from reasoning.kernels.token_divergence import token_divergence
from reasoning.kernels.token_log_probs import VocabularySharding
from reasoning.objectives.divergence import JSD, forward, reverse
from reasoning.planning.topology import libtpu_is_installed, topology_devices

ALL = {**SHIPPED, **OWN}
EVERY = pytest.mark.parametrize("divergence", ALL.values(), ids=ALL)
EACH_SHIPPED = pytest.mark.parametrize("divergence", SHIPPED.values(), ids=SHIPPED)


def interpreted(chip: str = "TPU v5e") -> Kernels:
    return pallas_tpu(TPU(chip_named(chip), interpret=pltpu.InterpretParams(), tiles=Tiles(16, 128)))


@partial(jax.jit, static_argnums=range(6))
def problem(batch: int, time: int, width: int, teacher_width: int, vocabulary: int, dtype: Any = jnp.float32) -> tuple:
    """Student's and teacher's operands, and each token's upstream gradient: mixed in sign, some zero, one large."""
    keys = jax.random.split(jax.random.key(0), 5)
    shapes = ((batch, time, width), (width, vocabulary), (batch, time, teacher_width), (teacher_width, vocabulary))
    arrays = (jax.random.normal(key, shape).astype(dtype) for key, shape in zip(keys[:4], shapes, strict=True))
    upstream = jax.random.normal(keys[4], (batch, time)).at[0, :3].set(0).at[-1, -1].multiply(30)
    return *arrays, upstream


def both_passes(student: Any, matrix: Any, teacher: Any, teacher_matrix: Any, upstream: Any, **options: Any) -> tuple:
    @jax.jit
    def passes(student: Any, matrix: Any, teacher: Any, teacher_matrix: Any, upstream: Any) -> tuple:
        def run(student: Any, matrix: Any) -> Any:
            return token_divergence(student, matrix, teacher, teacher_matrix, **options)

        values, back = jax.vjp(run, student, matrix)
        return values, *back(upstream)

    return passes(student, matrix, teacher, teacher_matrix, upstream)


def check_equal(found: tuple, expected: tuple, tolerance: float) -> None:
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == other.dtype
        one, other = np.asarray(one, np.float64), np.asarray(other, np.float64)
        np.testing.assert_allclose(one, other, atol=tolerance * max(1.0, np.abs(other).max()))


@EVERY
def test_interpreted_kernels_give_what_the_chunked_ones_give(divergence):
    # Ragged in all.
    check_interpreted((1, 37, 24, 20, 301), "TPU v5e", (None, 5.0), divergence)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shape", "chip", "soft_caps"),
    (((2, 24, 16, 24, 384), "TPU v5p", (4.0, None)), ((1, 5, 16, 8, 100), "TPU v5e", (None, None))),
    ids=("whole tiles, two cores", "less than one"),
)
def test_tiles_that_fit_or_are_not_filled_give_it_too(shape, chip, soft_caps):
    """A tile's place is no matter of what is computed within, so one divergence stands for all."""
    check_interpreted(shape, chip, soft_caps, JSD(0.3))


def check_interpreted(shape: tuple, chip: str, soft_caps: tuple, divergence: Divergence) -> None:
    given, options = problem(*shape), {"divergence": divergence, "soft_caps": soft_caps, "temperature": 0.8}
    found = both_passes(*given, kernels=interpreted(chip), **options)
    # Upstream gradients of 30 multiply what rounding leaves of nearly equal pulls.
    check_equal(found, both_passes(*given, kernels=chunked(), **options), 1e-4)


@pytest.mark.slow
def test_of_vocabularies_of_other_sizes_the_shared_columns_are_compared():
    student, matrix, teacher, _, upstream = problem(1, 9, 8, 16, 160)
    teacher_matrix = problem(1, 1, 1, 16, 256)[3]
    given, options = (student, matrix, teacher, teacher_matrix, upstream), {"divergence": JSD(0.3), "vocabulary": 140}
    values, of_hidden, of_matrix = both_passes(*given, kernels=interpreted(), **options)
    check_equal((values, of_hidden, of_matrix), both_passes(*given, kernels=chunked(), **options), 1e-4)
    np.testing.assert_array_equal(of_matrix[:, 140:], 0)


@EACH_SHIPPED
def test_equal_logits_give_exactly_zero_and_no_gradient(divergence):
    student, matrix, *_, upstream = problem(1, 20, 16, 16, 150)
    for found in both_passes(student, matrix, student, matrix, upstream, divergence=divergence, kernels=interpreted()):
        np.testing.assert_array_equal(found, np.zeros_like(found))


@pytest.mark.slow
@EACH_SHIPPED
def test_bfloat16_stays_within_its_own_rounding(divergence):
    given = problem(2, 16, 32, 24, 300, jnp.bfloat16)
    found = both_passes(*given, divergence=divergence, kernels=interpreted())
    check_equal(found, both_passes(*given, divergence=divergence, kernels=chunked()), 2.0**-7)


@pytest.mark.slow
@EACH_SHIPPED
def test_the_parts_of_a_cut_vocabulary_make_up_the_whole(divergence):
    """Of four parts of 65 columns the third has 58 and the last none that are real."""
    student, matrix, teacher, teacher_matrix, _ = problem(1, 20, 16, 12, 260)
    real, inverse = 188, jnp.ones((1, 20))

    def models(columns: slice, limit: int | None) -> StudentTeacher:
        left = None if limit is None else jnp.asarray(limit)
        return StudentTeacher(
            Operands(student, matrix[:, columns], None, inverse, left),
            Operands(teacher, teacher_matrix[:, columns], None, inverse, left),
        )

    expected, known = chunked().divergences(models(slice(0, real), None), None, divergence)
    parts = [models(slice(first, first + 65), real - first) for first in range(0, 260, 65)]
    found = [interpreted().divergences(part, known, divergence)[0] for part in parts]
    np.testing.assert_allclose(sum(each.value for each in found), expected.value, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(sum(each.gradient for each in found), expected.gradient, rtol=1e-5, atol=1e-5)
    own = [interpreted().normalisers(part).student for part in parts]
    shift = jnp.stack([each.shift for each in own]).max(axis=0)
    np.testing.assert_array_equal(shift, known.student.shift)
    total = sum(jnp.exp(each.log_total + each.shift - shift) for each in own)
    np.testing.assert_allclose(jnp.log(total), known.student.log_total, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.skipif(not libtpu_is_installed(), reason="libtpu isn't installed")
@pytest.mark.parametrize(
    ("topology", "divergence"),
    (  # make kernels-tpu compiles all of them; the mixture's logarithms need the most of a kernel
        ("v5e:1x1", JSD()),
        ("v6e:1x1", forward),
        ("v5p:1x1x1", JSD()),
        ("tpu7x:1x1x1", reverse),
    ),
)
def test_both_passes_compile_for_a_chip_and_keep_no_logits(topology: str, divergence: Divergence):
    device = topology_devices(topology)[0]
    mesh = build_mesh(MeshShape(), [device])
    given = jax.eval_shape(lambda: problem(2, 1024, 1024, 1536, 32_000, jnp.bfloat16))
    run = partial(
        both_passes, divergence=divergence, sharding=VocabularySharding(mesh), kernels=kernels_for("auto", mesh)
    )
    place = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    compiled = jax.jit(run, in_shardings=place, out_shardings=place).lower(*given).compile()
    text, memory = compiled.as_text(), compiled.memory_analysis()
    assert text is not None and text.count("tpu_custom_call") >= 4
    logits = 2048 * 32_000 * 4
    assert memory is not None and memory.temp_size_in_bytes < logits / 4
