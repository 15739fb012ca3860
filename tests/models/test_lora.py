"""LoRA: an adapted model starts as its base, adds a product of two narrow matrices, and merges into a plain one."""

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from reasoning.core.errors import InputError
from reasoning.core.mesh import MeshShape, build_mesh, row_sharding
from reasoning.models.config import BlockKind, Latent, ModelConfig, MoE, Stack
from reasoning.models.lora import LoRA, adapters_of, base_of, merge_adapters, with_adapters
from reasoning.models.model import (
    Model,
    build_model,
    init_adapters,
    parameter_shardings,
    with_lora,
    without_lora,
)

DENSE = ModelConfig(
    vocabulary=48, width=16, heads=4, kv_heads=2, mlp_width=32, stacks=(Stack(2),), context=32, qkv_bias=True
)
EXPERTS = MoE(experts=4, active=2, mlp_width=8, shared=1)
LATENT = replace(
    DENSE,
    qkv_bias=False,
    kv_heads=0,
    latent=Latent(kv_lora_rank=8, q_lora_rank=12, qk_nope_head_dim=6, qk_rope_head_dim=4, v_head_dim=6),
    stacks=(Stack(1, (BlockKind("relu2"),)), Stack(2, (BlockKind(moe=EXPERTS),))),
)
LOW = LoRA(rank=3, alpha=6.0)


def states(model: Model, params: Any) -> jax.Array:
    tokens = jax.random.randint(jax.random.key(5), (2, 9), 0, 48)
    places = jnp.broadcast_to(jnp.arange(9), (2, 9))
    return jax.jit(model.hidden_states)(params, tokens, places, jnp.ones_like(tokens))[0]


def leaves(tree: Any) -> Iterator[tuple[str, jax.Array]]:
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        yield "/".join(key.key for key in path), leaf


@cache
def disturbed(model: Model, seed: int = 2) -> Any:
    """Parameters of an adapted model whose adapters have learnt something: no matrix is zero."""

    def draw() -> Any:
        params = model.init(jax.random.key(1))
        keys = iter(jax.random.split(jax.random.key(seed), 200))
        noisy = jax.tree.map(lambda leaf: leaf + 0.3 * jax.random.normal(next(keys), leaf.shape), adapters_of(params))
        return with_adapters(base_of(params), noisy)

    return jax.jit(draw)()


@pytest.mark.parametrize("config", [DENSE, pytest.param(LATENT, marks=pytest.mark.slow)])
def test_fresh_adapters_change_no_hidden_state(config: ModelConfig):
    model = with_lora(build_model(config), LOW)
    params = jax.jit(model.init)(jax.random.key(1))
    np.testing.assert_array_equal(states(model, params), states(build_model(config), base_of(params)))


@pytest.mark.parametrize("config", [DENSE, pytest.param(LATENT, marks=pytest.mark.slow)])
def test_merged_parameters_compute_what_adapted_ones_do_and_both_differ_from_the_base(config: ModelConfig):
    model = with_lora(build_model(config), LOW)
    params = disturbed(model)
    plain = without_lora(model)
    whole = merge_adapters(LOW, params)
    assert jax.tree.map(jnp.shape, whole) == jax.tree.map(jnp.shape, plain.shapes)
    adapted = states(model, params)
    np.testing.assert_allclose(adapted, states(plain, whole), atol=1e-4)
    assert np.abs(adapted - states(plain, base_of(params))).max() > 0.1


