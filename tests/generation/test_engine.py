"""Sampling: what is drawn, from which distribution, and what it must not depend on."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compilations import compilations
from drawn import drawn, placed
from scipy.special import log_softmax, softmax

from reasoning.core.errors import InputError
from reasoning.core.mesh import MeshShape, build_mesh
from reasoning.generation.engine import Engine, Rollouts, build_engine
from reasoning.generation.sampler import SamplerSettings
from reasoning.generation.truncation import ALL_TOKENS, Truncation, truncated
from reasoning.models.config import ModelConfig, Stack
from reasoning.models.model import Model, build_model
from reasoning.training.batches import TokenBatch
from reasoning.training.token_scores import score

CONFIG = ModelConfig(
    vocabulary=24, width=16, heads=2, mlp_width=32, stacks=(Stack(2),), context=64, embedding_std=0.5, head_scale=6.0
)
CAPPED = ModelConfig(
    vocabulary=24, width=16, heads=2, mlp_width=32, stacks=(Stack(1),), context=32, head_scale=9.0, logit_soft_cap=2.0
)
END = 3
PROMPTS = [[5, 6, 7], [8, 9], [5, 6, 7, 10, 11], [12]]


def engine_on(shape: MeshShape, samples: int, limit: int = 20, slots: int = 0) -> tuple[Model, dict, Engine]:
    mesh = build_mesh(shape, jax.devices()[:1] if shape.data == 1 else None)
    model = build_model(CONFIG, mesh)
    return (
        model,
        placed(model, mesh, 7, 0.3),
        build_engine(model, mesh, SamplerSettings(samples, limit, (END,), slots)),
    )


def on_one_device(params: dict) -> dict:
    """The parameters for a plain forward pass, away from the engine's mesh."""
    return jax.device_put(jax.device_get(params), jax.devices()[0])


def full_logits(model: Model, params: dict, texts: Sequence[Sequence[int]]) -> list[np.ndarray]:
    """Logits [T, V] of the next token at each place of each text, by one plain forward pass of them all."""
    rows = np.zeros((64, 64), np.int32)
    for row, text in enumerate(texts):
        rows[row, : len(text)] = text
    logits = np.asarray(_logits(model, params, rows))
    return [logits[row, : len(text)] for row, text in enumerate(texts)]


@partial(jax.jit, static_argnums=0)
def _logits(model: Model, params: dict, rows: jax.Array) -> jax.Array:
    places = jnp.broadcast_to(jnp.arange(rows.shape[1]), rows.shape)
    hidden, _ = model.hidden_states(params, rows, places, jnp.ones_like(rows))
    return hidden @ model.unembedding(params)


def completions(rollouts: Rollouts) -> list[tuple[list[int], np.ndarray, np.ndarray]]:
    """Each prompt with a completion of it, and that one's log-probabilities; prompt after prompt."""
    found = []
    for prompt, *groups in zip(PROMPTS, rollouts.tokens, rollouts.log_probs, rollouts.lengths, strict=True):
        for tokens, values, length in zip(*groups, strict=True):
            found.append((prompt, tokens[:length], values[:length]))
    return found


def logits_behind(params: dict, said: Sequence[tuple[list[int], np.ndarray, np.ndarray]]) -> list[np.ndarray]:
    """Logits [N, V] of each token of the completions, by a plain forward pass."""
    texts = [[*prompt, *tokens.tolist()][:-1] for prompt, tokens, _ in said]
    logits = full_logits(build_model(CONFIG), on_one_device(params), texts)
    return [each[len(prompt) - 1 :] for each, (prompt, _, _) in zip(logits, said, strict=True)]


def test_sampled_log_probs_equal_those_of_a_full_forward_pass():
    _, params, engine = engine_on(MeshShape(), samples=16)
    said = completions(engine.generate(engine.publish(params), PROMPTS, range(4), jax.random.key(0), 1.0))
    for logits, (_, tokens, values) in zip(logits_behind(params, said), said, strict=True):
        expected = log_softmax(logits, axis=-1)
        np.testing.assert_allclose(values, expected[np.arange(len(tokens)), tokens], atol=1e-5)


