"""The mixture of a divergence with hard targets; the terms of each divergence, column by column, for any two
distributions.

Legend: V vocabulary.
"""

import divergences
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import log_softmax

from reasoning.core.errors import InputError
from reasoning.kernels.divergence import value_and_gradient
from reasoning.objectives.divergence import JSD, forward, metric_name, reverse, with_hard_targets


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


logits = st.lists(st.floats(-1e4, 1e4, width=32), min_size=5, max_size=5)
every = st.sampled_from([forward, reverse, JSD(), JSD(0.01)])
columns_of = jax.jit(value_and_gradient, static_argnums=0)


def log_probs(values: list[float]) -> jax.Array:
    return jnp.asarray(log_softmax(np.array(values, np.float64)), jnp.float32)


@given(teacher=logits, student=logits, divergence=every)
def test_values_are_finite_never_negative_and_sum_to_the_divergence(teacher, student, divergence):
    log_p, log_q = log_probs(teacher), log_probs(student)
    value_V, gradient_V = columns_of(divergence, log_p, log_q)
    assert np.isfinite(value_V).all() and np.isfinite(gradient_V).all()
    assert np.min(value_V) >= -1e-6
    expected = divergences.definition(divergence, np.asarray(log_p, np.float64), np.asarray(log_q, np.float64))
    np.testing.assert_allclose(np.sum(value_V), expected, rtol=1e-5, atol=5e-6)


@given(both=logits, divergence=every)
def test_equal_distributions_give_exact_zeros(both, divergence):
    value_V, gradient_V = columns_of(divergence, log_probs(both), log_probs(both))
    np.testing.assert_array_equal(value_V, 0)
    np.testing.assert_array_equal(gradient_V, 0)


@given(teacher=logits, student=logits, beta=st.floats(0.01, 0.99))
def test_the_mixture_keeps_the_divergence_below_that_of_a_coin(teacher, student, beta):
    """JSD(beta) is at most the entropy of a coin that falls on one side with beta (Lin 1991, theorem 4)."""
    log_p, log_q = log_probs(teacher), log_probs(student)
    value_V, _ = columns_of(JSD(float(np.float32(beta))), log_p, log_q)
    coin = -beta * np.log(beta) - (1 - beta) * np.log(1 - beta)
    assert np.sum(value_V) <= coin + 1e-5


@pytest.mark.parametrize("divergence", [forward, reverse, JSD(0.3)], ids=["forward", "reverse", "jsd"])
def test_the_exact_derivative_is_what_jax_takes_in_reverse_mode_too_and_the_teacher_gets_none(divergence):
    log_p, log_q = log_probs([0.3, -1.0, 2.0, 0.0, 1.0]), log_probs([1.0, 0.5, -2.0, 0.1, 0.0])
    of_teacher, of_student = jax.grad(lambda *both: divergence(*both).sum(), argnums=(0, 1))(log_p, log_q)
    np.testing.assert_array_equal(of_student, value_and_gradient(divergence, log_p, log_q)[1])
    np.testing.assert_array_equal(of_teacher, 0)


@pytest.mark.parametrize("beta", [0.0, 1.0, -0.1, float("nan")])
def test_a_mixture_of_one_distribution_alone_is_refused(beta):
    with pytest.raises(
        InputError, match=f"beta is {beta}; the teacher's share of the mixture must lie between 0 and 1"
    ):
        JSD(beta)


def test_a_metric_has_the_name_of_its_divergence_and_both_kl_have_one():
    assert [metric_name(each) for each in (forward, reverse, JSD(0.1))] == ["kl", "kl", "jsd"]
    assert metric_name(divergences.total_variation) == "total_variation"
    assert metric_name(divergences.Alpha(0.3)) == "Alpha"
