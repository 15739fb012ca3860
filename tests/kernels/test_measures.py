"""The terms of a divergence, column by column, for any two distributions.

Legend: V vocabulary.
"""

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_softmax

from reasoning.kernels.measures import Measure, terms

logits = st.lists(st.floats(-1e4, 1e4, width=32), min_size=5, max_size=5)
measures = st.sampled_from(
    [Measure("forward", 0.5), Measure("reverse", 0.5), Measure("jsd", 0.5), Measure("jsd", 0.01)]
)
terms_of = jax.jit(terms, static_argnums=2)


def log_probs(values: list[float]) -> jax.Array:
    return jnp.asarray(log_softmax(np.array(values, np.float64)), jnp.float32)


def exact(log_p: np.ndarray, log_q: np.ndarray, measure: Measure) -> float:
    """The divergence in float64 by the papers' formulas."""
    p, q, beta = np.exp(log_p), np.exp(log_q), measure.beta
    log_m = np.logaddexp(np.log(beta) + log_p, np.log(1 - beta) + log_q)
    return {
        "forward": (p * (log_p - log_q)).sum(),
        "reverse": (q * (log_q - log_p)).sum(),
        "jsd": (beta * p * (log_p - log_m) + (1 - beta) * q * (log_q - log_m)).sum(),
    }[measure.kind]


@given(teacher=logits, student=logits, measure=measures)
@settings(deadline=None)
def test_values_are_finite_never_negative_and_sum_to_the_divergence(teacher, student, measure):
    log_p, log_q = log_probs(teacher), log_probs(student)
    value_V, pull_V = terms_of(log_p, log_q, measure)
    assert np.isfinite(value_V).all() and np.isfinite(pull_V).all()
    assert np.min(value_V) >= -1e-6
    expected = exact(np.asarray(log_p, np.float64), np.asarray(log_q, np.float64), measure)
    np.testing.assert_allclose(np.sum(value_V), expected, rtol=1e-5, atol=5e-6)


@given(both=logits, measure=measures)
@settings(deadline=None)
def test_equal_distributions_give_exact_zeros(both, measure):
    value_V, pull_V = terms_of(log_probs(both), log_probs(both), measure)
    np.testing.assert_array_equal(value_V, 0)
    np.testing.assert_array_equal(pull_V, 0)


@given(teacher=logits, student=logits, beta=st.floats(0.01, 0.99))
@settings(deadline=None)
def test_the_mixture_keeps_the_divergence_below_that_of_a_coin(teacher, student, beta):
    """JSD(beta) is at most the entropy of a coin that falls on one side with beta (Lin 1991, theorem 4)."""
    log_p, log_q = log_probs(teacher), log_probs(student)
    value_V, _ = terms_of(log_p, log_q, Measure("jsd", float(np.float32(beta))))
    coin = -beta * np.log(beta) - (1 - beta) * np.log(1 - beta)
    assert np.sum(value_V) <= coin + 1e-5