def test_completions_stop_at_the_end_symbol_and_say_when_they_were_cut():
    _, params, engine = engine_on(MeshShape(), samples=16)
    rollouts = engine.generate(engine.publish(params), PROMPTS, range(4), jax.random.key(1), 1.0)
    ends = rollouts.tokens == END
    assert 0 < rollouts.truncated.sum() < rollouts.truncated.size  # both kinds occur, or this test shows nothing
    first_end = np.where(ends.any(-1), ends.argmax(-1) + 1, 20)
    np.testing.assert_array_equal(rollouts.lengths, first_end)
    np.testing.assert_array_equal(rollouts.truncated, ~ends.any(-1))
    beyond = np.arange(20) >= rollouts.lengths[..., None]
    assert not rollouts.tokens[beyond].any() and not rollouts.log_probs[beyond].any()


def test_any_of_several_ids_ends_a_completion():
    _, params, engine = engine_on(MeshShape(), samples=16)
    mesh = build_mesh(MeshShape())
    several = build_engine(build_model(CONFIG, mesh), mesh, SamplerSettings(16, 20, (END, 5)))
    weights, key = engine.publish(params), jax.random.key(1)
    one, both = (found.generate(weights, PROMPTS, range(4), key, 1.0) for found in (engine, several))
    stopped = np.isin(one.tokens, (END, 5))
    expected = np.where(stopped.any(-1), stopped.argmax(-1) + 1, 20)
    np.testing.assert_array_equal(both.lengths, expected)
    np.testing.assert_array_equal(both.truncated, ~stopped.any(-1))
    kept = np.arange(20) < both.lengths[..., None]
    np.testing.assert_array_equal(both.tokens, np.where(kept, one.tokens, 0))
    assert (both.lengths < one.lengths).any()


def test_temperature_zero_takes_the_likeliest_token():
    _, params, engine = engine_on(MeshShape(), samples=16)
    said = completions(engine.generate(engine.publish(params), PROMPTS, range(4), jax.random.key(2), 0.0))
    for logits, (_, tokens, _) in zip(logits_behind(params, said), said, strict=True):
        np.testing.assert_array_equal(tokens, logits.argmax(-1))


def test_what_a_request_gets_depends_on_its_identity_only_whatever_slots_order_and_neighbours():
    _, params, few = engine_on(MeshShape(data=1), samples=3, slots=1)
    key, generator = jax.random.key(3), np.random.default_rng(0)
    weights = few.publish(params)
    prompts = [generator.integers(4, 24, generator.integers(1, 17)).tolist() for _ in range(11)]
    ids = generator.permutation(100)[:11].tolist()
    alone = few.generate(weights, prompts, ids, key, 1.0)
    assert (
        len(set(alone.lengths.reshape(-1).tolist())) > 3
    )  # slots are refilled at different times, or this shows little
    for slots, order in ((4, range(11)), (4, generator.permutation(11)), (64, generator.permutation(11)[:5])):
        engine = engine_on(MeshShape(data=1), samples=3, slots=slots)[2]
        asked = [prompts[number] for number in order], [ids[number] for number in order]
        found = engine.generate(weights, *asked, key, 1.0, rows=11)
        chosen = list(order)
        for name in ("tokens", "lengths", "truncated"):
            np.testing.assert_array_equal(getattr(found, name), getattr(alone, name)[chosen])
        np.testing.assert_allclose(found.log_probs, alone.log_probs[chosen], atol=1e-5)


