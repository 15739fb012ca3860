"""What XLA's CPU compiler is asked for where a few slots decode."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from drawn import drawn

from reasoning.core.mesh import MeshShape, build_mesh
from reasoning.generation.few_slots import compiler_options, next_logits
from reasoning.models.config import ModelConfig, Stack
from reasoning.models.model import build_model


@pytest.fixture(params=["fpu avx2 bmi2", "fpu avx2 avx512f bmi2", None])
def wide(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether the processor that the machine tells of has AVX-512; None tells of none."""
    told = tmp_path / "cpuinfo"
    if request.param is not None:
        told.write_text(f"processor\t: 0\nflags\t\t: {request.param}\nbugs\t\t:\n")
    monkeypatch.setattr("reasoning.generation.few_slots._PROCESSOR", told)
    return "avx512f" in (request.param or "")


@pytest.mark.parametrize(("rows", "few"), [(2, False), (3, True), (24, True), (25, False)])
def test_products_of_a_few_rows_are_eigens_without_avx512(rows: int, few: bool, wide: bool):
    eigen = few and not wide
    mesh = build_mesh(MeshShape(), jax.devices()[:1])
    given = jax.ShapeDtypeStruct((rows, 64), jnp.float32), jax.ShapeDtypeStruct((64, 256), jnp.float32)
    options = compiler_options(mesh, rows, jnp.dtype("float32"))
    text = jax.jit(jnp.dot, compiler_options=options).lower(*given).compile().as_text()
    assert ("__ynn_fusion" in text) is not eigen


def test_other_types_stay_as_they_are():
    assert compiler_options(build_mesh(MeshShape(), jax.devices()[:1]), 8, jnp.dtype("bfloat16")) is None


@pytest.mark.parametrize("rows", [1, 5])
@pytest.mark.parametrize("tied", [True, False])
def test_logits_are_the_product_of_states_and_the_unembedding(tied: bool, rows: int):
    mesh = build_mesh(MeshShape(), jax.devices()[:1])
    sizes = {"vocabulary": 48, "width": 16, "heads": 2, "mlp_width": 32, "context": 8}
    model = build_model(ModelConfig(**sizes, stacks=(Stack(1),), tied=tied), mesh)
    weights = model.publish(drawn(model.shapes, 0, 0.2))
    hidden = jax.random.normal(jax.random.key(0), (rows, 16))
    expected = np.asarray(hidden) @ np.asarray(model.unembedding(weights))
    np.testing.assert_allclose(next_logits(model, mesh, weights, hidden), expected, rtol=1e-5, atol=1e-6)
