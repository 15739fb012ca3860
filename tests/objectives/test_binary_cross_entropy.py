"""Binary cross-entropy against its formula in float64."""

import jax.numpy as jnp
import numpy as np

from reasoning.objectives.binary_cross_entropy import binary_cross_entropy


def test_it_is_the_formula_and_far_logits_stay_finite():
    chance = np.random.default_rng(0)
    logits, labels = chance.normal(0, 3, (4, 5)), chance.random((4, 5))
    right = 1 / (1 + np.exp(-logits))
    expected = -labels * np.log(right) - (1 - labels) * np.log1p(-right)
    found = binary_cross_entropy(jnp.asarray(logits, jnp.float32), jnp.asarray(labels, jnp.float32))
    np.testing.assert_allclose(found, expected, rtol=2e-5)
    far = binary_cross_entropy(jnp.array([[200.0, -200.0, 200.0]]), jnp.array([[1.0, 0.0, 0.0]]))
    np.testing.assert_allclose(far, [[0.0, 0.0, 200.0]])
