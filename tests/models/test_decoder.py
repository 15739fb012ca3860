"""The decoder over whole rows: what tokens see, what is compiled, and what the backward pass may recompute."""

import re
from dataclasses import replace
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from drawn import drawn

from reasoning.models.config import BlockKind, Latent, ModelConfig, MoE, Stack
from reasoning.models.decoder import soft_capped
from reasoning.models.model import Model, build_model, parameter_count

LOCAL, GLOBAL = BlockKind(window=4), BlockKind()
DENSE, MIXTURE = BlockKind(), BlockKind(moe=MoE(experts=4, active=2, mlp_width=8, router="sigmoid"))
CONFIG = ModelConfig(vocabulary=32, width=16, heads=2, mlp_width=24, stacks=(Stack(1),), context=32)
TINY = replace(CONFIG, kv_heads=1)
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
GEMMA_3 = (Stack(2, (LOCAL,) * 5 + (GLOBAL,)), Stack(1, (LOCAL,) * 2))


def program(config: ModelConfig, backward: bool) -> str:
    """What is to be compiled for the hidden states of a batch, or for their sum's gradient."""
    model = build_model(config)
    tokens = jnp.zeros((2, 16), jnp.int32)

    def total(params: dict) -> jax.Array:
        return model.hidden_states(params, tokens, tokens, tokens + 1)[0].sum()

    return jax.jit(jax.grad(total) if backward else total).lower(model.shapes).as_text()


def products(config: ModelConfig, backward: bool) -> int:
    """How many matrix products the program has, each counted once, in a loop or not."""
    functions = {part.split("(")[0]: part for part in re.split(r"func\.func \w+ @", program(config, backward))[1:]}

    @cache
    def inside(name: str) -> int:
        called = re.findall(r"\bcall @([\w.]+)", functions[name])
        return functions[name].count("stablehlo.dot_general") + sum(map(inside, called))

    return inside("main")


@pytest.mark.parametrize("backward", (False, True))
@pytest.mark.parametrize("remat", ("none", "block"))
def test_a_pattern_compiles_each_run_of_equal_blocks_once(backward: bool, remat: str):
    config = replace(CONFIG, remat=remat)
    kinds = [products(replace(config, stacks=(Stack(3, (kind,)),)), backward) for kind in (LOCAL, GLOBAL)]
    assert kinds[0] == kinds[1] > 5
    assert products(replace(config, stacks=GEMMA_3), backward) == 3 * kinds[0]


def test_depth_adds_no_products():
    latent = replace(
        CONFIG, latent=Latent(kv_lora_rank=8, qk_nope_head_dim=8, qk_rope_head_dim=8, v_head_dim=8), head_dim=8
    )
    for stacks in ((Stack(1, (DENSE,)), Stack(2, (MIXTURE,))), GEMMA_3[:1]):
        config = replace(latent, stacks=stacks)
        deeper = replace(latent, stacks=tuple(replace(stack, count=3 * stack.count) for stack in stacks))
        assert products(config, backward=False) == products(deeper, backward=False)


def test_runs_compute_what_blocks_one_by_one_compute():
    kinds = (LOCAL, LOCAL, GLOBAL) * 2 + (LOCAL,)
    grouped = build_model(replace(CONFIG, stacks=(Stack(2, (LOCAL, LOCAL, GLOBAL)), Stack(1, (LOCAL,)))))
    alone = build_model(replace(CONFIG, stacks=tuple(Stack(1, (kind,)) for kind in kinds)))
    params = drawn(grouped.shapes, 0, 0.2)
    assert parameter_count(grouped) == parameter_count(alone)
    apart = {name: value for name, value in params.items() if not name.startswith("stack")}
    for number, layer in enumerate(grouped.config.each_layer()):
        own = jax.tree.map(lambda leaf, at=layer.index: leaf[at : at + 1], params[layer.stack][layer.block])
        apart[f"stack_{number}"] = {"block_0": own}
    assert [layer.kind for layer in grouped.config.each_layer()] == list(kinds)
    tokens = jax.random.randint(jax.random.key(1), (2, 16), 0, 32)
    positions = jnp.broadcast_to(jnp.arange(16), tokens.shape)
    inputs = (tokens, positions, jnp.ones_like(tokens))
    expected = jax.jit(alone.hidden_states)(apart, *inputs)[0]
    np.testing.assert_allclose(jax.jit(grouped.hidden_states)(params, *inputs)[0], expected, atol=1e-5)
    cache = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), grouped.cache_shapes(2, 16))
    np.testing.assert_allclose(jax.jit(grouped.extend)(grouped.publish(params), tokens, cache)[0], expected, atol=1e-5)


def rows_of(model: Model, batch: int, time: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Random tokens with the positions and segments of one document a row."""
    tokens = jax.random.randint(jax.random.key(5), (batch, time), 0, model.config.vocabulary)
    return tokens, jnp.broadcast_to(jnp.arange(time), (batch, time)), jnp.ones((batch, time), jnp.int32)


@pytest.mark.slow
def test_packed_documents_give_the_states_of_each_document_alone():
    model = build_model(PLAIN)
    params = drawn(model.shapes, 1, 0.2)
    tokens = rows_of(model, 1, 12)[0]
    positions = jnp.concatenate([jnp.arange(5), jnp.arange(7)])[None]
    segments = jnp.concatenate([jnp.ones(5, jnp.int32), jnp.full(7, 2)])[None]
    packed, _ = jax.jit(model.hidden_states)(params, tokens, positions, segments)
    alone, _ = jax.jit(model.hidden_states)(params, tokens[:, 5:], jnp.arange(7)[None], jnp.ones((1, 7), jnp.int32))
    np.testing.assert_allclose(packed[:, 5:], alone, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("remat", ["block", "dots", "offload"])
def test_rematerialisation_changes_no_gradient(remat: str):
    def gradient(choice: str):
        model = build_model(ModelConfig(**{**vars(TINY), "remat": choice}))
        batch = rows_of(model, 2, 8)
        return jax.jit(jax.grad(lambda p: jnp.sum(model.hidden_states(p, *batch)[0] ** 2)))(drawn(model.shapes, 0, 0.2))

    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), gradient(remat), gradient("none"))


def test_capped_logits_stay_within_the_cap_and_without_one_as_they_are():
    logits = jnp.asarray([-30.0, -1.0, 0.0, 0.1, 30.0])
    np.testing.assert_allclose(soft_capped(logits, 2.0), 2.0 * np.tanh(np.float64(logits) / 2.0), rtol=1e-6)
    np.testing.assert_array_equal(soft_capped(logits, None), logits)
