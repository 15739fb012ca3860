"""Decoding with a cache gives what a pass over the whole row gives."""

import re
from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from drawn import drawn

from reasoning.kernels.attention import decoding, ragged
from reasoning.models.config import BlockKind, Latent, ModelConfig, MoE, Stack
from reasoning.models.model import Model, build_model

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
WINDOWED = ModelConfig(
    vocabulary=48,
    width=16,
    heads=4,
    kv_heads=2,
    mlp_width=32,
    stacks=(Stack(1, (BlockKind(window=6), BlockKind())),),
    context=40,
)
EXPERTS = MoE(experts=8, active=2, mlp_width=16, shared=1, router="sigmoid", groups=4, active_groups=2)
LATENT = ModelConfig(
    vocabulary=64,
    width=32,
    heads=4,
    mlp_width=48,
    stacks=(Stack(1), Stack(2, (BlockKind(moe=EXPERTS),))),
    context=32,
    latent=Latent(kv_lora_rank=16, q_lora_rank=12, qk_nope_head_dim=8, qk_rope_head_dim=4, v_head_dim=8),
)


def empty(model: Model, slots: int, length: int) -> dict:
    return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), model.cache_shapes(slots, length))


def test_the_slot_is_the_first_axis_of_every_leaf_and_latent_attention_holds_one_head():
    shapes = build_model(TINY).cache_shapes(3, 20)
    assert {leaf.shape for leaf in jax.tree.leaves(shapes["layers"])} == {(3, 2, 20, 4)}
    assert len(shapes["layers"]) == 2 and shapes["length"].shape == (3,)
    held = build_model(LATENT).cache_shapes(2, 16)["layers"]
    assert {leaf.shape for layer in held for leaf in layer} == {(2, 1, 16, 16), (2, 1, 16, 4)}


def test_a_layer_with_a_window_holds_no_more_than_it_and_reads_what_a_whole_pass_does():
    model = build_model(WINDOWED)
    params, lengths = drawn(model.shapes, 0, 0.2), np.array([5, 3, 17])
    weights, rows = model.publish(params), np.arange(3)
    tokens = np.array(jax.random.randint(jax.random.key(5), (3, 30), 0, 48))
    positions = jnp.broadcast_to(jnp.arange(30), (3, 30))
    expected, _ = jax.jit(model.hidden_states)(params, jnp.asarray(tokens), positions, jnp.ones((3, 30), jnp.int32))
    assert [layer[0].shape[2] for layer in empty(model, 3, 30)["layers"]] == [6, 30]
    assert [layer[0].shape[2] for layer in empty(model, 3, 5)["layers"]] == [5, 5]
    prefill, decode = jax.jit(model.prefill), jax.jit(model.decode)
    for piece in (17, 7):  # prompts at once, and in pieces of which some have no token left
        cache = empty(model, 3, 30)
        for start in range(0, 17, piece):
            left = np.clip(lengths - start, 0, piece)
            hidden, cache = prefill(weights, tokens[:, start : start + piece], left, cache)
            np.testing.assert_allclose(hidden[left > 0], expected[rows, start + left - 1][left > 0], atol=2e-5)
        for step in range(12):
            hidden, cache = decode(weights, tokens[rows, lengths + step], cache)
            np.testing.assert_allclose(hidden, expected[rows, lengths + step], atol=2e-5)
        np.testing.assert_array_equal(cache["length"], lengths + 12)


def test_what_lies_beyond_a_slots_length_changes_nothing():
    model = build_model(TINY)
    weights = model.publish(drawn(model.shapes, 0, 0.2))
    tokens = jax.random.randint(jax.random.key(1), (2, 6), 0, 48)
    _, cache = jax.jit(model.extend)(weights, tokens, empty(model, 2, 12))
    shorter = {**cache, "length": jnp.asarray([2, 4])}
    noise = jax.tree.map(lambda leaf: leaf.at[0, :, 2:].set(9.0).at[1, :, 4:].set(-9.0), cache["layers"])
    after, _ = jax.jit(model.decode)(weights, jnp.asarray([5, 6]), shorter)
    with_noise, _ = jax.jit(model.decode)(weights, jnp.asarray([5, 6]), {**shorter, "layers": noise})
    np.testing.assert_array_equal(after, with_noise)


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_rows_are_written_in_place_and_angles_are_made_once_for_all_layers(dtype: str, rows: int):
    model = build_model(replace(TINY, compute_dtype=dtype))
    cache = model.cache_shapes(rows, 12)
    weights = jax.eval_shape(model.publish, model.shapes)

    def decoded(weights: dict, cache: dict) -> dict:
        def step(number: jax.Array, now: tuple[jax.Array, dict]) -> tuple[jax.Array, dict]:
            hidden, held = model.decode(weights, jnp.argmax(now[0], axis=-1).astype(jnp.int32), now[1])
            return hidden, held

        return jax.lax.fori_loop(0, 8, step, (jnp.zeros((rows, 16), dtype), cache))[1]

    text = jax.jit(decoded, donate_argnums=1).lower(weights, cache).compile().as_text()
    assert f"f32[{rows},2,12,4]" in text
    assert not re.findall(rf"= \w+\[(?:{rows},)?2,12,4\]\S* (?:copy|convert)\(", text)
    assert len(re.findall(r" cosine\(", text)) == 1


