"""The TPU's kernels on a mesh of eight devices, turned into XLA's operations, against plain XLA on one."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from reasoning.core.mesh import MeshShape, build_mesh
from reasoning.kernels.backends import Kernels, pallas_tpu
from reasoning.kernels.pallas_tpu.tiles import TPU, Tiles, chip_named
from reasoning.kernels.token_divergence import token_divergence
from reasoning.kernels.token_log_probs import token_log_probs
from reasoning.kernels.vocabulary_sharding import VocabularySharding
from reasoning.objectives.divergence import JSD

ROWS, TIME, WIDTH, TEACHER_WIDTH, VOCABULARY = 8, 36, 24, 20, 301

MESHES = (
    pytest.param("TPU v5p", MeshShape(data=2, fsdp=2, tensor=2), id="data 2, fsdp 2, tensor 2, two cores"),
    pytest.param("TPU v5p", MeshShape(data=1, tensor=8), id="tensor 8, two cores", marks=pytest.mark.slow),
    pytest.param("TPU v5e", MeshShape(data=1, fsdp=4, context=2), id="fsdp 4, context 2", marks=pytest.mark.slow),
)


@pytest.fixture(autouse=True)
def strips_of_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gathered matrices go strip by strip, however small they are."""
    monkeypatch.setattr("reasoning.kernels.vocabulary_sharding._WHOLE", 0)


def kernels(chip: str) -> Kernels:
    return pallas_tpu(TPU(chip_named(chip), interpret=True, tiles=Tiles(16, 128)))


def problem() -> dict[str, Any]:
    """Operands whose sizes divide by no axis of a mesh but for tokens, and upstream gradients of both signs."""
    generator = np.random.default_rng(0)
    shapes = {
        "hidden": (ROWS, TIME, WIDTH),
        "matrix": (WIDTH, VOCABULARY),
        "bias": (VOCABULARY,),
        "teacher": (ROWS, TIME, TEACHER_WIDTH),
        "teacher_matrix": (TEACHER_WIDTH, VOCABULARY),
        "upstream": (3, ROWS, TIME),
    }
    drawn = {name: jnp.asarray(generator.normal(size=shape), jnp.float32) for name, shape in shapes.items()}
    return drawn | {"targets": jnp.asarray(generator.integers(-1, VOCABULARY, (ROWS, TIME)), jnp.int32)}


def check(found: Any, expected: Any) -> None:
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, atol=2e-5 * max(1.0, float(np.abs(other).max())))


@pytest.mark.parametrize(("chip", "shape"), MESHES)
def test_log_probabilities_and_gradients_are_those_of_one_device(chip: str, shape: MeshShape):
    given = problem()

    def passes(sharding: VocabularySharding | None, kernels: Kernels | None) -> Any:
        def run(hidden: Any, matrix: Any, bias: Any) -> Any:
            return tuple(
                token_log_probs(
                    hidden, matrix, given["targets"], bias_V=bias, soft_cap=30.0, sharding=sharding, kernels=kernels
                )
            )

        results, back = jax.vjp(run, given["hidden"], given["matrix"], given["bias"])
        return results, back(tuple(given["upstream"]))

    sharding = VocabularySharding(build_mesh(shape, jax.devices()[:8]))
    check(jax.jit(lambda: passes(sharding, kernels(chip)))(), jax.jit(lambda: passes(None, None))())


@pytest.mark.slow
@pytest.mark.parametrize(("chip", "shape"), MESHES)
def test_divergences_and_gradients_are_those_of_one_device(chip: str, shape: MeshShape):
    given = problem()

    def passes(sharding: VocabularySharding | None, kernels: Kernels | None) -> Any:
        def run(hidden: Any, matrix: Any) -> Any:
            rest = (given["teacher"], given["teacher_matrix"])
            return token_divergence(hidden, matrix, *rest, divergence=JSD(0.3), sharding=sharding, kernels=kernels)

        values, back = jax.vjp(run, given["hidden"], given["matrix"])
        return values, back(given["upstream"][0])

    sharding = VocabularySharding(build_mesh(shape, jax.devices()[:8]))
    check(jax.jit(lambda: passes(sharding, kernels(chip)))(), jax.jit(lambda: passes(None, None))())
