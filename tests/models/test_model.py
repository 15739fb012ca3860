"""Parameters of a model: how many, where they lie, and the same on any mesh."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from reasoning.core.errors import InputError
from reasoning.core.mesh import MeshShape, build_mesh, row_sharding
from reasoning.models.config import ModelConfig, Stack
from reasoning.models.model import (
    Model,
    build_model,
    check_memory,
    frozen_shapes,
    init_sharded,
    parameter_count,
    parameter_shardings,
)

TINY = ModelConfig(vocabulary=48, width=16, heads=4, kv_heads=2, mlp_width=32, stacks=(Stack(2),), context=32)


def rows_of(model: Model, batch: int, time: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Random tokens with the positions and segments of one document a row."""
    tokens = jax.random.randint(jax.random.key(5), (batch, time), 0, model.config.vocabulary)
    return tokens, jnp.broadcast_to(jnp.arange(time), (batch, time)), jnp.ones((batch, time), jnp.int32)


def test_parameter_count_is_that_of_the_formula():
    d, f, v, kv = 16, 32, 48, 8
    block = 2 * d * d + 2 * d * kv + 3 * d * f + 2 * d
    assert parameter_count(build_model(TINY)) == 2 * v * d + 2 * block + d


def test_a_qwen_sized_config_is_counted_without_allocating():
    config = ModelConfig(
        vocabulary=151936,
        width=896,
        heads=14,
        kv_heads=2,
        mlp_width=4864,
        stacks=(Stack(24),),
        context=32768,
        qkv_bias=True,
        tied=True,
    )
    assert parameter_count(build_model(config)) == 494_032_768  # the published size of Qwen2.5-0.5B


@pytest.mark.slow
@pytest.mark.parametrize("shape", [MeshShape(), MeshShape(data=1, fsdp=8), MeshShape(data=2, fsdp=2, tensor=2)])
def test_parameters_are_the_same_on_any_mesh_and_states_equal_to_one_device(shape: MeshShape):
    mesh = build_mesh(shape)
    alone, spread = build_model(TINY), build_model(TINY, mesh)
    params = init_sharded(spread, mesh, jax.random.key(3))
    plain = jax.jit(alone.init)(jax.random.key(3))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), params, plain)
    batch = rows_of(alone, 8, 16)
    states, _ = jax.jit(spread.hidden_states)(params, *(jax.device_put(leaf, row_sharding(mesh)) for leaf in batch))
    np.testing.assert_allclose(states, jax.jit(alone.hidden_states)(plain, *batch)[0], atol=1e-5)


def test_a_mesh_that_does_not_divide_a_parameter_is_refused_with_the_numbers():
    config = ModelConfig(**{**vars(TINY), "vocabulary": 49})
    with pytest.raises(InputError, match=r"vocabulary axis has size 49.* tensor = 2"):
        parameter_shardings(build_model(config), build_mesh(MeshShape(data=4, tensor=2)))


def test_what_never_trains_is_held_in_the_dtype_of_the_computation_where_what_trains_would_lie():
    mesh = build_mesh(MeshShape(data=2, fsdp=2, tensor=2))
    model = build_model(replace(TINY, compute_dtype="bfloat16"), mesh)
    held = frozen_shapes(model, mesh)
    assert {leaf.dtype.name for leaf in jax.tree.leaves(held)} == {"bfloat16"}
    assert jax.tree.map(lambda leaf: leaf.sharding, held) == parameter_shardings(model, mesh)


def test_a_model_that_the_devices_cannot_hold_is_refused_by_its_numbers():
    model, mesh = build_model(replace(TINY, vocabulary=10**12)), build_mesh(MeshShape())
    with pytest.raises(InputError, match=r"stage base: the model has [\d,]{17,} parameters, [\d,]+ GiB as float32"):
        check_memory(model, mesh, "base")
    check_memory(build_model(TINY), mesh, "base")
