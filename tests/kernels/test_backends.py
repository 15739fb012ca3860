"""Which kernels a mesh's devices get, and what both backends must keep.

Steps have the same losses with either, and defects that other fused heads have had each have a test of their own, in
chunks and in interpreted TPU kernels.

Legend: N tokens, D model width, V vocabulary.
"""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import three_steps
from divergences import OWN, SHIPPED
from jax.experimental.pallas import tpu as pltpu
from scipy.special import log_softmax, logsumexp

from reasoning.core.errors import InputError
from reasoning.core.mesh import MeshShape, build_mesh
from reasoning.kernels.backends import ACCELERATOR_LOGITS_BYTES, Kernels, chunked, kernels_for, pallas_tpu
from reasoning.kernels.pallas_tpu.tiles import TPU, Tiles, chip_named
from reasoning.kernels.token_divergence import token_divergence
from reasoning.kernels.token_log_probs import token_log_probs
from reasoning.planning.shapes import arrays_pairing
from reasoning.planning.topology import libtpu_is_installed, topology_devices


@pytest.fixture
def cpu_mesh() -> Iterator[jax.sharding.Mesh]:
    yield build_mesh(MeshShape(), jax.devices()[:1])


def test_a_cpu_gets_plain_xla(cpu_mesh):
    assert kernels_for("auto", cpu_mesh) == kernels_for("chunked", cpu_mesh) == kernels_for("auto", None) == chunked()
    assert str(kernels_for("auto", cpu_mesh)) == "plain XLA, a chunk of tokens at a time"


def test_pallas_without_a_tpu_is_refused_unless_interpreted(cpu_mesh):
    with pytest.raises(InputError, match="the mesh's devices are cpu; choose 'chunked'"):
        kernels_for("pallas_tpu", cpu_mesh)
    found = kernels_for("pallas_tpu_interpreted", cpu_mesh)
    assert found == pallas_tpu(TPU(chip_named("TPU v5e"), interpret=True)) and "very slow" in str(found)


def test_an_unknown_choice_is_refused(cpu_mesh):
    unknown: list = ["triton"]
    with pytest.raises(InputError, match="'triton' are unknown; choose one of auto, chunked"):
        kernels_for(unknown[0], cpu_mesh)


@pytest.mark.skipif(not libtpu_is_installed(), reason="libtpu isn't installed")
@pytest.mark.parametrize("topology", ("v5e:2x2", "v6e:2x2", "v5p:2x2x1", "tpu7x:2x2x1", "v4:2x2x1"))
def test_the_meshs_devices_choose_and_not_the_machine_that_plans(topology):
    mesh = build_mesh(MeshShape(), topology_devices(topology))
    found = kernels_for("auto", mesh)
    assert jax.default_backend() == "cpu"
    kind = mesh.devices.flat[0].device_kind
    assert found == pallas_tpu(TPU(chip_named(kind))) and kind in str(found)
    assert kernels_for("chunked", mesh) == chunked(ACCELERATOR_LOGITS_BYTES, whole_sums=False)


def test_kernels_are_equal_where_their_settings_are():
    small, large = TPU(chip_named("TPU v5e"), tiles=Tiles(16, 128)), TPU(chip_named("TPU v5e"), tiles=Tiles(32, 128))
    assert chunked(2**20) == chunked(2**20) and hash(chunked(2**20)) == hash(chunked(2**20))
    assert pallas_tpu(small) == pallas_tpu(small) and hash(pallas_tpu(small)) == hash(pallas_tpu(small))
    others = chunked(2**21), chunked(2**20, whole_sums=False), pallas_tpu(small), pallas_tpu(large)
    assert len({chunked(2**20), *others}) == 5


@pytest.mark.slow
def test_sft_grpo_and_kl_have_the_same_losses_in_chunks_and_in_interpreted_kernels():
    devices = jax.devices()[:1]
    chunked = three_steps.losses(MeshShape(), 2, devices, "chunked")
    interpreted = three_steps.losses(MeshShape(), 2, devices, "pallas_tpu_interpreted")
    assert chunked.keys() == interpreted.keys() == {"sft", "grpo", "kl"}
    for name, values in chunked.items():
        np.testing.assert_allclose(interpreted[name], values, rtol=1e-5, atol=1e-5, err_msg=name)
    assert chunked == three_steps.losses(MeshShape(), 2, devices)


def interpreted(tiles: Tiles) -> Kernels:
    """Kernels whose tiles end raggedly; what lies behind an array's end is NaN."""
    return pallas_tpu(TPU(chip_named("TPU v5e"), interpret=pltpu.InterpretParams(), tiles=tiles))


both = pytest.mark.parametrize(
    "kernels", (chunked(), interpreted(Tiles(16, 128))), ids=("chunked", "interpreted kernels")
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
    of_log_p, of_entropy, of_logsumexp = (each[..., None] for each in upstream)
    slopes = p * (of_logsumexp - of_log_p - of_entropy * (log_p + entropy))
    np.put_along_axis(slopes, targets[..., None], np.take_along_axis(slopes, targets[..., None], -1) + of_log_p, -1)
    return slopes @ matrix.T, np.einsum("bnd,bnv->dv", hidden, slopes)


def gradients(kernels: Kernels, hidden: Any, matrix: Any, targets: Any, upstream: np.ndarray) -> tuple[Any, ...]:
    @jax.jit
    def pull(hidden: Any, matrix: Any, targets: Any, upstream: Any) -> tuple[Any, ...]:
        _, back = jax.vjp(lambda *given: tuple(token_log_probs(*given, targets, kernels=kernels)), hidden, matrix)
        return back(tuple(upstream))

    return pull(hidden, matrix, targets, jnp.asarray(upstream, jnp.float32))


def check(found: tuple[Any, ...], expected: tuple[np.ndarray, ...], tolerance: float = 1e-5) -> None:
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(np.asarray(one, np.float64), other, atol=tolerance * np.abs(other).max())


@pytest.mark.parametrize("kernels", (chunked(), interpreted(Tiles(16, 1024))), ids=("chunked", "interpreted kernels"))
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
@pytest.mark.parametrize("divergence", (SHIPPED | OWN).values(), ids=SHIPPED | OWN)
def test_no_divergence_hides_an_array_of_all_tokens_and_the_vocabulary(divergence, kernels: Kernels):
    student, teacher = problem(480, 24, 1009), problem(480, 20, 1009, seed=1)

    def loss(hidden: jax.Array, matrix: jax.Array) -> jax.Array:
        return token_divergence(hidden, matrix, *teacher[:2], divergence=divergence, kernels=kernels).sum()

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