def test_published_layers_are_the_slices_of_the_stack():
    model = build_model(TINY)
    params = drawn(model.shapes, 0, 0.2)
    stacked = params["stack_0"]["block_0"]
    for number, layer in enumerate(model.publish(params)["stack_0"]["block_0"]):
        jax.tree.map(
            lambda one, all_layers, at=number: np.testing.assert_array_equal(one, all_layers[at]), layer, stacked
        )


@pytest.mark.parametrize("config", [TINY, pytest.param(LATENT, marks=pytest.mark.slow)])
def test_a_long_cache_of_which_little_is_used_gives_what_a_short_one_does(config: ModelConfig):
    model = build_model(config)
    weights = model.publish(drawn(model.shapes, 0, 0.2))
    tokens = jax.random.randint(jax.random.key(1), (3, 10), 0, 48)
    extend, decode = jax.jit(model.extend), jax.jit(model.decode)
    for filled in (0, 130):  # from 130 on the longest row crosses from a part of the long cache to the whole of it
        found = []
        for length in (140, 1100):
            noise = [jax.random.normal(jax.random.key(2), leaf.shape) for leaf in empty(model, 3, 140)["layers"][0]]
            cache = empty(model, 3, length)
            held = tuple(
                tuple(leaf.at[:, :, :140].set(part) for leaf, part in zip(layer, noise, strict=True))
                for layer in cache["layers"]
            )
            hidden, cache = extend(weights, tokens[:, :4], {"layers": held, "length": jnp.asarray([filled, 0, 3])})
            states = [hidden[:, -1]]
            for place in range(4, 10):
                state, cache = decode(weights, tokens[:, place], cache)
                states.append(state)
            found.append(np.stack(states))
        np.testing.assert_allclose(found[0], found[1], atol=2e-5)


CAPPED = replace(WINDOWED, attention_soft_cap=3.0, sinks=True)


@pytest.mark.parametrize("config", [CAPPED, LATENT], ids=("a window, a cap and sinks", "latent"))
def test_the_kernel_for_one_new_token_gives_what_plain_products_do(
    config: ModelConfig, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(ragged, "_UNIT", 8)
    monkeypatch.setattr(decoding, "_WORTH", 0)
    config, found = replace(config, context=64), []
    for kernels in ("chunked", "pallas_tpu_interpreted"):
        model = build_model(config, None, kernels)
        weights = model.publish(drawn(model.shapes, 0, 0.2))
        cache = empty(model, 4, 33)
        noise = jax.tree.map(lambda leaf: jax.random.normal(jax.random.key(2), leaf.shape), cache["layers"])
        cache = {"layers": noise, "length": jnp.asarray([0, 4, 17, 31])}
        state, cache = jax.jit(model.decode)(weights, jnp.arange(4), cache)
        found.append((state, cache))
        assert (kernels == "chunked") == (
            "ragged_attention" not in str(jax.make_jaxpr(model.decode)(weights, jnp.arange(4), cache))
        )
    jax.tree.map(partial(np.testing.assert_allclose, atol=1e-5), *found)


@pytest.mark.slow
@pytest.mark.parametrize("config", [TINY, PLAIN])
def test_greedy_decoding_with_a_cache_equals_argmax_of_full_forwards(config: ModelConfig):
    model = build_model(config)
    params = drawn(model.shapes, 0, 0.2)
    lengths = np.array([5, 3, 7])
    tokens = np.array(jax.random.randint(jax.random.key(5), (3, 7), 0, 48))
    weights, head = model.publish(params), model.unembedding(params)
    cache = empty(model, 3, 20)
    hidden, cache = jax.jit(model.prefill)(weights, jnp.asarray(tokens), jnp.asarray(lengths), cache)
    texts = [list(tokens[row, : lengths[row]]) for row in range(3)]
    for _ in range(8):
        chosen = np.array(jnp.argmax(hidden @ head, axis=-1))
        for row, text in enumerate(texts):
            full = np.array([text + [0] * (20 - len(text))])
            states, _ = jax.jit(model.hidden_states)(params, full, np.arange(20)[None], np.ones_like(full))
            state = states[0, len(text) - 1]
            assert int(jnp.argmax(state @ head)) == chosen[row]
            np.testing.assert_allclose(state, hidden[row], atol=2e-5)
            text.append(chosen[row])
        hidden, cache = jax.jit(model.decode)(weights, jnp.asarray(chosen), cache)
    np.testing.assert_array_equal(cache["length"], lengths + 8)


@pytest.mark.slow
def test_a_decoder_with_experts_and_latent_attention_decodes_what_it_reads():
    model = build_model(LATENT)
    params = drawn(model.shapes, 0, 0.2)
    tokens = jax.random.randint(jax.random.key(1), (2, 12), 0, 64)
    positions = jnp.broadcast_to(jnp.arange(12), (2, 12))
    whole, _ = jax.jit(model.hidden_states)(params, tokens, positions, jnp.ones_like(tokens))
    weights = model.publish(params)
    cache = empty(model, 2, 16)
    first, cache = jax.jit(model.extend)(weights, tokens[:, :7], cache)
    np.testing.assert_allclose(first, whole[:, :7], atol=1e-4)
    rest, cache = jax.jit(model.extend)(weights, tokens[:, 7:], cache)
    np.testing.assert_allclose(rest, whole[:, 7:], atol=1e-4)
