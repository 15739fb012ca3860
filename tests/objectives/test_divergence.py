"""The k3 estimate against the exact KL divergence and its own formula in float64; the mixture with hard targets."""

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import log_softmax, rel_entr

from reasoning.objectives.divergence import k3, with_hard_targets


def policies():
    random = np.random.default_rng(0)
    return log_softmax(random.normal(size=(2, 9)), axis=-1)


def test_its_expectation_under_the_policy_is_the_exact_divergence():
    policy, reference = policies()
    estimates = np.asarray(k3(jnp.asarray(policy, jnp.float32)[None, :], jnp.asarray(reference, jnp.float32)[None, :]))[
        0
    ]
    exact = rel_entr(np.exp(policy), np.exp(reference)).sum()
    np.testing.assert_allclose(np.sum(np.exp(policy) * estimates), exact, rtol=1e-5)
    assert np.all(estimates >= 0)


def test_it_keeps_its_digits_where_the_policy_has_hardly_moved():
    difference = np.float32(2.0**-12)
    expected = np.expm1(np.float64(difference)) - np.float64(difference)
    estimate = k3(jnp.zeros((1, 1)), jnp.full((1, 1), difference))
    np.testing.assert_allclose(estimate, [[expected]], rtol=1e-3)


def test_its_gradient_is_one_minus_the_ratio_and_zero_at_the_reference():
    new, reference = jnp.asarray([[-1.0, -2.0]]), jnp.asarray([[-1.0, -1.5]])
    gradient = jax.grad(lambda x: k3(x, reference).sum())(new)
    np.testing.assert_allclose(gradient, [[0.0, 1 - np.exp(0.5)]], rtol=1e-6, atol=1e-7)


def test_the_gradient_of_softened_targets_does_not_fall_with_the_temperature():
    """Hinton et al., arXiv 1503.02531, section 2: at high temperature the gradient tends to a difference of logits."""
    student, teacher = jnp.asarray([0.3, -0.2, 0.1]), jnp.asarray([-0.1, 0.4, 0.0])

    def loss(logits: jax.Array, temperature: float) -> jax.Array:
        p = jax.nn.softmax(teacher / temperature)
        divergence = jnp.sum(p * (jax.nn.log_softmax(teacher / temperature) - jax.nn.log_softmax(logits / temperature)))
        cell = divergence.reshape(1, 1)
        return with_hard_targets(cell, jnp.zeros((1, 1)), temperature=temperature, coefficient=0.0)[0, 0]

    difference = (student - student.mean()) - (teacher - teacher.mean())
    for temperature in (20.0, 200.0):
        np.testing.assert_allclose(jax.grad(loss)(student, temperature), difference / 3, atol=0.01)


def test_the_coefficient_weighs_the_cross_entropy_alone():
    given = with_hard_targets(jnp.full((1, 2), 2.0), jnp.asarray([[1.0, 3.0]]), temperature=3.0, coefficient=0.5)
    np.testing.assert_allclose(given, [[18.5, 19.5]])
