"""What is drawn at one place, and from which stream; what a sampler samples is shown in ``test_engine``."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from reasoning.generation.sampler import draw, prompt_keys
from reasoning.generation.truncation import Truncation


def keys_of(count: int) -> jax.Array:
    return prompt_keys(jax.random.key(0), jnp.arange(count))


def test_a_slot_draws_by_its_requests_key_and_its_own_place_whatever_the_others_do():
    logits = jax.random.normal(jax.random.key(1), (5, 40))
    keys, places, heat = keys_of(5), jnp.asarray([0, 7, 7, 2, 30]), jnp.float32(0.7)
    tokens, log_probs = draw(logits, keys, places, heat, None)
    for row in range(5):
        noise = jax.random.gumbel(jax.random.fold_in(keys[row], places[row]), (40,))
        assert tokens[row] == jnp.argmax(logits[row] / 0.7 + noise)
        exact = np.asarray(logits[row], np.float64) / 0.7
        np.testing.assert_allclose(log_probs[row], exact[tokens[row]] - np.log(np.exp(exact).sum()), atol=1e-5)
    order = jnp.asarray([3, 0, 4])
    again = draw(logits[order], keys[order], places[order], heat, None)
    np.testing.assert_array_equal(again[0], tokens[order])


@pytest.mark.parametrize("rule", [None, Truncation(1, 0.1, 0.9)])
def test_temperature_zero_takes_the_likeliest(rule: Truncation | None):
    logits = jax.random.normal(jax.random.key(2), (5, 40))
    traced = None if rule is None else rule.traced()
    tokens, _ = draw(logits, keys_of(5), jnp.zeros(5, jnp.int32), jnp.float32(0), traced)
    np.testing.assert_array_equal(tokens, jnp.argmax(logits, axis=-1))
