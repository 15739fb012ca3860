"""Divergences of models whose logits are capped, each by its own cap, against the definition in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import log_softmax

from reasoning.core.errors import InputError
from reasoning.kernels.token_divergence import token_divergence
from reasoning.objectives.divergence import forward

random = np.random.default_rng(0)
HIDDEN, MATRIX = 2 * random.normal(size=(2, 9, 4)), random.normal(size=(4, 11))
TEACHER, TEACHER_MATRIX = 2 * random.normal(size=(2, 9, 3)), random.normal(size=(3, 11))
CAPS = (1.5, 4.0)


def forward_kl(hidden: np.ndarray, caps: tuple[float, float], temperature: float) -> np.ndarray:
    log_q = log_softmax(caps[0] * np.tanh(hidden @ MATRIX / caps[0]) / temperature, axis=-1)
    log_p = log_softmax(caps[1] * np.tanh(TEACHER @ TEACHER_MATRIX / caps[1]) / temperature, axis=-1)
    return (np.exp(log_p) * (log_p - log_q)).sum(-1)


def fused(hidden, caps, temperature=1.0):
    others = (jnp.asarray(x, jnp.float32) for x in (MATRIX, TEACHER, TEACHER_MATRIX))
    return token_divergence(
        jnp.asarray(hidden, jnp.float32), *others, divergence=forward, temperature=temperature, soft_caps=caps
    )


def test_each_models_logits_are_capped_by_its_own_cap_before_the_temperature():
    np.testing.assert_allclose(fused(HIDDEN, CAPS, 0.7), forward_kl(HIDDEN, CAPS, 0.7), rtol=1e-4, atol=1e-5)


def test_the_gradient_passes_the_students_cap():
    gradient = jax.grad(lambda hidden: jnp.sum(fused(hidden, CAPS)))(jnp.asarray(HIDDEN, jnp.float32))
    step, place = 1e-5, np.zeros_like(HIDDEN)
    place[1, 4, 2] = step
    slope = (forward_kl(HIDDEN + place, CAPS, 1.0) - forward_kl(HIDDEN - place, CAPS, 1.0)).sum() / (2 * step)
    np.testing.assert_allclose(gradient[1, 4, 2], slope, rtol=1e-3)


def test_a_cap_that_is_not_positive_is_refused():
    with pytest.raises(InputError, match="soft_cap is 0"):
        fused(HIDDEN, (None, 0.0))