def test_a_merged_matrix_is_the_sum_that_the_paper_defines():
    model = with_lora(build_model(DENSE), LoRA(rank=3, alpha=1.5, targets=("query", "output", "down")))
    params = disturbed(model)
    block, whole = params["stack_0"]["block_0"], merge_adapters(LoRA(3, 1.5), params)["stack_0"]["block_0"]
    for part, name, equation in (
        ("attention", "query", "ldr,lrhc->ldhc"),
        ("attention", "output", "lhcr,lrd->lhcd"),
        ("mlp", "down", "lfr,lrd->lfd"),
    ):
        narrow = block[part][f"{name}_lora"]
        change = np.einsum(equation, np.float64(narrow["down"]), np.float64(narrow["up"])) * 0.5
        np.testing.assert_allclose(whole[part][name], np.float64(block[part][name]) + change, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(whole["attention"]["key"], block["attention"]["key"])


@pytest.mark.slow
def test_gradients_of_adapters_are_those_of_the_merged_matrix_projected():
    model = with_lora(build_model(DENSE), LOW)
    plain, params = without_lora(model), disturbed(model)
    base, adapters = base_of(params), adapters_of(params)
    narrow = jax.grad(lambda part: jnp.sum(jnp.sin(states(model, with_adapters(base, part)))))(adapters)
    wide = jax.grad(lambda whole: jnp.sum(jnp.sin(states(plain, whole))))(merge_adapters(LOW, params))
    compared = 0
    for part, name, inputs in (("attention", "value", 1), ("attention", "output", 2), ("mlp", "gate", 1)):
        gradient, pair = wide["stack_0"]["block_0"][part][name], adapters["stack_0"]["block_0"][part][f"{name}_lora"]
        layers, rank = pair["up"].shape[:2]
        into = int(np.prod(gradient.shape[1 : 1 + inputs]))
        gradient_LIO = np.float64(gradient).reshape(layers, into, -1)
        down_LIr, up_LrO = np.float64(pair["down"]).reshape(layers, into, rank), np.float64(pair["up"])
        up_LrO = up_LrO.reshape(layers, rank, -1)
        found = narrow["stack_0"]["block_0"][part][f"{name}_lora"]
        expected = {
            "down": 2.0 * np.einsum("lio,lro->lir", gradient_LIO, up_LrO),
            "up": 2.0 * np.einsum("lir,lio->lro", down_LIr, gradient_LIO),
        }
        for side, values in expected.items():
            # Sums of 18 tokens in float32: what cancels is as exact as its largest neighbour.
            scale = 1e-4 * np.abs(values).max()
            np.testing.assert_allclose(np.reshape(found[side], values.shape), values, rtol=0, atol=scale)
            assert np.abs(values).max() > 1e-2
            compared += 1
    assert compared == 6


def test_only_named_matrices_are_adapted_and_of_experts_none():
    some = with_lora(build_model(DENSE), LoRA(rank=2, alpha=1.0, targets=("value", "up")))
    assert {name for name, _ in leaves(adapters_of(some.shapes))} == {
        f"stack_0/block_0/{matrix}_lora/{side}" for matrix in ("attention/value", "mlp/up") for side in ("down", "up")
    }
    names = {name.rsplit("_lora")[0] for name, _ in leaves(adapters_of(with_lora(build_model(LATENT), LOW).shapes))}
    latent = ("query_down", "query_up", "latent_down", "rotary_key", "key_up", "value_up", "output")
    assert names == {
        *(f"stack_{stack}/block_0/attention/{name}" for stack in (0, 1) for name in latent),
        "stack_0/block_0/mlp/up",
        "stack_0/block_0/mlp/down",
        *(f"stack_1/block_0/moe/shared/{name}" for name in ("gate", "up", "down")),
    }


def test_adapters_have_the_sizes_of_rank_and_axes_and_join_and_part_without_loss():
    model = with_lora(build_model(DENSE), LOW)
    sizes = {name: leaf.shape for name, leaf in leaves(adapters_of(model.shapes))}
    assert sizes["stack_0/block_0/attention/key_lora/down"] == (2, 16, 3)
    assert sizes["stack_0/block_0/attention/key_lora/up"] == (2, 3, 2, 4)
    assert sizes["stack_0/block_0/attention/output_lora/down"] == (2, 4, 4, 3)
    assert sizes["stack_0/block_0/mlp/down_lora/up"] == (2, 3, 16)
    params = jax.jit(model.init)(jax.random.key(0))
    again = with_adapters(base_of(params), adapters_of(params))
    assert jax.tree.structure(again) == jax.tree.structure(params)
    assert all(one is other for one, other in zip(jax.tree.leaves(again), jax.tree.leaves(params), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("shape", [MeshShape(data=1, fsdp=8), MeshShape(data=2, fsdp=2, tensor=2)])
def test_an_adapted_model_gives_the_same_states_on_any_mesh(shape: MeshShape):
    mesh = build_mesh(shape)
    alone, spread = with_lora(build_model(DENSE), LOW), with_lora(build_model(DENSE, mesh), LOW)
    params = disturbed(alone)
    placed = jax.device_put(params, parameter_shardings(spread, mesh))
    tokens = jax.random.randint(jax.random.key(5), (8, 9), 0, 48)
    batch = (tokens, jnp.broadcast_to(jnp.arange(9), (8, 9)), jnp.ones_like(tokens))
    found, _ = jax.jit(spread.hidden_states)(placed, *(jax.device_put(leaf, row_sharding(mesh)) for leaf in batch))
    np.testing.assert_allclose(found, jax.jit(alone.hidden_states)(params, *batch)[0], atol=1e-4)
    fresh = init_adapters(spread, mesh, jax.random.key(3))
    assert fresh["stack_0"]["block_0"]["mlp"]["up_lora"]["down"].sharding.spec[1] == "fsdp"
    jax.tree.map(
        lambda one, other: np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5),
        fresh,
        init_adapters(alone, build_mesh(MeshShape(), jax.devices()[:1]), jax.random.key(3)),
    )


def test_published_weights_are_the_plain_models_and_decode_as_the_adapted_one_computes():
    model = with_lora(build_model(DENSE), LOW)
    params, plain = disturbed(model), without_lora(model)
    weights = model.publish(params)
    assert jax.tree.map(jnp.shape, weights) == jax.tree.map(jnp.shape, jax.eval_shape(plain.publish, plain.shapes))
    tokens = jax.random.randint(jax.random.key(5), (2, 9), 0, 48)
    cache = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), model.cache_shapes(2, 12))
    found, _ = jax.jit(model.extend)(weights, tokens, cache)
    np.testing.assert_allclose(found, states(model, params), atol=1e-4)


def test_without_lora_the_model_is_the_very_same():
    model = build_model(DENSE)
    assert with_lora(model, None) is model and without_lora(model) is model
    assert without_lora(with_lora(model, LOW)) is model
    assert with_lora(model, LOW) is with_lora(model, LoRA(3, 6.0))


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (("query", "w1"), "LoRA can't adapt w1; its targets are among query"),
        (("query", "query"), "name one twice"),
    ],
)
def test_targets_that_no_model_has_are_refused(targets: tuple[str, ...], message: str):
    with pytest.raises(InputError, match=message):
        LoRA(rank=2, alpha=1.0, targets=targets)


def test_targets_that_this_model_lacks_are_refused():
    with pytest.raises(InputError, match="LoRA finds no latent_down, no key_up to adapt"):
        with_lora(build_model(DENSE), LoRA(2, 1.0, ("latent_down", "query", "key_up")))
    routed = replace(DENSE, stacks=(Stack(1, (BlockKind(moe=replace(EXPERTS, shared=0)),)),))
    with pytest.raises(InputError, match=r"LoRA finds no gate to adapt in this model \(a router's experts"):
        with_lora(build_model(routed), LoRA(2, 1.0, ("gate",)))