@pytest.mark.slow
def test_several_devices_with_slots_of_their_own_give_what_one_gives():
    _, params, one = engine_on(MeshShape(data=1), samples=3)
    prompts = [[5 + number, 6, 7][: 1 + number % 3] for number in range(11)]
    key = jax.random.key(3)
    expected = one.generate(one.publish(params), prompts, range(11), key, 1.0)
    for shape in (MeshShape(data=2, fsdp=2, tensor=2), MeshShape(data=2, fsdp=2, context=2)):
        _, other, several = engine_on(shape, samples=3, slots=2)
        found = several.generate(several.publish(other), prompts, range(11), key, 1.0)
        np.testing.assert_array_equal(found.tokens, expected.tokens)
        np.testing.assert_allclose(found.log_probs, expected.log_probs, atol=1e-5)


def test_samples_follow_the_distribution_of_the_first_token():
    _, params, engine = engine_on(MeshShape(), samples=4096, limit=1)
    rollouts = engine.generate(engine.publish(params), [PROMPTS[0]], [0], jax.random.key(4), 2.0)
    [logits] = full_logits(build_model(CONFIG), on_one_device(params), [PROMPTS[0]])
    expected = softmax(logits[-1] / 2)
    counts = np.bincount(rollouts.tokens.reshape(-1), minlength=24) / 4096
    assert np.abs(counts - expected).max() < 4.5 * np.sqrt(0.25 / 4096)
    assert np.abs(counts - expected).sum() < 0.1


def test_truncated_samples_stay_inside_and_their_log_probs_are_those_of_what_is_left():
    _, params, engine = engine_on(MeshShape(), samples=16)
    weights, key, rule = engine.publish(params), jax.random.key(6), Truncation(top_k=9, top_p=0.8, min_p=0.05)
    rollouts = engine.generate(weights, PROMPTS, range(4), key, 1.5, truncation=rule)
    said = completions(rollouts)
    logits = np.concatenate(logits_behind(params, said))
    tokens, values = (np.concatenate([one[part] for one in said]) for part in (1, 2))
    filled = np.zeros((len(said) * 20, logits.shape[1]), np.float32)
    filled[: len(logits)] = logits / 1.5
    allowed = np.asarray(jax.jit(truncated)(filled, rule.traced()))[: len(logits)]
    expected = log_softmax(allowed, axis=-1)
    np.testing.assert_allclose(values, expected[np.arange(len(tokens)), tokens], atol=1e-5)
    left = (allowed > -np.inf).sum(-1).max()
    assert left > 1  # more than one token was left somewhere, or this test shows nothing
    with compilations() as compiled:
        other = engine.generate(weights, PROMPTS, range(4), key, 1.5, truncation=Truncation(2, 1.0, 0.0))
        assert not compiled  # values are no programs
    assert (other.tokens != rollouts.tokens).any()


def test_where_all_tokens_may_be_drawn_or_none_is_nothing_changes():
    _, params, engine = engine_on(MeshShape(), samples=16)
    weights, key = engine.publish(params), jax.random.key(7)
    sampled, everything = (
        engine.generate(weights, PROMPTS, range(4), key, 1.0, truncation=rule) for rule in (None, ALL_TOKENS)
    )
    np.testing.assert_array_equal(sampled.tokens, everything.tokens)
    np.testing.assert_allclose(sampled.log_probs, everything.log_probs, atol=1e-6)
    greedy, cut = (
        engine.generate(weights, PROMPTS, range(4), key, 0.0, truncation=rule) for rule in (None, Truncation(2, 0.5, 0))
    )
    for name in Rollouts.names():
        np.testing.assert_array_equal(getattr(greedy, name), getattr(cut, name))


def test_a_batch_with_fewer_prompts_or_none_is_the_same_program():
    _, params, engine = engine_on(MeshShape(data=1), samples=2)
    weights, key = engine.publish(params), jax.random.key(8)
    everyone = engine.generate(weights, PROMPTS, range(4), key, 1.0)
    with compilations() as compiled:
        found = engine.generate(weights, PROMPTS[:1], [0], key, 1.0, rows=4)
        nobody = engine.generate(weights, [], [], key, 1.0, rows=4)
    assert not compiled
    np.testing.assert_array_equal(found.tokens[0], everyone.tokens[0])
    assert nobody.tokens.shape == (0, 2, 20)


