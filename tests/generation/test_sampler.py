"""What is drawn at one place, and from which stream; what a sampler samples is shown in ``test_engine``."""

import jax
import numpy as np
import pytest

from reasoning.generation.sampler import draw, prompt_keys
from reasoning.generation.truncation import Truncation

drawn = jax.jit(draw)


def keys_of(count: int) -> jax.Array:
    return jax.jit(prompt_keys)(jax.random.key(0), np.arange(count))


def logits_of(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(5, 40)).astype(np.float32)


@jax.jit
@jax.vmap
def noise_of(key: jax.Array, place: jax.Array) -> jax.Array:
    return jax.random.gumbel(jax.random.fold_in(key, place), (40,))


def test_a_slot_draws_by_its_requests_key_and_its_own_place_whatever_the_others_do():
    logits, keys, places, heat = logits_of(1), keys_of(5), np.array([0, 7, 7, 2, 30]), np.float32(0.7)
    tokens, log_probs = map(np.asarray, drawn(logits, keys, places, heat, None))
    noise = np.asarray(noise_of(keys, places))
    for row in range(5):
        assert tokens[row] == np.argmax(logits[row] / 0.7 + noise[row])
        exact = np.asarray(logits[row], np.float64) / 0.7
        np.testing.assert_allclose(log_probs[row], exact[tokens[row]] - np.log(np.exp(exact).sum()), atol=1e-5)
    order = np.array([3, 0, 4])
    again = drawn(logits[order], keys[order], places[order], heat, None)
    np.testing.assert_array_equal(again[0], tokens[order])


@pytest.mark.parametrize("rule", [None, Truncation(1, 0.1, 0.9)])
def test_temperature_zero_takes_the_likeliest(rule: Truncation | None):
    logits = logits_of(2)
    traced = None if rule is None else rule.traced()
    tokens, _ = drawn(logits, keys_of(5), np.zeros(5, np.int32), np.float32(0), traced)
    np.testing.assert_array_equal(tokens, np.argmax(logits, axis=-1))
