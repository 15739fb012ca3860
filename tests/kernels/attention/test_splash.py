"""Attention by the kernels for TPUs: interpreted against the formula, and compiled for chips that aren't here."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from attention_cases import Case, oracle

from reasoning.core.errors import InputError
from reasoning.core.mesh import MeshShape, build_mesh
from reasoning.kernels.attention import chunked, splash
from reasoning.kernels.attention.rule import Rule
from reasoning.planning.programs import no_compilation_cache
from reasoning.planning.shapes import arrays_pairing
from reasoning.planning.topology import libtpu_is_installed, topology_devices

CASES = {
    "a row of another length than the blocks": Case(200, 4, 2, 64, 64, soft_cap=5.0, window=30),
    "latent": Case(128, 2, 2, 192, 128),
}


@pytest.mark.parametrize("name", CASES)
def test_interpreted_kernels_give_the_formulas_result_and_the_gradients_of_the_chunks(name):
    case = CASES[name]
    query, key, value, segments, above = case.arrays(batch=1)

    def of_kernels(*arrays: jax.Array) -> tuple[jax.Array, jax.Array]:
        mixed = splash.attend(*arrays, segments, case.rule, mesh=None, interpret=True)
        return jnp.sum(above * mixed), mixed

    def of_chunks(*arrays: jax.Array) -> jax.Array:
        return jnp.sum(above * chunked.attend(*arrays, segments, jnp.arange(case.time), case.rule, 64))

    (_, found), gradients = jax.jit(jax.value_and_grad(of_kernels, (0, 1, 2), has_aux=True))(query, key, value)
    np.testing.assert_allclose(found, oracle(case, query, key, value, segments), atol=1e-5, rtol=0)
    for one, other in zip(gradients, jax.jit(jax.grad(of_chunks, (0, 1, 2)))(query, key, value), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5, rtol=0)


def test_sinks_are_those_of_the_chunks_with_their_gradients():
    case = Case(128, 4, 2, 64, 64, window=30)
    query, key, value, segments, above = case.arrays(batch=2)
    sinks = jnp.linspace(-1.0, 3.0, case.heads)

    def of_kernels(*arrays: jax.Array) -> jax.Array:
        return jnp.sum(above * splash.attend(*arrays[:3], segments, case.rule, arrays[3], mesh=None, interpret=True))

    def of_chunks(*arrays: jax.Array) -> jax.Array:
        return jnp.sum(above * chunked.attend(*arrays[:3], segments, jnp.arange(128), case.rule, 64, arrays[3]))

    both = (jax.jit(jax.value_and_grad(of, (0, 1, 2, 3))) for of in (of_kernels, of_chunks))
    found, wanted = (each(query, key, value, sinks) for each in both)
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5, rtol=1e-5)


def test_time_that_cannot_be_cut_into_whole_blocks_is_refused():
    mesh = build_mesh(MeshShape(data=1, context=2), jax.devices()[:2])
    query, key, value, segments, _ = Case(200, 1, 1, 64, 64).arrays()
    with pytest.raises(InputError, match="rows of 200 tokens over 2 devices .* make rows a multiple of 256"):
        splash.attend(query, key, value, segments, Rule(1.0), mesh=mesh, interpret=True)


@pytest.mark.slow
@pytest.mark.skipif(not libtpu_is_installed(), reason="libtpu isn't installed")
@pytest.mark.parametrize(
    "shape", (MeshShape(data=4), MeshShape(data=1, context=2, tensor=2)), ids=("rows", "time and heads")
)
def test_32k_tokens_compile_for_a_pod_without_an_array_of_all_scores(shape):
    mesh, length = build_mesh(shape, topology_devices("v5p:2x2x1")), 32_768
    rows = mesh.shape["data"]
    place = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))

    def of(*sizes: int, dtype=jnp.bfloat16) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((rows, *sizes), dtype, sharding=place)

    def loss(query, key, value, segments):
        mixed = splash.attend(query, key, value, segments, Rule(0.1), mesh=mesh, interpret=False)
        return jnp.sum(mixed.astype(jnp.float32))

    arguments = of(length, 28, 128), of(4, length, 128), of(4, length, 128), of(length, dtype=jnp.int32)
    with no_compilation_cache():
        compiled = jax.jit(jax.grad(loss, (0, 1, 2))).lower(*arguments).compile()
    text = compiled.as_text()
    assert text.count("tpu_custom_call") >= 3  # forward, and two backward
    part = length // mesh.shape["context"]
    assert not arrays_pairing(text, length, length) and not arrays_pairing(text, part, length)