def test_a_mixed_workload_is_two_programs_and_none_once_it_is_warm():
    mesh = build_mesh(MeshShape(), jax.devices()[:1])
    model = build_model(replace(CONFIG, context=128, stacks=(Stack(1),)), mesh)
    weights, generator = jax.jit(model.publish)(drawn(model.shapes, 0, 0.5)), np.random.default_rng(0)
    greedy, sampled = (
        build_engine(model, mesh, SamplerSettings(samples, 9, (END,), slots=4, longest_prompt=50)) for samples in (1, 4)
    )

    def ask(engine: Engine, seed: int, temperature: float, rule: Truncation) -> None:
        prompts = [[5] * length for length in generator.integers(1, 51, generator.integers(4, 12))]
        engine.generate(weights, prompts, range(len(prompts)), jax.random.key(seed), temperature, truncation=rule)

    with compilations() as compiled:
        ask(sampled, 0, 1.0, ALL_TOKENS)
    assert [name for name in compiled if name in ("sample", "empty_state")] == ["empty_state", "sample"]
    with compilations() as compiled:
        for seed in range(6):
            ask(greedy, seed, 0.0, ALL_TOKENS)
            ask(sampled, seed, 0.5 + seed, Truncation(seed, 0.9, 0.1))
    assert not compiled


def test_published_weights_survive_the_donation_of_the_parameters():
    _, params, engine = engine_on(MeshShape(), samples=16)
    weights = engine.publish(params)
    before = engine.generate(weights, PROMPTS, range(4), jax.random.key(5), 1.0)
    jax.block_until_ready(jax.jit(lambda tree: jax.tree.map(lambda leaf: leaf * 0, tree), donate_argnums=0)(params))
    after = engine.generate(weights, PROMPTS, range(4), jax.random.key(5), 1.0)
    np.testing.assert_array_equal(before.tokens, after.tokens)


def test_prompts_that_are_empty_or_too_long_are_refused_with_the_numbers():
    _, params, engine = engine_on(MeshShape(), samples=16)
    weights = engine.publish(params)
    with pytest.raises(InputError, match="a prompt of 50 tokens and 20 new ones exceed the model's context of 64"):
        engine.generate(weights, [[1] * 50], [0], jax.random.key(0), 1.0)
    with pytest.raises(InputError, match="a prompt is empty"):
        engine.generate(weights, [[]], [0], jax.random.key(0), 1.0)


@pytest.mark.slow
def test_sampler_and_trainer_agree_under_a_soft_cap():
    mesh = build_mesh(MeshShape(), jax.devices()[:1])
    model = build_model(CAPPED, mesh)
    params = drawn(model.shapes, 0, 0.5)
    engine = build_engine(model, mesh, SamplerSettings(4, 8, (END,)))
    rollouts = engine.generate(engine.publish(params), [PROMPTS[0]], [0], jax.random.key(1), 1.0)
    rows = jnp.asarray(np.concatenate([np.tile(PROMPTS[0], (4, 1)), rollouts.tokens[0]], axis=1))
    targets = jnp.roll(rows, -1, axis=1)
    positions = jnp.broadcast_to(jnp.arange(rows.shape[1]), rows.shape)
    ones = jnp.ones(rows.shape)
    batch = TokenBatch(rows, positions, ones.astype(jnp.int32), targets, ones, ones)
    capped = score(model, params, batch).log_prob_BT[:, len(PROMPTS[0]) - 1 : -1]
    said = np.arange(8) < rollouts.lengths[0][:, None]
    np.testing.assert_allclose(np.where(said, capped, 0), rollouts.log_probs[0], atol=1e-5)
    free = score(build_model(replace(CAPPED, logit_soft_cap=0.0), mesh), params, batch).log_prob_BT
    assert np.abs(np.where(said, free[:, len(PROMPTS[0]) - 1 : -1] - capped, 0)).max() > 0.1
