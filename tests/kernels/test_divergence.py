"""What the kernels make of a divergence: its values and derivatives, shipped ones and a user's own.

Legend: N tokens, V vocabulary.
"""

import divergences
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from divergences import OWN, SHIPPED, Unhashable
from scipy.special import log_softmax

from reasoning.core.errors import InputError
from reasoning.kernels.divergence import check_divergence, value_and_gradient
from reasoning.kernels.operands import MASKED

EACH = pytest.mark.parametrize("divergence", (SHIPPED | OWN).values(), ids=SHIPPED | OWN)


def logits_NV() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    return 2 * random.normal(size=(3, 7)), 2 * random.normal(size=(3, 7))


@EACH
def test_values_sum_to_the_divergence_of_the_papers(divergence):
    log_p, log_q = (log_softmax(each, axis=-1) for each in logits_NV())
    value_NV, _ = value_and_gradient(divergence, jnp.float32(log_p), jnp.float32(log_q))
    np.testing.assert_allclose(value_NV.sum(axis=-1), divergences.definition(divergence, log_p, log_q), rtol=1e-5)


@EACH
def test_the_students_logit_moves_by_the_derivative_less_q_times_the_sum_of_all(divergence):
    teacher_NV, student_NV = logits_NV()
    log_p = log_softmax(teacher_NV, axis=-1)
    with jax.enable_x64(True):
        log_q = log_softmax(student_NV, axis=-1)
        _, gradient_NV = value_and_gradient(divergence, jnp.asarray(log_p), jnp.asarray(log_q))
        of_logit_NV = gradient_NV - jnp.exp(log_q) * gradient_NV.sum(axis=-1, keepdims=True)
    for column in range(7):
        ends = []
        for step in (1e-6, -1e-6):
            moved_NV = student_NV.copy()
            moved_NV[:, column] += step
            ends.append(divergences.definition(divergence, log_p, log_softmax(moved_NV, axis=-1)))
        np.testing.assert_allclose(of_logit_NV[:, column], (ends[0] - ends[1]) / 2e-6, rtol=1e-6, atol=1e-9)


@EACH
def test_columns_without_any_probability_add_nothing(divergence):
    """Chunks rely on it for the padded columns of a cut vocabulary."""
    nothing = jnp.full((2, 3), MASKED)
    for found in value_and_gradient(divergence, nothing, nothing):
        np.testing.assert_array_equal(found, 0)


def test_what_is_no_function_has_no_hash_or_gives_no_value_for_each_column_is_refused():
    not_one: list = ["forward"]
    with pytest.raises(
        InputError, match="the divergence is 'forward', which is no function; give one of log p and log q"
    ):
        check_divergence(not_one[0])
    with pytest.raises(InputError, match=r"divergence is Unhashable\(order=0.3\), which has no hash"):
        check_divergence(Unhashable())
    with pytest.raises(
        InputError, match=r"gave \(3,\) for log-probabilities \(3, 7\); it must give a value for each column"
    ):
        value_and_gradient(lambda log_p, log_q: (log_q - log_p).sum(-1), jnp.zeros((3, 7)), jnp.zeros((3, 7)))
