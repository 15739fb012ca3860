"""The mixture of experts against a loop over tokens, also when all go to one expert, also spread over devices."""

import functools
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from drawn import drawn
from flax import nnx

from reasoning.core.mesh import MeshShape, build_mesh
from reasoning.kernels.grouped import PLAIN, grouped_for
from reasoning.models import moe as mixture
from reasoning.models.config import BlockKind, Latent, ModelConfig, MoE, Stack
from reasoning.models.model import build_model, parameter_shardings
from reasoning.models.moe import Experts, MixtureOfExperts, mix_experts
from reasoning.models.parameters import Params, Placement
from reasoning.planning.shapes import arrays_pairing

EXPERTS, WIDTH, HIDDEN = 4, 6, 5
TINY = MoE(experts=8, active=2, mlp_width=16, shared=1, router="sigmoid", groups=4, active_groups=2, balance_loss=0.01)
CONFIG = ModelConfig(
    vocabulary=64,
    width=32,
    heads=4,
    mlp_width=48,
    stacks=(Stack(1), Stack(2, (BlockKind(moe=TINY),))),
    context=32,
    latent=Latent(kv_lora_rank=16, q_lora_rank=16, qk_nope_head_dim=8, qk_rope_head_dim=4, v_head_dim=8),
)


def experts_and_tokens(tokens: int) -> tuple[Experts, np.ndarray]:
    random = np.random.default_rng(0)
    shapes = [(EXPERTS, WIDTH, HIDDEN), (EXPERTS, HIDDEN, WIDTH), (EXPERTS, WIDTH, HIDDEN)]
    return Experts(*(jnp.asarray(random.normal(size=shape), jnp.float32) for shape in shapes)), random.normal(
        size=(tokens, WIDTH)
    ).astype(np.float32)


def by_hand(experts: Experts, x: np.ndarray, chosen: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """SwiGLU experts one token and one choice at a time, in float64."""
    up, down, gate = (np.asarray(matrix, np.float64) for matrix in experts[:3])
    biases = [0.0 if bias is None else np.asarray(bias, np.float64) for bias in experts[3:]]
    up_bias, down_bias, gate_bias = (
        np.broadcast_to(bias, (EXPERTS, 1)) if np.ndim(bias) == 0 else bias for bias in biases
    )
    out = np.zeros(x.shape)
    for token, choice in np.ndindex(*chosen.shape):
        expert = chosen[token, choice]
        opened = x[token] @ gate[expert] + gate_bias[expert]
        hidden = opened / (1 + np.exp(-opened)) * (x[token] @ up[expert] + up_bias[expert])
        out[token] += weights[token, choice] * (hidden @ down[expert] + down_bias[expert])
    return out


@pytest.mark.parametrize("chosen", ["any", "all to the same"])
def test_no_token_is_dropped(chosen):
    experts, x = experts_and_tokens(12)
    random = np.random.default_rng(1)
    picked = np.stack([random.permutation(EXPERTS)[:2] for _ in range(12)])
    if chosen == "all to the same":
        picked = np.tile([2, 0], (12, 1))
    weights = random.uniform(size=(12, 2)).astype(np.float32)
    found = mix_experts(PLAIN, "swiglu", experts, jnp.asarray(x), jnp.asarray(picked), jnp.asarray(weights), 0)
    np.testing.assert_allclose(found, by_hand(experts, x, picked, weights), rtol=2e-4, atol=1e-4)


def test_experts_may_have_biases():
    experts, x = experts_and_tokens(12)
    random = np.random.default_rng(1)
    sizes = {"up_bias_EF": HIDDEN, "down_bias_ED": WIDTH, "gate_bias_EF": HIDDEN}
    biases = {name: jnp.asarray(random.normal(size=(EXPERTS, size)), jnp.float32) for name, size in sizes.items()}
    biased = experts._replace(**biases)
    picked = np.stack([random.permutation(EXPERTS)[:2] for _ in range(12)])
    weights = random.uniform(size=(12, 2)).astype(np.float32)
    found = mix_experts(PLAIN, "swiglu", biased, jnp.asarray(x), jnp.asarray(picked), jnp.asarray(weights), 0)
    np.testing.assert_allclose(found, by_hand(biased, x, picked, weights), rtol=2e-4, atol=1e-4)


def test_devices_that_hold_some_experts_add_up_to_all():
    experts, x = experts_and_tokens(12)
    random = np.random.default_rng(1)
    picked = jnp.asarray(np.stack([random.permutation(EXPERTS)[:2] for _ in range(12)]))
    weights = jnp.asarray(random.uniform(size=(12, 2)), jnp.float32)
    parts = [
        mix_experts(
            PLAIN, "swiglu", jax.tree.map(lambda m, at=at: m[at : at + 2], experts), jnp.asarray(x), picked, weights, at
        )
        for at in (0, 2)
    ]
    whole = mix_experts(PLAIN, "swiglu", experts, jnp.asarray(x), picked, weights, 0)
    np.testing.assert_allclose(parts[0] + parts[1], whole, rtol=1e-4, atol=1e-4)


def loss_and_gradients(model, params, tokens):
    positions = jnp.broadcast_to(jnp.arange(tokens.shape[1]), tokens.shape)

    def loss(params):
        hidden, aux = model.hidden_states(params, tokens, positions, jnp.ones_like(tokens))
        return 1e-3 * jnp.sum((hidden @ model.unembedding(params)) ** 2) + jnp.sum(aux["balance"]), aux

    return jax.jit(jax.value_and_grad(loss, has_aux=True))(params)


@pytest.fixture(scope="module")
def alone():
    model = build_model(CONFIG)
    params = drawn(model.shapes, 0, 0.2)
    # One expert's bias is so high that every token goes there, and the others hardly see any.
    params["stack_1"]["block_0"]["moe"]["router_bias"] = jnp.zeros((2, 8)).at[0, 3].set(10.0)
    tokens = jax.random.randint(jax.random.key(1), (8, 12), 0, 64)
    return params, tokens, loss_and_gradients(model, params, tokens)


@pytest.mark.slow
def test_biases_are_added_once_where_experts_and_their_width_are_spread():
    moe = MoE(experts=8, active=2, mlp_width=16, biases=True, balance_loss=0.01)
    config = replace(CONFIG, latent=None, sinks=True, stacks=(Stack(1, (BlockKind("clamped_swiglu", moe=moe),)),))
    model = build_model(config)
    params = drawn(model.shapes, 2, 0.3)
    tokens = jax.random.randint(jax.random.key(1), (8, 12), 0, 64)
    (expected, _), gradients = loss_and_gradients(model, params, tokens)
    mesh = build_mesh(MeshShape(data=1, fsdp=2, expert=2, tensor=2))
    model = build_model(config, mesh)
    (found, _), of_params = loss_and_gradients(model, jax.device_put(params, parameter_shardings(model, mesh)), tokens)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4), of_params, gradients)


