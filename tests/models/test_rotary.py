"""Rotary frequencies against what their papers say of the extremes, and the rotation itself."""

import jax.numpy as jnp
import numpy as np

from reasoning.models.config import Rope
from reasoning.models.rotary import cos_sin, frequencies, rotate

CHANNELS, CONTEXT = 64, 4096
PLAIN = 10_000.0 ** (-np.arange(0, CHANNELS, 2) / CHANNELS)
TURNS = CONTEXT * PLAIN / (2 * np.pi)


def test_without_scaling_they_fall_geometrically_from_one():
    np.testing.assert_allclose(frequencies(Rope(), CHANNELS), PLAIN, rtol=1e-6)


def test_linear_scaling_turns_a_position_as_far_as_a_nearer_one():
    scaled, plain = Rope(scaling="linear", factor=8.0), Rope()
    at = jnp.asarray([[16, 80]])
    np.testing.assert_allclose(cos_sin(at, scaled, CHANNELS), cos_sin(at // 8, plain, CHANNELS), atol=1e-5)


def test_llama3_keeps_what_turns_fast_and_divides_what_turns_slowly():
    found = frequencies(Rope(scaling="llama3", factor=8.0, original_context=CONTEXT), CHANNELS)
    np.testing.assert_allclose(found[TURNS > 4], PLAIN[TURNS > 4], rtol=1e-6)
    np.testing.assert_allclose(found[TURNS < 1], PLAIN[TURNS < 1] / 8, rtol=1e-6)
    between = (TURNS > 1) & (TURNS < 4)
    assert between.any()
    share = (TURNS[between] - 1) / 3
    np.testing.assert_allclose(found[between], PLAIN[between] * (share + (1 - share) / 8), rtol=1e-6)


def test_yarn_keeps_what_turns_fast_divides_what_turns_slowly_and_blends_between():
    found = frequencies(Rope(scaling="yarn", factor=40.0, original_context=CONTEXT), CHANNELS)
    np.testing.assert_allclose(found[TURNS > 40], PLAIN[TURNS > 40], rtol=1e-6)
    np.testing.assert_allclose(found[TURNS < 0.8], PLAIN[TURNS < 0.8] / 40, rtol=1e-6)
    kept = (found / PLAIN - 1 / 40) / (1 - 1 / 40)
    assert np.all(np.diff(kept) <= 1e-6) and 0.2 < kept[(TURNS > 4) & (TURNS < 8)].mean() < 0.8


def test_yarns_attention_factor_lengthens_queries_and_keys():
    heads = jnp.ones((1, 3, 2, 8))
    at = jnp.arange(3)[None]
    longer = rotate(heads, cos_sin(at, Rope(attention_factor=1.5), 8))
    np.testing.assert_allclose(longer, 1.5 * rotate(heads, cos_sin(at, Rope(), 8)), rtol=1e-5)


def test_products_of_rotated_vectors_depend_on_their_distance_only():
    random = np.random.default_rng(0)
    query, key = (jnp.asarray(random.normal(size=(1, 1, 1, 16)), jnp.float32) for _ in range(2))

    def product(q: int, k: int) -> float:
        pair = [rotate(x, cos_sin(jnp.asarray([[at]]), Rope(), 16)) for x, at in ((query, q), (key, k))]
        return float(jnp.sum(pair[0] * pair[1]))

    assert abs(product(9, 4) - product(105, 100)) < 1e-4
    assert abs(product(9, 4) - product(9, 5)) > 1e-3
