"""Grouped products against a loop over groups in float64, their gradients too, and what TPUs' programs multiply."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import SingleDeviceSharding

from reasoning.core.errors import InputError
from reasoning.kernels.grouped import PLAIN, grouped_for
from reasoning.planning.costs import cost_of
from reasoning.planning.hlo import read_module
from reasoning.planning.topology import libtpu_is_installed, topology_devices


def by_hand(rows: np.ndarray, matrices: np.ndarray, sizes: list[int], upstream: np.ndarray) -> list[np.ndarray]:
    """Products and both gradients, 0 where rows belong to no group."""
    products, of_rows, of_matrices = np.zeros(upstream.shape), np.zeros(rows.shape), np.zeros(matrices.shape)
    for group, (start, size) in enumerate(zip(np.cumsum([0, *sizes]), sizes, strict=False)):
        own = slice(start, start + size)
        products[own] = rows[own] @ matrices[group]
        of_rows[own] = upstream[own] @ matrices[group].T
        of_matrices[group] = rows[own].T @ upstream[own]
    return [products, of_rows, of_matrices]


@pytest.mark.parametrize("choice", ["chunked", "pallas_tpu_interpreted"])
@pytest.mark.parametrize("sizes", [[3, 0, 140, 0], [0, 0, 0, 0], [0, 130, 1, 69], [128, 128, 0, 0]], ids=str)
def test_products_and_gradients_are_those_of_a_loop_over_groups(choice, sizes):
    random = np.random.default_rng(0)
    rows, matrices, upstream = (random.normal(size=shape) for shape in ((200, 24), (4, 24, 8), (200, 8)))
    if sum(sizes) > 200:
        rows, upstream = np.concatenate([rows, rows[:56]]), np.concatenate([upstream, upstream[:56]])
    mine = np.arange(len(rows))[:, None] < sum(sizes)
    product = grouped_for(choice, None).product

    def loss(rows: jax.Array, matrices: jax.Array) -> tuple[jax.Array, jax.Array]:
        products = jnp.where(mine, product(rows, matrices, jnp.asarray(sizes, jnp.int32)), 0)
        return jnp.sum(products * upstream), products

    narrow = jnp.asarray(rows, jnp.float32), jnp.asarray(matrices, jnp.float32)
    (of_rows, of_matrices), products = jax.jit(jax.grad(loss, argnums=(0, 1), has_aux=True))(*narrow)
    found = [products, jnp.where(mine, of_rows, 0), of_matrices]
    for one, expected in zip(found, by_hand(rows, matrices, sizes, upstream * mine), strict=True):
        np.testing.assert_allclose(one, expected, rtol=1e-4, atol=1e-4)


def test_only_tpus_take_the_kernel():
    assert grouped_for("auto", None) is PLAIN
    with pytest.raises(InputError, match="cpu"):
        grouped_for("pallas_tpu", None)


@pytest.mark.parametrize(
    ("chip", "dtype", "rows", "width"),
    [
        ("v5p:2x2x1", jnp.bfloat16, 4096, 1536),
        pytest.param("v5e:2x2", jnp.float32, 1000, 640, marks=pytest.mark.slow),
        pytest.param("v6e:2x2", jnp.bfloat16, 4096, 7168, marks=pytest.mark.slow),
    ],
)
def test_on_tpus_gradients_multiply_each_groups_rows_only(chip, dtype, rows, width):
    if not libtpu_is_installed():
        pytest.skip("libtpu is not installed: make tpu-aot adds it")
    device = topology_devices(chip)[0]
    experts, hidden = 32, 512
    product = grouped_for("pallas_tpu", jax.sharding.Mesh(np.array([device]), ("data",))).product

    def pull(rows: jax.Array, matrices: jax.Array, sizes: jax.Array, upstream: jax.Array) -> tuple:
        products, back = jax.vjp(lambda rows, matrices: product(rows, matrices, sizes), rows, matrices)
        return products, *back(upstream)

    shapes = ((rows, width), (experts, width, hidden), (experts,), (rows, hidden))
    place = SingleDeviceSharding(device)
    arguments = [
        jax.ShapeDtypeStruct(shape, jnp.int32 if len(shape) == 1 else dtype, sharding=place) for shape in shapes
    ]
    cost = cost_of(read_module(jax.jit(pull).lower(*arguments).compile().as_text()), {})
    products = 3 * 2 * rows * width * hidden
    # A dense product for each of the 32 groups would be eleven times as much; rows filled up to whole tiles are not.
    assert products <= 1.01 * cost.flops <= 1.1 * products
