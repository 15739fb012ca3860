"""Routers against loops over tokens, written from the papers' formulas."""

import jax
import jax.numpy as jnp
import numpy as np

from reasoning.models.config import MoE
from reasoning.models.routing import affinities, choose_experts, expert_loads, imbalance, rebalanced

LOGITS = np.random.default_rng(0).normal(size=(2, 5, 8))
BIAS = np.random.default_rng(1).normal(size=8)


def test_a_softmax_router_takes_the_likeliest_and_renormalises():
    moe = MoE(experts=8, active=3, mlp_width=4)
    chosen, weights = choose_experts(moe, affinities(moe, jnp.asarray(LOGITS)), None)
    for token in np.ndindex(2, 5):
        probabilities = np.exp(LOGITS[token]) / np.exp(LOGITS[token]).sum()
        best = np.argsort(-probabilities)[:3]
        np.testing.assert_array_equal(chosen[token], best)
        np.testing.assert_allclose(weights[token], probabilities[best] / probabilities[best].sum(), rtol=1e-5)


def test_without_renormalising_the_weights_are_probabilities():
    moe = MoE(experts=8, active=8, mlp_width=4, renormalise=False)
    _, weights = choose_experts(moe, affinities(moe, jnp.asarray(LOGITS)), None)
    np.testing.assert_allclose(jnp.sum(weights, axis=-1), 1.0, rtol=1e-5)


def test_a_sigmoid_router_chooses_by_bias_within_the_best_groups_and_weighs_without():
    moe = MoE(experts=8, active=2, mlp_width=4, router="sigmoid", scale=2.5, groups=4, active_groups=2)
    chosen, weights = choose_experts(moe, affinities(moe, jnp.asarray(LOGITS)), jnp.asarray(BIAS))
    for token in np.ndindex(2, 5):
        scores = 1 / (1 + np.exp(-LOGITS[token]))
        wanted = scores + BIAS
        worth = wanted.reshape(4, 2).sum(axis=1)  # the best two of two
        groups = np.argsort(-worth)[:2]
        allowed = [expert for expert in range(8) if expert // 2 in groups]
        best = sorted(allowed, key=lambda expert: -wanted[expert])[:2]
        assert list(chosen[token]) == best
        np.testing.assert_allclose(weights[token], 2.5 * scores[best] / scores[best].sum(), rtol=1e-5)


def test_the_bias_gets_no_gradient():
    moe = MoE(experts=8, active=2, mlp_width=4, router="sigmoid")

    def weighed(bias):
        return jnp.sum(choose_experts(moe, affinities(moe, jnp.asarray(LOGITS)), bias)[1] ** 2)

    np.testing.assert_array_equal(jax.grad(weighed)(jnp.asarray(BIAS)), 0.0)


def test_loads_count_only_tokens_that_count():
    moe = MoE(experts=4, active=2, mlp_width=4)
    chosen = jnp.asarray([[[0, 1], [0, 2], [3, 0]]])
    np.testing.assert_array_equal(expert_loads(moe, chosen, jnp.asarray([[1.0, 1.0, 0.0]])), [[2, 1, 1, 0]])


def test_the_balance_loss_is_one_when_even_and_the_number_of_experts_when_all_go_to_one():
    moe = MoE(experts=4, active=1, mlp_width=4, router="sigmoid")
    counted = jnp.ones((1, 4))
    even = jax.nn.one_hot(jnp.arange(4), 4)[None]
    load = expert_loads(moe, jnp.arange(4)[None, :, None], counted)
    np.testing.assert_allclose(imbalance(moe, even, load, counted), [1.0], rtol=1e-6)
    one = jax.nn.one_hot(jnp.zeros(4, jnp.int32), 4)[None]
    load = expert_loads(moe, jnp.zeros((1, 4, 1), jnp.int32), counted)
    np.testing.assert_allclose(imbalance(moe, one, load, counted), [4.0], rtol=1e-6)


def test_padding_changes_no_balance_loss():
    moe = MoE(experts=8, active=2, mlp_width=4)
    scores = affinities(moe, jnp.asarray(LOGITS))
    chosen, _ = choose_experts(moe, scores, None)
    counted = jnp.asarray([[1.0, 1, 1, 0, 0]] * 2)
    padded = imbalance(moe, scores, expert_loads(moe, chosen, counted), counted)
    short = (scores[:, :3], expert_loads(moe, chosen[:, :3], counted[:, :3]), counted[:, :3])
    np.testing.assert_allclose(padded, imbalance(moe, *short), rtol=1e-5)


def test_biases_move_by_the_rate_towards_an_even_load():
    moe = MoE(experts=3, active=1, mlp_width=4, router="sigmoid", bias_rate=0.001)
    moved = rebalanced(moe, jnp.zeros((1, 3)), jnp.asarray([[9.0, 3.0, 6.0]]))
    np.testing.assert_allclose(moved, [[-0.001, 0.001, 0.0]])
