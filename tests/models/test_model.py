"""Shapes, axes, cached decoding and sharding of the decoder."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from reasoning.core.errors import InputError
from reasoning.core.mesh import MeshShape, build_mesh, rows
from reasoning.models.config import BlockKind, ModelConfig, Stack
from reasoning.models.model import Model, build_model, init_sharded, parameter_count, parameter_shardings

TINY = ModelConfig(vocabulary=48, width=16, heads=4, kv_heads=2, mlp_width=32, stacks=(Stack(2),), context=32)
PLAIN = ModelConfig(
    vocabulary=48,
    width=16,
    heads=2,
    mlp_width=32,
    stacks=(Stack(1, (BlockKind("relu2"), BlockKind("swiglu"))), Stack(2)),
    context=32,
    qkv_bias=True,
    tied=True,
    learned_positions=True,
)


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
@pytest.mark.parametrize("config", [TINY, PLAIN])
def test_greedy_decoding_with_a_cache_equals_argmax_of_full_forwards(config: ModelConfig):
    model = build_model(config)
    params = model.init(jax.random.key(0))
    lengths = np.array([5, 3, 7])
    tokens = np.array(rows_of(model, 3, 7)[0])
    weights, head = model.publish(params), model.unembedding(params)
    cache = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), model.cache_shapes(3, 20))
    hidden, cache = model.prefill(weights, jnp.asarray(tokens), jnp.asarray(lengths), cache)
    texts = [list(tokens[row, : lengths[row]]) for row in range(3)]
    for _ in range(8):
        chosen = np.array(jnp.argmax(hidden @ head, axis=-1))
        for row, text in enumerate(texts):
            full = jnp.asarray([text])
            positions = jnp.arange(len(text))[None]
            states, _ = model.hidden_states(params, full, positions, jnp.ones_like(full))
            assert int(jnp.argmax(states[0, -1] @ head)) == chosen[row]
            np.testing.assert_allclose(states[0, -1], hidden[row], atol=2e-5)
            text.append(chosen[row])
        hidden, cache = model.decode(weights, jnp.asarray(chosen), cache)
    np.testing.assert_array_equal(cache["length"], lengths + 8)


@pytest.mark.slow
def test_packed_documents_give_the_states_of_each_document_alone():
    model = build_model(PLAIN)
    params = model.init(jax.random.key(1))
    tokens = rows_of(model, 1, 12)[0]
    positions = jnp.concatenate([jnp.arange(5), jnp.arange(7)])[None]
    segments = jnp.concatenate([jnp.ones(5, jnp.int32), jnp.full(7, 2)])[None]
    packed, _ = model.hidden_states(params, tokens, positions, segments)
    alone, _ = model.hidden_states(params, tokens[:, 5:], jnp.arange(7)[None], jnp.ones((1, 7), jnp.int32))
    np.testing.assert_allclose(packed[:, 5:], alone, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("remat", ["none", "block", "dots"])
def test_rematerialisation_changes_no_gradient(remat: str):
    def gradient(choice: str):
        model = build_model(ModelConfig(**{**vars(TINY), "remat": choice}))
        batch = rows_of(model, 2, 8)
        return jax.grad(lambda p: jnp.sum(model.hidden_states(p, *batch)[0] ** 2))(model.init(jax.random.key(0)))

    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), gradient(remat), gradient("none"))


@pytest.mark.slow
@pytest.mark.parametrize("shape", [MeshShape(), MeshShape(data=1, fsdp=8), MeshShape(data=2, fsdp=2, tensor=2)])
def test_parameters_are_the_same_on_any_mesh_and_states_equal_to_one_device(shape: MeshShape):
    mesh = build_mesh(shape)
    alone, spread = build_model(TINY), build_model(TINY, mesh)
    params = init_sharded(spread, mesh, jax.random.key(3))
    plain = alone.init(jax.random.key(3))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), params, plain)
    batch = rows_of(alone, 8, 16)
    states, _ = jax.jit(spread.hidden_states)(params, *(jax.device_put(leaf, rows(mesh)) for leaf in batch))
    np.testing.assert_allclose(states, alone.hidden_states(plain, *batch)[0], atol=1e-5)


def test_a_mesh_that_does_not_divide_a_parameter_is_refused_with_the_numbers():
    config = ModelConfig(**{**vars(TINY), "vocabulary": 49})
    with pytest.raises(InputError, match=r"vocabulary axis has size 49.* tensor = 2"):
        parameter_shardings(build_model(config), build_mesh(MeshShape(data=4, tensor=2)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"heads": 3, "kv_heads": 3}, "width 16 is not a multiple of heads 3"),
        ({"kv_heads": 3}, "heads 4 is not a multiple of kv_heads 3"),
        ({"head_dim": 3}, "head_dim 3 is odd"),
        ({"stacks": ()}, "stacks is empty"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(change: dict, message: str):
    with pytest.raises(InputError, match=message):
        ModelConfig(**{**vars(TINY), **change})
