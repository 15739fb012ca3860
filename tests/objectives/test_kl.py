"""Estimates of KL against the exact divergence, its exact gradient and their own formulas in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import log_softmax, rel_entr

from reasoning.objectives.kl import k1, k2, k3


def policies():
    random = np.random.default_rng(0)
    return log_softmax(random.normal(size=(2, 9)), axis=-1)


def estimated(estimate):
    """An estimate of each of nine tokens."""
    return np.asarray(estimate(*(jnp.asarray(log_probs, jnp.float32)[None, :] for log_probs in policies())))[0]


@pytest.mark.parametrize("estimate", [k1, k3])
def test_the_expectation_under_the_policy_is_the_exact_divergence(estimate):
    policy, reference = policies()
    exact = rel_entr(np.exp(policy), np.exp(reference)).sum()
    np.testing.assert_allclose(np.sum(np.exp(policy) * estimated(estimate)), exact, rtol=1e-5)


def test_k2_is_half_the_square_of_k1_and_only_k1_is_ever_negative():
    np.testing.assert_allclose(estimated(k2), estimated(k1) ** 2 / 2, rtol=1e-6)
    assert np.all(estimated(k3) >= 0) and np.all(estimated(k2) >= 0) and np.any(estimated(k1) < 0)


@pytest.mark.parametrize(("estimate", "is_exact"), [(k1, False), (k2, True), (k3, False)])
def test_only_the_gradient_of_k2_is_that_of_the_divergence_and_that_of_k1_is_nothing(estimate, is_exact):
    """Expectations under the policy over logits x of log p: sum over tokens of p times the gradient of the estimate."""
    policy, reference = (jnp.asarray(log_probs, jnp.float32) for log_probs in policies())

    def expected(x):
        return jnp.sum(jnp.exp(policy) * estimate(jax.nn.log_softmax(x)[None], reference[None])[0])

    def divergence(x):
        log_probs = jax.nn.log_softmax(x)
        return jnp.sum(jnp.exp(log_probs) * (log_probs - reference))

    ours, exact = jax.grad(expected)(policy), jax.grad(divergence)(policy)
    assert np.allclose(ours, exact, atol=1e-6) == is_exact
    assert np.allclose(ours, 0, atol=1e-6) == (estimate is k1)


def test_k3_keeps_its_digits_where_the_policy_has_hardly_moved():
    difference = np.float32(2.0**-12)
    expected = np.expm1(np.float64(difference)) - np.float64(difference)
    estimate = k3(jnp.zeros((1, 1)), jnp.full((1, 1), difference))
    np.testing.assert_allclose(estimate, [[expected]], rtol=1e-3)


def test_the_gradient_of_k3_is_one_minus_the_ratio_and_zero_at_the_reference():
    new, reference = jnp.asarray([[-1.0, -2.0]]), jnp.asarray([[-1.0, -1.5]])
    gradient = jax.grad(lambda x: k3(x, reference).sum())(new)
    np.testing.assert_allclose(gradient, [[0.0, 1 - np.exp(0.5)]], rtol=1e-6, atol=1e-7)
