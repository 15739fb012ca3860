"""Defects that other fused heads have had, each with a test of its own, in chunks and in interpreted TPU kernels.

Legend: N tokens, D model width, V vocabulary.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental.pallas import tpu as pltpu
from scipy.special import log_softmax, logsumexp

from reasoning.kernels.backends import Chunked, Kernels, PallasTPU
from reasoning.kernels.pallas_tpu.tiles import TPU, Tiles, chip_named
from reasoning.kernels.token_divergence import token_divergence
from reasoning.kernels.token_log_probs import token_log_probs
from reasoning.planning.shapes import arrays_pairing


def interpreted(tiles: Tiles) -> PallasTPU:
    """Kernels whose tiles end raggedly; what lies behind an array's end is NaN."""
    return PallasTPU(TPU(chip_named("TPU v5e"), interpret=pltpu.InterpretParams(), tiles=tiles))


both = pytest.mark.parametrize(
    "kernels", (Chunked(), interpreted(Tiles(16, 128))), ids=("chunked", "interpreted kernels")
)


def problem(tokens: int, width: int, vocabulary: int, dtype: Any = np.float32, seed: int = 0) -> tuple[Any, ...]:
    """Hidden states, matrix and targets, in a type that float64 holds exactly."""
    random = np.random.default_rng(seed)
    hidden, matrix = random.normal(size=(1, tokens, width)), random.normal(size=(width, vocabulary))
    return jnp.asarray(hidden, dtype), jnp.asarray(matrix, dtype), random.integers(0, vocabulary, (1, tokens))


def oracle(hidden: Any, matrix: Any, targets: np.ndarray, upstream: np.ndarray) -> tuple[np.ndarray, ...]:
    """The gradients of hidden states and matrix in float64; ``upstream`` [3, 1, N] is of the three results."""
    hidden, matrix = np.asarray(hidden, np.float64), np.asarray(matrix, np.float64)
    log_p = log_softmax(hidden @ matrix, axis=-1)
    p = np.exp(log_p)
    entropy = -(p * log_p).sum(axis=-1, keepdims=True)
    pick, bend, level = (each[..., None] for each in upstream)
    slopes = p * (level - pick - bend * (log_p + entropy))
    np.put_along_axis(slopes, targets[..., None], np.take_along_axis(slopes, targets[..., None], -1) + pick, -1)
    return slopes @ matrix.T, np.einsum("bnd,bnv->dv", hidden, slopes)


def gradients(kernels: Kernels, hidden: Any, matrix: Any, targets: Any, upstream: np.ndarray) -> tuple[Any, ...]:
    _, back = jax.vjp(lambda *given: tuple(token_log_probs(*given, targets, kernels=kernels)), hidden, matrix)
    return back(tuple(jnp.asarray(each, jnp.float32) for each in upstream))


def check(found: tuple[Any, ...], expected: tuple[np.ndarray, ...], tolerance: float = 1e-5) -> None:
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(np.asarray(one, np.float64), other, atol=tolerance * np.abs(other).max())


@pytest.mark.parametrize("kernels", (Chunked(), interpreted(Tiles(16, 1024))), ids=("chunked", "interpreted kernels"))
def test_padding_of_the_vocabulary_does_not_leak_into_the_log_sum_exp(kernels: Kernels):
    hidden, matrix, targets = problem(16, 8, 4000)  # a tile of 1024 pads it to 4096: a leak would be +0.01
    found = token_log_probs(hidden, 0.1 * matrix, targets, kernels=kernels).logsumexp_BT
    expected = logsumexp(np.asarray(hidden, np.float64) @ (0.1 * np.asarray(matrix, np.float64)), axis=-1)
    np.testing.assert_allclose(found, expected, atol=2e-5)


@both
def test_the_log_sum_exp_of_bfloat16_inputs_is_not_rounded_to_bfloat16(kernels: Kernels):
    hidden, matrix, targets = problem(16, 32, 300, jnp.bfloat16)  # one place of bfloat16 at 20 is 0.125
    found = token_log_probs(hidden, matrix, targets, kernels=kernels)
    expected = logsumexp(np.asarray(hidden, np.float64) @ np.asarray(matrix, np.float64), axis=-1)
    assert found.logsumexp_BT.dtype == jnp.float32
    np.testing.assert_allclose(found.logsumexp_BT, expected, atol=2e-5)


