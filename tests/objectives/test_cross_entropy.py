"""Cross-entropy is minus the log-probability."""

import jax.numpy as jnp
import numpy as np

from reasoning.objectives.cross_entropy import cross_entropy


def test_a_fair_coin_costs_one_bit():
    np.testing.assert_allclose(cross_entropy(jnp.log(jnp.full((2, 3), 0.5))), np.full((2, 3), np.log(2)))
