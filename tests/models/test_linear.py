"""The linear map and its written-out gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from reasoning.models.linear import linear


@pytest.mark.parametrize(
    ("shape", "weight_shape", "axes"),
    [((2, 3, 4), (4, 5), 1), ((2, 3, 8), (8, 5), 1), ((2, 3, 4), (4, 2, 3), 1), ((2, 3, 2, 4), (2, 4, 5), 2)],
    ids=["wider", "narrower", "into heads", "out of heads"],
)
def test_value_and_gradients_equal_those_of_tensordot(shape: tuple, weight_shape: tuple, axes: int):
    keys = jax.random.split(jax.random.key(0), 3)
    x, weight = jax.random.normal(keys[0], shape), jax.random.normal(keys[1], weight_shape)
    value, pull = jax.vjp(lambda x, weight: linear(x, weight, axes), x, weight)
    expected, expected_pull = jax.vjp(lambda x, weight: jnp.tensordot(x, weight, axes), x, weight)
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    upstream = jax.random.normal(keys[2], value.shape)
    for found, other in zip(pull(upstream), expected_pull(upstream), strict=True):
        np.testing.assert_allclose(found, other, rtol=1e-5, atol=1e-5)


def test_the_backward_pass_transposes_nothing_as_wide_as_the_activations():
    """The hidden width is the widest here; an array [width, rows] would be its transposed copy."""
    rows, width, hidden = 96, 32, 128

    def loss(x: jax.Array, up: jax.Array, down: jax.Array, upstream: jax.Array) -> jax.Array:
        return jnp.vdot(linear(jnp.square(linear(x, up)), down), upstream)

    shapes = ((1, rows, width), (width, hidden), (hidden, width), (1, rows, width))
    arguments = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
    text = jax.jit(jax.grad(loss, (0, 1, 2))).lower(*arguments).compile().as_text()
    assert f"f32[{rows},{hidden}]" in text and f"f32[{hidden},{rows}]" not in text
    assert "lhs_contracting_dims={1}, rhs_contracting_dims={0}" in text
    assert "lhs_contracting_dims={0}" not in text, "a product that CPUs' fast one isn't"


@pytest.mark.parametrize("rows", [1, 5])
@pytest.mark.parametrize("able", [True, False])
def test_a_product_in_bfloat16_reads_the_weight_as_it_is_where_processors_can(
    rows: int, able: bool, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("reasoning.core.processor.has", lambda instructions: able and instructions == "avx512_bf16")
    x, weight = (jax.random.normal(jax.random.key(at), shape) for at, shape in enumerate([(1, rows, 64), (64, 2, 16)]))
    jax.clear_caches()  # The products of one machine are traced once.
    compiled = jax.jit(linear).lower(x.astype(jnp.bfloat16), weight.astype(jnp.bfloat16)).compile()
    if able:  # Others would be faster with float32 of it, which newer compilers make within the product.
        assert "f32[64,32]" not in compiled.as_text() and "f32[64,2,16]" not in compiled.as_text()
    product = compiled(x.astype(jnp.bfloat16), weight.astype(jnp.bfloat16))
    assert product.shape == (1, rows, 2, 16) and product.dtype == jnp.bfloat16
    np.testing.assert_allclose(product.astype(jnp.float32), jnp.tensordot(x, weight, 1), rtol=0.03, atol=0.15)


def test_gradients_in_bfloat16_are_those_of_tensordot(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("reasoning.core.processor.has", lambda instructions: True)
    keys = jax.random.split(jax.random.key(0), 3)
    drawn = (jax.random.normal(key, shape) for key, shape in zip(keys, [(2, 3, 8), (8, 5), (2, 3, 5)], strict=True))
    x, weight, upstream = (array.astype(jnp.bfloat16) for array in drawn)
    value, pull = jax.vjp(linear, x, weight)
    expected, expected_pull = jax.vjp(lambda x, weight: jnp.tensordot(x, weight, 1), x, weight)
    for found, other in zip((value, *pull(upstream)), (expected, *expected_pull(upstream)), strict=True):
        np.testing.assert_allclose(found.astype(jnp.float32), other.astype(jnp.float32), rtol=0.02, atol=0.02)


def test_what_is_kept_of_products_for_the_backward_pass_is_kept_in_bfloat16_too(monkeypatch: pytest.MonkeyPatch):
    policy = jax.checkpoint_policies.dots_with_no_batch_dims_saveable
    shapes = [jax.ShapeDtypeStruct(shape, jnp.bfloat16) for shape in ((1, 4, 8), (8, 8))]

    def products(able: bool) -> int:
        monkeypatch.setattr("reasoning.core.processor.has", lambda instructions: able)
        jax.clear_caches()
        loss = jax.checkpoint(lambda x, weight: jnp.sum(jnp.sin(linear(jnp.sin(x), weight))), policy=policy)
        return str(jax.make_jaxpr(jax.grad(loss, (0, 1)))(*shapes)).count("dot_general")

    assert products(True) == products(False) == 3