@both
def test_gradients_are_not_filtered_before_the_upstream_gradient_has_its_say(kernels: Kernels):
    """A token whose logits' gradients are all tiny, and whose upstream gradient is huge, moves the matrix alike."""
    hidden, matrix, targets = problem(20, 8, 300)
    matrix = matrix.at[:, 5].set(0)
    hidden = hidden.at[0, 3].multiply(6)
    targets[0, 3] = int(jnp.argmax(hidden[0, 3] @ matrix))  # nearly all probability: 1 - p is what its gradient is
    upstream = np.zeros((3, 1, 20))
    upstream[:, 0, 3] = 1e6, -1e5, 1e4
    upstream[0, 0, 4] = -1.0
    expected = oracle(hidden, matrix, targets, upstream)
    check(gradients(kernels, hidden, matrix, targets, upstream), expected, 1e-3)
    upstream[:, 0, 3] = 0
    check(gradients(kernels, hidden, matrix, targets, upstream), oracle(hidden, matrix, targets, upstream))


@both
@pytest.mark.parametrize("shape", ((37, 24, 301), (16, 8, 129), (5, 8, 100)), ids=str)
def test_a_ragged_last_tile_of_columns_does_not_corrupt_the_hidden_states_gradient(shape, kernels: Kernels):
    hidden, matrix, targets = problem(*shape)
    upstream = np.random.default_rng(1).normal(size=(3, 1, shape[0]))
    check(gradients(kernels, hidden, matrix, targets, upstream), oracle(hidden, matrix, targets, upstream))


@both
@pytest.mark.parametrize("kind", ("forward", "reverse", "jsd"))
def test_no_divergence_hides_an_array_of_all_tokens_and_the_vocabulary(kind, kernels: Kernels):
    student, teacher = problem(480, 24, 1009), problem(480, 20, 1009, seed=1)

    def loss(hidden: jax.Array, matrix: jax.Array) -> jax.Array:
        return token_divergence(hidden, matrix, *teacher[:2], kind=kind, kernels=kernels).sum()

    traced = jax.jit(jax.grad(loss, argnums=(0, 1))).trace(*student[:2])
    assert arrays_pairing(traced.jaxpr, 1009, 480) == []

    def naive(hidden: jax.Array, matrix: jax.Array) -> jax.Array:
        return jnp.exp(jax.nn.log_softmax(hidden @ matrix)).sum()

    assert arrays_pairing(jax.jit(jax.grad(naive)).trace(*student[:2]).jaxpr, 1009, 480) != []


@both
def test_rows_without_any_target_pass_exactly_nothing(kernels: Kernels):
    hidden, matrix, targets = problem(20, 8, 300)
    upstream = np.zeros((3, 1, 20))
    upstream[0] = 1e6
    for gradient in gradients(kernels, hidden, matrix, np.full_like(targets, -1), upstream):
        np.testing.assert_array_equal(gradient, np.zeros_like(gradient))


@both
def test_logits_of_ten_thousand_of_both_signs_keep_finite_and_right(kernels: Kernels):
    hidden = jnp.array([[[1.0], [-1.0]] * 8])
    matrix = jnp.array([[1e4, 1e4 - 1, 1e4 - 3, -1e4, 0.0]])
    targets = np.array([[0, 3] * 8])
    found = token_log_probs(hidden, matrix, targets, kernels=kernels)
    log_p = log_softmax(np.asarray(hidden, np.float64) @ np.asarray(matrix, np.float64), axis=-1)
    expected = np.take_along_axis(log_p, targets[..., None], -1)[..., 0]
    np.testing.assert_allclose(found.log_prob_BT, expected, atol=1e-3)
    np.testing.assert_allclose(found.entropy_BT, -(np.exp(log_p) * log_p).sum(-1), atol=1e-3)
    upstream = np.ones((3, 1, 16))
    for gradient in gradients(kernels, hidden, matrix, targets, upstream):
        assert np.isfinite(gradient).all()
