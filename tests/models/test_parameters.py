"""Norms against their formula, the scale of fresh parameters, and where intermediate arrays lie."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from reasoning.core.mesh import MeshShape, build_mesh
from reasoning.models.config import ModelConfig, Stack
from reasoning.models.parameters import Placement, RMSNorm, parameter, zeros

SIZES = {"vocabulary": 8, "width": 6, "heads": 2, "head_dim": 4, "mlp_width": 8, "stacks": (Stack(1),), "context": 8}


@pytest.fixture(autouse=True)
def _without_a_mesh():
    """Parameters are made on one device, as ``model.init`` makes them."""
    with nnx.use_eager_sharding(False):
        yield


@pytest.mark.parametrize("offset", [False, True], ids=["from zero", "from one"])
@pytest.mark.parametrize("shape", [(6,), (2, 3)], ids=["one axis", "two axes"])
def test_a_norm_divides_by_the_root_of_the_mean_square_over_its_axes(shape, offset):
    norm = RMSNorm(ModelConfig(**SIZES, norm_offset=offset, norm_epsilon=0.5), shape, ("none",) * len(shape))
    random = np.random.default_rng(0)
    x, scale = random.normal(size=(4, *shape)), random.normal(size=shape)
    np.testing.assert_array_equal(norm.scale[...], np.zeros(shape) if offset else np.ones(shape))
    norm.scale[...] = jnp.asarray(scale, jnp.float32)
    root = np.sqrt((x * x).mean(tuple(range(1, x.ndim)), keepdims=True) + 0.5)
    np.testing.assert_allclose(norm(jnp.asarray(x, jnp.float32)), x / root * (scale + offset), rtol=1e-4)


def test_a_norm_computes_in_float32_and_gives_the_dtype_that_it_got():
    norm, x = RMSNorm(ModelConfig(**SIZES)), jnp.full((1, 6), 300.0, jnp.bfloat16)
    assert norm(x).dtype == jnp.bfloat16
    np.testing.assert_allclose(norm(x).astype(jnp.float32), 1.0)


def test_fresh_parameters_have_the_standard_deviation_and_axes_that_were_asked_for():
    made = parameter(nnx.Rngs(params=0), (200, 300), 0.1, ("embed", "mlp"))
    assert made[...].dtype == jnp.float32 and made.get_metadata("out_sharding") == ("embed", "mlp")
    assert abs(float(made[...].std()) - 0.1) < 1e-3 and abs(float(made[...].mean())) < 2e-3
    np.testing.assert_array_equal(zeros((3,), ("none",))[...], 0.0)


def test_a_placement_splits_rows_over_the_mesh_and_without_a_mesh_does_nothing():
    hidden = jnp.ones((8, 4, 6))
    assert Placement(None).constrain_hidden(hidden) is hidden
    placed = jax.jit(Placement(build_mesh(MeshShape(data=8))).constrain_hidden)(hidden)
    assert placed.sharding.shard_shape(placed.shape) == (1, 4, 6)
