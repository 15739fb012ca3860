"""Bias, repetition penalty and allowed tokens, against transformers' processors written out in numpy."""

from types import MappingProxyType

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from drawn import drawn

from reasoning.core.errors import InputError
from reasoning.core.mesh import MeshShape, build_mesh
from reasoning.generation.engine import build_engine
from reasoning.generation.grammar import NEVER, TokenTable
from reasoning.generation.sampler import SamplerSettings
from reasoning.generation.shaping import Shaping, placed, shaped
from reasoning.models.config import ModelConfig, Stack
from reasoning.models.model import build_model

CONFIG = ModelConfig(
    vocabulary=24, width=16, heads=2, mlp_width=32, stacks=(Stack(1),), context=64, embedding_std=0.5, head_scale=6.0
)
TABLE = TokenTable(
    np.array([[NEVER if token % 4 != state else (state + 1) % 4 for token in range(24)] for state in range(4)])
)
RULE = Shaping(1.7, MappingProxyType({5: 2.5, 9: -1.0}), tuple(range(2, 20)))


LOGITS = np.random.default_rng(0).normal(0, 3, (2, 24)).astype(np.float32)
log_probs = jax.jit(lambda *given: jax.nn.log_softmax(shaped(*given)))


def by_hand(logits: np.ndarray, said: list[int], rule: Shaping) -> np.ndarray:
    """Log-probabilities [V] behind a text of the tokens ``said``."""
    scores = logits.astype(np.float64)
    for token, bias in rule.bias.items():
        scores[token] += bias
    for token in set(said):
        scores[token] = (
            scores[token] / rule.repetition_penalty if scores[token] > 0 else scores[token] * (rule.repetition_penalty)
        )
    if rule.allowed is not None:
        scores[[token for token in range(len(scores)) if token not in rule.allowed]] = -np.inf
    return scores - np.log(np.exp(scores).sum())


def test_logits_are_biased_then_punished_then_forbidden():
    logits, said = LOGITS[0], [4, 5, 9, 21]
    found = log_probs(logits[None], np.isin(np.arange(24), said)[None], np.zeros(1, int), RULE.traced(24))
    np.testing.assert_allclose(found[0], by_hand(logits, said, RULE), atol=1e-5)


def test_log_probs_of_completions_are_those_of_the_shaped_distribution_of_each_slots_own_text():
    mesh = build_mesh(MeshShape(), jax.devices()[:1])
    model = build_model(CONFIG, mesh)
    params = drawn(model.shapes, 7, 0.5)
    engine = build_engine(model, mesh, SamplerSettings(3, 12, (3,), slots=4))
    prompts, weights = [[5, 6, 7], [8, 9], [12]], engine.publish(params)
    found = engine.generate(weights, prompts, range(3), jax.random.key(0), 1.0, shaping=RULE)

    @jax.jit
    def forward(row: jax.Array) -> jax.Array:
        hidden_1TD, _ = model.hidden_states(params, row, jnp.arange(32)[None], jnp.ones_like(row))
        return hidden_1TD[0] @ model.unembedding(params)

    for prompt, *replies in zip(prompts, found.tokens, found.log_probs, found.lengths, strict=True):
        for tokens, log_probs, length in zip(*replies, strict=True):
            text = [*prompt, *tokens[:length].tolist()]
            logits = np.asarray(forward(np.array([text + [0] * (32 - len(text))])))
            for place in range(length):
                end = len(prompt) + place
                expected = by_hand(logits[end - 1], text[:end], RULE)[tokens[place]]
                np.testing.assert_allclose(log_probs[place], expected, atol=1e-4)
            assert set(tokens[:length].tolist()) <= set(range(2, 20))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Shaping(0.0), "repetition_penalty is 0.0; give a number above 0"),
        (lambda: Shaping(bias=MappingProxyType({3: float("nan")})), "the bias of token 3 is nan"),
        (lambda: Shaping(allowed=()), "no token is allowed"),
        (lambda: Shaping(allowed=(24,)).traced(24), "there is no token 24; this model's are 0 to 23"),
        (lambda: Shaping(allowed=(2,), table=TABLE), "allowed tokens and a table of them"),
        (lambda: Shaping(table=TABLE).traced(23), "the table is of 24 tokens, and this model has 23"),
    ],
)
def test_what_makes_no_sense_is_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_a_table_says_at_each_place_of_a_completion_what_may_be_said():
    mesh = build_mesh(MeshShape(), jax.devices()[:1])
    model = build_model(CONFIG, mesh)
    engine = build_engine(model, mesh, SamplerSettings(6, 12, (7,), slots=4))
    weights = engine.publish(drawn(model.shapes, 7, 0.5))
    prompts, key = [[5, 6, 7], [8, 9], [12]], jax.random.key(0)
    found = engine.generate(weights, prompts, range(3), key, 1.0, shaping=Shaping(table=TABLE))
    free = engine.generate(weights, prompts, range(3), key, 1.0, shaping=Shaping())
    lengths = found.lengths.reshape(-1)
    assert found.tokens.shape == (3, 6, 12) and len(set(lengths.tolist())) > 1
    for row, length in zip(found.tokens.reshape(-1, 12), lengths, strict=True):
        assert [token % 4 for token in row[:length]] == [place % 4 for place in range(length)]
    assert (found.tokens != free.tokens).any()


def test_log_probs_are_those_of_the_tokens_that_may_be_said():
    logits, rule = LOGITS, Shaping(table=TABLE).traced(24)
    found = log_probs(logits, np.zeros((2, 24), bool), np.array([1, 3]), rule)
    for row, state in enumerate((1, 3)):
        may = np.arange(state, 24, 4)
        expected = np.full(24, -np.inf)
        expected[may] = logits[row, may] - np.log(np.exp(logits[row, may].astype(np.float64)).sum())
        np.testing.assert_allclose(found[row], expected, atol=1e-5)
    assert placed(jnp.array([1, 3]), jnp.array([5, 7]), rule).tolist() == [2, 0]
    assert placed(jnp.array([1, 3]), jnp.array([5, 7]), Shaping().traced(24)).tolist() == [1, 3]