@pytest.mark.slow
@pytest.mark.parametrize(
    "sizes",
    [{"expert": 4, "tensor": 2}, {"fsdp": 2, "expert": 4}, {"data": 2, "context": 2, "expert": 2}, {"fsdp": 8}],
    ids=str,
)
def test_experts_spread_over_a_mesh_give_the_numbers_of_one_device(alone, sizes):
    params, tokens, ((expected, measured), gradients) = alone
    mesh = build_mesh(MeshShape(**{"data": 1, **sizes}))
    model = build_model(CONFIG, mesh)
    (found, aux), of_params = loss_and_gradients(
        model, jax.device_put(params, parameter_shardings(model, mesh)), tokens
    )
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=5e-5), of_params, gradients)
    np.testing.assert_array_equal(aux["load"]["stack_1"]["block_0"], measured["load"]["stack_1"]["block_0"])
    assert measured["load"]["stack_1"]["block_0"][0, 3] == tokens.size


@pytest.mark.slow
@pytest.mark.parametrize(
    "sizes",
    [{}, {"context": 2, "tensor": 2, "expert": 2}],
    ids=str,
)
def test_tokens_that_are_mixed_piece_by_piece_give_the_numbers_of_all_at_once(alone, sizes, monkeypatch):
    params, tokens, ((expected, _), gradients) = alone
    mesh = build_mesh(MeshShape(**{"data": 1, **sizes})) if sizes else None
    model = build_model(CONFIG, mesh)
    held = params if mesh is None else jax.device_put(params, parameter_shardings(model, mesh))
    # Of a device's tokens seven at most go at a time, which divides no number of them, so the last piece isn't full.
    monkeypatch.setattr(mixture, "_PIECE_BYTES", 7 * sizes.get("expert", 1) * TINY.active * CONFIG.width * 4)
    (found, _), of_params = loss_and_gradients(model, held, tokens)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=5e-5), of_params, gradients)


@pytest.mark.parametrize("piece_bytes", [mixture._PIECE_BYTES, 24 * 2 * 32 * 4], ids=["all at once", "in pieces"])
def test_kernels_of_tpus_give_the_numbers_of_plain_products_on_a_mesh(piece_bytes, monkeypatch):
    with nnx.use_eager_sharding(False):
        graph, state = nnx.split(MixtureOfExperts(CONFIG, TINY, "swiglu", nnx.Rngs(0)))
    params = nnx.to_pure_dict(state)
    x_BTD = jax.random.normal(jax.random.key(1), (8, 12, CONFIG.width))

    def loss(placement: Placement, params: Params, x_BTD: jax.Array) -> jax.Array:
        return jnp.sum(nnx.merge(graph, params)(x_BTD, None, placement)[0] ** 2)

    monkeypatch.setattr(mixture, "_PIECE_BYTES", piece_bytes)
    mesh = build_mesh(MeshShape(data=1, fsdp=2, expert=2, tensor=2))
    places = Placement(None), Placement(mesh, grouped_for("pallas_tpu_interpreted", mesh))
    expected, found = (
        jax.jit(jax.value_and_grad(functools.partial(loss, place), argnums=(0, 1)))(params, x_BTD) for place in places
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4), found, expected)


def test_a_piece_needs_no_more_memory_than_it_is_allowed(monkeypatch):
    tokens, width = 512, 64
    moe = MoE(experts=4, active=2, mlp_width=8)
    config = ModelConfig(
        vocabulary=8, width=width, heads=1, mlp_width=8, stacks=(Stack(1, (BlockKind(moe=moe),)),), context=tokens
    )
    monkeypatch.setattr(mixture, "_PIECE_BYTES", 64 * moe.active * width * 4)
    model = build_model(config)
    shaped = jax.ShapeDtypeStruct((1, tokens), jnp.int32)

    def loss(params, tokens):
        return jnp.sum(model.hidden_states(params, tokens, tokens, tokens)[0])

    traced = jax.make_jaxpr(jax.grad(loss))(model.shapes, shaped)
    assert not arrays_pairing(traced, width, moe.active * tokens, share=0.6)
