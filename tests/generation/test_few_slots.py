"""What XLA's CPU compiler is asked for where a few slots decode."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from drawn import drawn

from reasoning.core.mesh import MeshShape, build_mesh
from reasoning.generation.few_slots import compiler_options, head_product
from reasoning.models.config import ModelConfig, Stack
from reasoning.models.model import build_model


@pytest.fixture(params=[(), ("avx512f",), ("avx512f", "avx512_bf16")], ids=["avx2", "avx512", "bfloat16"])
def instructions(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    """What the machine's processor is said to have."""
    monkeypatch.setattr("reasoning.core.processor.has", lambda name: name in request.param)
    return request.param


@pytest.mark.parametrize(("rows", "few"), [(2, False), (3, True), (24, True), (25, False)])
def test_products_of_a_few_rows_are_eigens_without_avx512(rows: int, few: bool, instructions: tuple[str, ...]):
    eigen = few and "avx512f" not in instructions
    mesh = build_mesh(MeshShape(), jax.devices()[:1])
    given = jax.ShapeDtypeStruct((rows, 64), jnp.float32), jax.ShapeDtypeStruct((64, 256), jnp.float32)
    options = compiler_options(mesh, rows, jnp.dtype("float32"))
    text = jax.jit(jnp.dot, compiler_options=options).lower(*given).compile().as_text()
    assert ("__ynn_fusion" in text) is not eigen


def test_other_types_stay_as_they_are():
    assert compiler_options(build_mesh(MeshShape(), jax.devices()[:1]), 8, jnp.dtype("bfloat16")) is None


@pytest.mark.parametrize("rows", [1, 5])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("tied", [True, False])
def test_logits_are_the_product_of_states_and_the_unembedding(
    tied: bool, dtype: str, rows: int, instructions: tuple[str, ...]
):
    mesh = build_mesh(MeshShape(), jax.devices()[:1])
    sizes = {"vocabulary": 48, "width": 16, "heads": 2, "mlp_width": 32, "context": 8}
    model = build_model(ModelConfig(**sizes, stacks=(Stack(1),), tied=tied, compute_dtype=dtype), mesh)
    weights = model.publish(drawn(model.shapes, 0, 0.2))
    hidden = jax.random.normal(jax.random.key(0), (rows, 16)).astype(dtype)

    @jax.jit
    def summed(hidden: jax.Array) -> jax.Array:
        product = head_product(model, mesh, weights)
        return jax.lax.fori_loop(0, 2, lambda _, logits: logits + product(hidden), jnp.zeros((rows, 48)))

    expected = 2 * np.float64(hidden) @ np.float64(model.unembedding(weights))
    np.testing.assert_allclose(summed(hidden), expected, rtol=1e-5, atol=1e-5)
