"""A divergence from stored top-k probabilities: its definition, the whole divergence, and finite differences."""

import divergences
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from divergences import OWN, SHIPPED
from jax.experimental.pallas import tpu as pltpu
from scipy.special import log_softmax

from reasoning.core.errors import InputError
from reasoning.core.mesh import MeshShape, build_mesh
from reasoning.kernels.backends import chunked, pallas_tpu
from reasoning.kernels.divergence import Divergence
from reasoning.kernels.pallas_tpu.tiles import TPU, Tiles, chip_named
from reasoning.kernels.token_divergence import token_divergence
from reasoning.kernels.top_k_divergence import top_k_divergence
from reasoning.kernels.vocabulary_sharding import VocabularySharding
from reasoning.objectives.divergence import JSD, forward
from reasoning.planning.topology import libtpu_is_installed, topology_devices

EACH = pytest.mark.parametrize("divergence", (SHIPPED | OWN).values(), ids=SHIPPED | OWN)
ROWS, TIME, WIDTH, VOCABULARY, K = 2, 9, 8, 40, 4
INTERPRETED = pallas_tpu(TPU(chip_named("TPU v5e"), interpret=pltpu.InterpretParams(), tiles=Tiles(16, 128)))


def problem(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The student's hidden states and matrix, and the teacher's log-probabilities of all tokens."""
    random = np.random.default_rng(seed)
    teacher = log_softmax(2 * random.normal(size=(ROWS, TIME, VOCABULARY)), axis=-1)
    return random.normal(size=(ROWS, TIME, WIDTH)), random.normal(size=(WIDTH, VOCABULARY)), teacher


def stored(log_p: np.ndarray, k: int = K) -> tuple[np.ndarray, np.ndarray]:
    ids = np.argsort(-log_p, axis=-1)[..., :k]
    return ids, np.take_along_axis(log_p, ids, axis=-1)


def with_rest(log_p: np.ndarray, ids: np.ndarray) -> np.ndarray:
    top = np.take_along_axis(log_p, ids, axis=-1)
    return np.concatenate((top, np.log(1 - np.exp(top).sum(axis=-1, keepdims=True))), axis=-1)


def definition(hidden, matrix, log_p, ids, divergence: Divergence, temperature: float = 1.0) -> np.ndarray:
    log_q = with_rest(log_softmax(hidden @ matrix / temperature, axis=-1), ids)
    return divergences.definition(divergence, with_rest(log_p, ids), log_q)


@pytest.mark.parametrize("kernels", (chunked(), INTERPRETED), ids=("chunked", "interpreted"))
@EACH
def test_it_is_the_divergence_of_the_top_k_and_their_rest(divergence, kernels):
    hidden, matrix, log_p = problem()
    ids, top = stored(log_p)
    found = top_k_divergence(
        *map(jnp.float32, (hidden, matrix)),
        ids,
        jnp.float32(top),
        divergence=divergence,
        temperature=0.7,
        kernels=kernels,
    )
    expected = definition(hidden, matrix, log_p, ids, divergence, temperature=0.7)
    np.testing.assert_allclose(found, expected, rtol=2e-4, atol=2e-5)


@EACH
def test_its_gradients_are_finite_differences(divergence):
    hidden, matrix, log_p = problem()
    ids, top = stored(log_p)
    weights = np.random.default_rng(1).normal(size=(ROWS, TIME))
    with jax.enable_x64(True):

        def loss(hidden, matrix):
            return jnp.sum(weights * top_k_divergence(hidden, matrix, ids, jnp.asarray(top), divergence=divergence))

        found = jax.jit(jax.grad(loss, argnums=(0, 1)))(jnp.asarray(hidden), jnp.asarray(matrix))
    for place, gradient in enumerate(found):
        for index in ((0, 0, 0), (1, 8, 7)) if place == 0 else ((0, 0), (7, 39), (3, ids[0, 0, 0])):
            ends = []
            for step in (1e-5, -1e-5):
                moved = [hidden.copy(), matrix.copy()]
                moved[place][index] += step
                ends.append((weights * definition(*moved, log_p, ids, divergence)).sum())
            assert gradient[index] == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-5, abs=1e-8)


@EACH
def test_interpreted_kernels_give_the_chunked_gradients(divergence):
    hidden, matrix, log_p = problem()
    ids, top = stored(log_p)

    def gradients(kernels):
        def loss(hidden, matrix):
            return top_k_divergence(hidden, matrix, ids, jnp.float32(top), divergence=divergence, kernels=kernels).sum()

        return jax.jit(jax.grad(loss, argnums=(0, 1)))(jnp.float32(hidden), jnp.float32(matrix))

    for one, other in zip(gradients(INTERPRETED), gradients(chunked()), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


@EACH
def test_it_grows_with_k_to_the_divergence_over_the_whole_vocabulary(divergence):
    hidden, matrix, log_p = problem()
    hidden, matrix = jnp.float32(hidden), jnp.float32(matrix)
    values = []
    for k in (1, 4, 16, VOCABULARY):
        ids, top = stored(log_p, k)
        values.append(np.asarray(top_k_divergence(hidden, matrix, ids, jnp.float32(top), divergence=divergence)))
    for fewer, more in zip(values, values[1:], strict=False):
        assert (fewer <= more + 1e-5).all()
    teacher = jnp.eye(VOCABULARY)  # hidden states that are the logits themselves
    whole = token_divergence(hidden, matrix, jnp.float32(log_p), teacher, divergence=divergence)
    np.testing.assert_allclose(values[-1], whole, atol=1e-3)


def test_an_id_below_zero_fills_up():
    hidden, matrix, log_p = problem()
    hidden, matrix = jnp.float32(hidden), jnp.float32(matrix)
    ids, top = stored(log_p)
    more = np.pad(ids, ((0, 0), (0, 0), (0, 3)), constant_values=-1)
    padded = top_k_divergence(
        hidden, matrix, more, np.pad(jnp.float32(top), ((0, 0), (0, 0), (0, 3))), divergence=JSD()
    )
    np.testing.assert_allclose(
        padded, top_k_divergence(hidden, matrix, ids, jnp.float32(top), divergence=JSD()), rtol=1e-6
    )


def test_a_student_without_any_rest_keeps_finite_gradients():
    hidden, matrix, log_p = problem()
    matrix[:, 3] *= 1e3
    ids = np.full((ROWS, TIME, 1), 3)
    top = np.take_along_axis(log_p, ids, axis=-1)

    def loss(hidden, matrix):
        return top_k_divergence(hidden, matrix, ids, jnp.float32(top), divergence=forward).sum()

    for gradient in jax.grad(loss, argnums=(0, 1))(jnp.float32(hidden), jnp.float32(matrix)):
        assert np.isfinite(gradient).all()


def test_ids_and_log_probabilities_of_other_shapes_are_refused():
    hidden, matrix, log_p = problem()
    ids, top = stored(log_p)
    with pytest.raises(InputError, match=r"ids \(2, 9, 4\) and log-probabilities \(2, 9, 3\)"):
        top_k_divergence(jnp.float32(hidden), jnp.float32(matrix), ids, top[..., :3], divergence=forward)


@pytest.mark.slow
@pytest.mark.skipif(not libtpu_is_installed(), reason="libtpu isn't installed")
def test_sixty_four_candidates_compile_for_a_chip_with_little_memory():
    mesh = build_mesh(MeshShape(), topology_devices("v5p:1x1x1"))
    place = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())

    def loss(hidden, matrix, ids, top):
        return top_k_divergence(hidden, matrix, ids, top, divergence=forward, sharding=VocabularySharding(mesh)).sum()

    shapes = ((2, 1024, 1024), jnp.bfloat16), ((1024, 32_000), jnp.bfloat16), ((2, 1024, 64), jnp.int32)
    given = [jax.ShapeDtypeStruct(*each, sharding=place) for each in (*shapes, ((2, 1024, 64), jnp.float32))]
    compiled = jax.jit(jax.grad(loss, argnums=(0, 1)), out_shardings=place).lower(*given).compile()
    text = compiled.as_text()
    assert text is not None and text.count('custom_call_target="tpu_custom_call"') == 2
