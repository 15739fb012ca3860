"""Prompts that are read in pieces leave what those leave that are read at once."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from drawn import drawn

from reasoning.generation import reading
from reasoning.generation.reading import empty_cache, read_prompts
from reasoning.models.config import BlockKind, ModelConfig, Stack
from reasoning.models.foreign import foreign_model
from reasoning.models.model import LanguageModel, build_model

CONFIG = ModelConfig(
    vocabulary=24,
    width=16,
    heads=2,
    mlp_width=32,
    stacks=(Stack(1, (BlockKind(window=4), BlockKind())),),
    context=64,
)
TOKENS, LENGTHS = np.random.default_rng(1).integers(0, 24, (4, 20)), np.array([20, 1, 0, 13])


@cache
def ours() -> tuple[LanguageModel, dict]:
    model = build_model(CONFIG)
    return model, jax.jit(model.publish)(drawn(model.shapes, 0, 0.25))


def foreign() -> tuple[LanguageModel, dict]:
    """A model whose state is the sum of the tokens' embeddings so far."""
    embedding = jnp.asarray(np.random.default_rng(0).normal(size=(24, 8)), jnp.float32)

    def states(params: dict, tokens: jax.Array, positions: jax.Array, segments: jax.Array) -> jax.Array:
        return jnp.cumsum(params["embedding"][tokens] * (segments > 0)[:, :, None], axis=1)

    with pytest.warns(UserWarning, match="no cache"):
        model = foreign_model({"embedding": embedding}, states, lambda params: params["embedding"].T, context=64)
    return model, {"embedding": embedding}


@pytest.mark.parametrize("build", [ours, foreign])
def test_prompts_in_pieces_leave_the_states_and_caches_of_those_read_at_once(build, monkeypatch: pytest.MonkeyPatch):
    model, weights = build()
    found = []
    for at_once in (512, 8):  # the second makes three pieces of seven, more than the prompts' time together
        monkeypatch.setattr(reading, "READ_AT_ONCE", at_once)
        hidden, cache = jax.jit(partial(read_prompts, model, room=23))(weights, TOKENS, LENGTHS)
        assert jax.tree.map(jnp.shape, cache) == jax.tree.map(jnp.shape, empty_cache(model, 4, 23))
        after, _ = jax.jit(model.decode)(weights, np.array([3, 4, 5, 6]), cache)
        found.append([np.asarray(array)[LENGTHS > 0] for array in (hidden, after, cache["length"])])
    for once, pieces in zip(*found, strict=True):
        np.testing.assert_allclose(once, pieces, atol=2e-5)
    assert found[1][2].tolist() == [20, 1, 13]


def test_a_prompt_no_longer_than_is_read_at_once_is_one_pass(monkeypatch: pytest.MonkeyPatch):
    model, weights = ours()
    monkeypatch.setattr(reading, "READ_AT_ONCE", 20)
    at_once = jax.jit(lambda *given: model.prefill(*given, empty_cache(model, 4, 20)))
    expected = at_once(weights, TOKENS, np.maximum(LENGTHS, 1))
    found = jax.jit(partial(read_prompts, model, room=20))(weights, TOKENS, LENGTHS)
    jax.tree.map(np.testing.assert_array_equal, found, expected)
