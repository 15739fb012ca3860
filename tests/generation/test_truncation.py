"""Truncated distributions, against the papers' definitions in float64."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from reasoning.core.errors import InputError
from reasoning.generation.truncation import ALL_TOKENS, Truncation, truncated

_TRUNCATED = jax.jit(truncated)


def defined(logits: np.ndarray, rule: Truncation) -> set[int]:
    """The tokens that may be drawn, one definition after the other, each on what the one before left."""
    kept = list(np.argsort(-logits, kind="stable"))
    if rule.top_k:
        kept = kept[: rule.top_k]

    def probabilities() -> np.ndarray:
        weights = np.exp(logits[kept].astype(np.float64) - logits.max())
        return weights / weights.sum()

    if rule.top_p < 1:  # arXiv 1904.09751: the smallest set of the likeliest whose probability is at least p
        smallest = next(size for size in range(1, len(kept) + 1) if probabilities()[:size].sum() >= rule.top_p)
        kept = kept[:smallest]
    chances = probabilities()  # arXiv 2407.01082: at least p_base times the largest probability
    return {int(token) for token, chance in zip(kept, chances, strict=True) if chance >= rule.min_p * chances.max()}


def support(logits: Any, rule: Truncation) -> set[int]:
    found = np.asarray(_TRUNCATED(jnp.asarray(logits, jnp.float32)[None], rule.traced()))[0]
    kept = np.flatnonzero(found > -np.inf)
    np.testing.assert_array_equal(found[kept], np.asarray(logits, np.float32)[kept])
    return set(kept.tolist())


def test_the_tokens_that_are_left_are_those_of_the_published_definitions():
    generator = np.random.default_rng(0)
    sizes = []
    for _ in range(150):
        logits = (generator.normal(size=40) * generator.uniform(0.3, 4)).astype(np.float32)
        rule = Truncation(
            top_k=int(generator.choice([0, 1, 5, 30, 99])),
            top_p=float(generator.choice([1.0, generator.uniform(0.05, 0.999)])),
            min_p=float(generator.choice([0.0, generator.uniform(0, 0.5)])),
        )
        assert support(logits, rule) == defined(logits, rule), rule
        sizes.append(len(defined(logits, rule)))
    assert len(set(sizes)) > 15


def test_the_likeliest_token_is_always_left():
    logits = np.float32([0.0, 3.0, 2.9, -1.0])
    assert support(logits, Truncation(0, 1e-9, 0.0)) == {1}
    assert support(logits, Truncation(1, 1.0, 0.0)) == {1}
    assert support(logits, Truncation(0, 1.0, 1.0)) == {1}
    assert support([-1e30, -1e30, 50.0, 0.0], Truncation(0, 0.5, 0.0)) == {2}


def test_equals_of_the_last_token_that_is_left_are_left_too():
    logits = np.float32([1.0, 2.0, 1.0, 0.0])
    for rule in (Truncation(2, 1.0, 0.0), Truncation(0, 0.7, 0.0), Truncation(0, 1.0, 0.36)):
        assert support(logits, rule) == {0, 1, 2}
    assert support([1.0, 1.0, 1.0], Truncation(1, 0.1, 1.0)) == {0, 1, 2}


def test_without_a_test_all_tokens_are_left_however_unlikely():
    logits = np.linspace(0, -80, 60_000)  # the sum of float32 probabilities passes 1 before the end
    assert len(support(logits, ALL_TOKENS)) == 60_000
    assert len(support(logits, Truncation(99_999, 1.0, 0.0))) == 60_000


@pytest.mark.parametrize("values", [(-1, 1.0, 0.0), (0, 0.0, 0.0), (0, 1.1, 0.0), (0, 1.0, -0.1), (0, 1.0, 1.5)])
def test_values_out_of_range_are_refused(values: tuple[int, float, float]):
    with pytest.raises(InputError, match="no token can be drawn with top_k"):
        Truncation(*values)
