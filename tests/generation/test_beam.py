"""Beam search: against every sequence there is, against the rules written out in float64, and row by row.

Shapes: P prompts, K beams, N new tokens, V vocabulary.
"""

import itertools
from collections.abc import Callable
from functools import cache, partial
from types import SimpleNamespace
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from drawn import drawn, placed

from reasoning.core.errors import InputError
from reasoning.core.mesh import MeshShape, build_mesh
from reasoning.generation.beam import Beams, BeamSettings, build_beam, search
from reasoning.generation.engine import build_engine
from reasoning.generation.sampler import SamplerSettings
from reasoning.models.config import ModelConfig, Stack
from reasoning.models.model import build_model

END = 3
PROMPTS = [[1, 2, 4], [4, 2], [2, 1, 4, 4, 2], [1]]
Early = bool | Literal["never"]
Next = Callable[[tuple[int, ...]], np.ndarray]


def config(vocabulary: int) -> ModelConfig:
    return ModelConfig(
        vocabulary=vocabulary,
        width=16,
        heads=2,
        mlp_width=32,
        stacks=(Stack(2),),
        context=32,
        embedding_std=0.5,
        head_scale=5.0,
    )


def beams_of(
    settings: BeamSettings, vocabulary: int, seed: int = 7, prompts: list[list[int]] = PROMPTS, devices: int = 1
) -> Beams:
    mesh = build_mesh(MeshShape(), jax.devices()[:devices])
    model = build_model(config(vocabulary), mesh)
    params = placed(model, mesh, seed, 0.5)
    return build_beam(model, mesh, settings)(jax.jit(model.publish)(params), prompts)


@cache
def all_log_probs(vocabulary: int, seed: int, limit: int) -> np.ndarray:
    """Log-probabilities [P, beginnings, N, V] of the next token in every possible beginning, by one forward pass."""
    model = build_model(config(vocabulary))
    params = drawn(model.shapes, seed, 0.5)
    every = list(itertools.product(range(vocabulary), repeat=limit - 1))
    width = max(map(len, PROMPTS)) + limit - 1
    rows = [[*prompt, *beginning] for prompt in PROMPTS for beginning in every]
    tokens = jnp.asarray([row + [0] * (width - len(row)) for row in rows])
    places = jnp.broadcast_to(jnp.arange(width), tokens.shape)
    hidden, _ = jax.jit(model.hidden_states)(params, tokens, places, jnp.ones_like(tokens))
    logits = np.asarray(hidden @ model.unembedding(params), np.float64).reshape(len(PROMPTS), len(every), width, -1)
    log_probs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    starts = [len(prompt) - 1 for prompt in PROMPTS]
    return np.stack([each[:, start : start + limit] for each, start in zip(log_probs, starts, strict=True)])


def next_log_probs(vocabulary: int, seed: int, number: int, limit: int) -> Next:
    """The model's distribution after some new tokens behind ``PROMPTS[number]``."""
    table = all_log_probs(vocabulary, seed, limit)[number]

    def follow(tokens: tuple[int, ...]) -> np.ndarray:
        filled = (*tokens, *[0] * (limit - 1 - len(tokens)))
        return table[sum(token * vocabulary**power for power, token in enumerate(reversed(filled))), len(tokens)]

    return follow


def exhaustive(follow: Next, vocabulary: int, limit: int, penalty: float) -> list[tuple[float, tuple[int, ...]]]:
    """Every completion there is, best first, with its score."""
    found, beginnings = [], [((), 0.0)]
    for length in range(1, limit + 1):
        grown = [(b + (v,), s + follow(b)[v]) for b, s in beginnings for v in range(vocabulary)]
        found += [(s / length**penalty, b) for b, s in grown if b[-1] == END or length == limit]
        beginnings = [(b, s) for b, s in grown if b[-1] != END]
    return sorted(found, reverse=True)


def by_the_rules(
    follow: Next, vocabulary: int, beams: int, limit: int, penalty: float, early: Early, end: int = END
) -> list[tuple[float, tuple[int, ...]]]:
    """Beam search for one prompt, with lists, by what transformers 5.23 does in ``_beam_search``."""
    running: list[tuple[float, tuple[int, ...]]] = [(0.0, ())]
    done: list[tuple[float, tuple[int, ...]]] = []
    for length in range(1, limit + 1):
        grown = [(s + follow(b)[v], (*b, v)) for s, b in running for v in range(vocabulary)]
        kept = sorted(grown, key=lambda pair: -pair[0])[: 2 * beams]
        over = [b[-1] == end or length == limit for _, b in kept]
        done += [(s / length**penalty, b) for (s, b), ends in list(zip(kept, over, strict=True))[:beams] if ends]
        done = sorted(done, key=lambda pair: -pair[0])[:beams]
        running = [pair for pair, ends in zip(kept, over, strict=True) if not ends][:beams]
        if len(done) < beams:
            continue
        reached = limit if early == "never" and penalty > 0 else length
        if early is True or not running or running[0][0] / reached**penalty <= done[-1][0]:
            break
    return done


def check(found: Beams, prompt: int, expected: list[tuple[float, tuple[int, ...]]]) -> None:
    """One prompt's completions, in order, with scores, lengths and what was cut off."""
    rollouts = found.rollouts
    limit = rollouts.tokens.shape[-1]
    for beam, (score, tokens) in enumerate(expected):
        padded = [*tokens, *[0] * (limit - len(tokens))]
        assert rollouts.tokens[prompt, beam].tolist() == padded
        assert rollouts.lengths[prompt, beam] == len(tokens)
        assert rollouts.truncated[prompt, beam] == (tokens[-1] != END)
        np.testing.assert_allclose(found.scores[prompt, beam], score, rtol=1e-5, atol=1e-5)
    assert (rollouts.log_probs[prompt][np.arange(limit) >= rollouts.lengths[prompt][:, None]] == 0).all()


@pytest.mark.parametrize(
    "penalty", [1.0, *(pytest.param(penalty, marks=pytest.mark.slow) for penalty in (0.0, -0.5, 2.0))]
)
def test_with_a_beam_for_every_sequence_the_search_is_exhaustive(penalty: float):
    vocabulary, limit = 5, 3
    settings = BeamSettings(vocabulary**limit, limit, (END,), length_penalty=penalty, early_stopping="never")
    found = beams_of(settings, vocabulary)
    for number in range(len(PROMPTS)):
        every = exhaustive(next_log_probs(vocabulary, 7, number, limit), vocabulary, limit, penalty)
        assert len(every) == 1 + 4 + 4 * 4 * 5
        check(found, number, every)
        assert (found.scores[number, len(every) :] == -np.inf).all()  # there are no more
        assert not found.rollouts.lengths[number, len(every) :].any()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("penalty", "early"),
    [(1.0, False), (1.0, True), (1.0, "never"), (0.0, False), (2.0, "never"), (-1.0, False), (-1.0, True)],
)
def test_a_search_with_few_beams_follows_the_rules(penalty: float, early: Early):
    vocabulary, limit, beams = 6, 5, 3
    settings = BeamSettings(beams, limit, (END,), length_penalty=penalty, early_stopping=early)
    for seed in (1, 2, 3):
        found = beams_of(settings, vocabulary, seed)
        for number in range(len(PROMPTS)):
            follow = next_log_probs(vocabulary, seed, number, limit)
            check(found, number, by_the_rules(follow, vocabulary, beams, limit, penalty, early))


@pytest.mark.slow
def test_the_log_probs_are_those_of_the_tokens():
    vocabulary, limit = 6, 4
    found = beams_of(BeamSettings(3, limit, (END,)), vocabulary)
    for number in range(len(PROMPTS)):
        follow = next_log_probs(vocabulary, 7, number, limit)
        rollouts = found.rollouts
        for tokens, values, length in zip(
            rollouts.tokens[number], rollouts.log_probs[number], rollouts.lengths[number], strict=True
        ):
            chosen = tuple(tokens[:length].tolist())
            expected = [follow(chosen[:place])[token] for place, token in enumerate(chosen)]
            np.testing.assert_allclose(values[:length], expected, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("early", [False, True])
def test_one_beam_is_greedy(early: bool):
    settings = SamplerSettings(1, 8, (END,))
    mesh = build_mesh(MeshShape(), jax.devices()[:1])
    model = build_model(config(12), mesh)
    engine = build_engine(model, mesh, settings)
    weights = engine.publish(placed(model, mesh, 5, 0.5))
    greedy = engine.generate(weights, PROMPTS, range(4), jax.random.key(0), 0.0)
    found = build_beam(model, mesh, BeamSettings(1, 8, (END,), early_stopping=early))(weights, PROMPTS)
    for name in ("tokens", "lengths", "truncated"):
        np.testing.assert_array_equal(getattr(found.rollouts, name), getattr(greedy, name))
    np.testing.assert_allclose(found.scores, greedy.log_probs.sum(-1) / greedy.lengths, atol=1e-5)


@pytest.mark.slow
def test_prompts_do_not_influence_one_another():
    settings = BeamSettings(3, 8, (END,), early_stopping=True)
    together = beams_of(settings, 6)
    alone = [beams_of(settings, 6, prompts=[prompt]) for prompt in PROMPTS]
    for name in ("tokens", "lengths", "truncated"):
        apart = np.concatenate([getattr(one.rollouts, name) for one in alone])
        np.testing.assert_array_equal(getattr(together.rollouts, name), apart)
    assert len(set(together.rollouts.lengths.max(axis=1).tolist())) > 1  # they end at different steps
    np.testing.assert_allclose(together.scores, np.concatenate([one.scores for one in alone]), atol=1e-5)


@pytest.mark.slow
def test_several_devices_find_what_one_finds():
    settings = BeamSettings(3, 8, (END,), early_stopping=True)
    one, four = beams_of(settings, 6), beams_of(settings, 6, prompts=PROMPTS[:3], devices=4)
    np.testing.assert_array_equal(one.rollouts.tokens[:3], four.rollouts.tokens)
    np.testing.assert_allclose(one.scores[:3], four.scores, atol=1e-5)


# -- on tables of one token after another, where a search can be followed by hand -------------------------------------


def on_a_table(logits_VV: Any, settings: BeamSettings, first: int) -> list[tuple[tuple[int, ...], float]]:
    """The search over a "model" whose next token depends on the last one alone."""
    table = jnp.asarray(logits_VV, jnp.float32)
    size = len(table)
    model: Any = SimpleNamespace(
        mesh=None,
        soft_cap=None,
        cache_shapes=lambda slots, length: {"layers": (), "length": jax.ShapeDtypeStruct((slots,), jnp.int32)},
        prefill=lambda weights, tokens, lengths, cache: (jax.nn.one_hot(tokens[:, -1], size), cache),
        decode=lambda weights, tokens, cache: (jax.nn.one_hot(tokens, size), cache),
        unembedding=lambda weights: table,
    )
    mesh = build_mesh(MeshShape(), jax.devices()[:1])
    done = jax.jit(partial(search, model, mesh, settings))({}, np.array([[first]]), np.array([1]))
    pairs = zip(done.tokens[0].tolist(), done.lengths[0].tolist(), done.scores[0].tolist(), strict=True)
    return [(tuple(tokens[:length]), score) for tokens, length, score in pairs]


def test_greedy_takes_the_bait_and_two_beams_do_not():
    # 0 -> 1 is likelier than 0 -> 2, but 1 can't decide what comes next, while 2 ends surely.
    chances = np.array([[1e-9, 0.6, 0.4, 1e-9], [0.35, 0.3, 0.25, 0.1], [1e-9, 1e-9, 1e-9, 1.0], [0.25] * 4])
    assert on_a_table(np.log(chances), BeamSettings(1, 3, (END,)), 0)[0][0] == (1, 0, 1)
    best, score = on_a_table(np.log(chances), BeamSettings(2, 3, (END,)), 0)[0]
    assert best == (2, END)
    assert np.isclose(score, np.log(0.4) / 2, atol=1e-6)


def test_only_the_best_k_candidates_may_finish():
    # The end is third of four: two beams drop it, though by its sum it would be the best completion of all.
    chances = np.array([[0.05, 0.4, 0.35, 0.2]] * 4)
    two, three = (
        on_a_table(np.log(chances), BeamSettings(beams, 2, (END,), length_penalty=0.0, early_stopping="never"), 0)
        for beams in (2, 3)
    )
    assert [tokens for tokens, _ in two] == [(1, 1), (1, 2)]
    assert three[0][0] == (END,)


def test_early_stopping_decides_how_long_a_better_one_is_waited_for():
    # The end comes at once with .5; behind 1 comes a sure way without an end, whose mean is better in the long run.
    chances = np.array([[1e-9, 0.45, 0.05, 0.5], [0.004, 0.99, 0.003, 0.003], [0.25] * 4, [0.25] * 4])

    def found(early: Early) -> tuple[int, ...]:
        return on_a_table(np.log(chances), BeamSettings(1, 6, (END,), early_stopping=early), 0)[0][0]

    assert found(True) == found(False) == (END,)
    assert found("never") == (1,) * 6


def test_with_early_stopping_the_first_k_that_finish_are_taken():
    # After two steps two have finished, worse than what goes on.
    chances = np.array([[1e-9, 0.5, 0.2, 0.3], [1e-9, 1e-9, 0.6, 0.4], [1e-9, 0.99, 1e-9, 0.01], [0.25] * 4])
    first, best = (on_a_table(np.log(chances), BeamSettings(2, 6, (END,), early_stopping=e), 0) for e in (True, False))
    assert [tokens for tokens, _ in first] == [(1, END), (END,)]
    assert best[0][0] == (1, 2, 1, 2, 1, 2)
    assert best[0][1] > first[0][1]


def in_groups(chances: np.ndarray, beams: int, groups: int, penalty: float, limit: int) -> list[tuple[int, ...]]:
    """Diverse beam search from token 0 by arXiv 1610.02424, algorithm 1, with lists, best completion first.

    A group ends as a search by itself does, and takes the others' tokens at a penalty only while it chooses.
    """
    each = beams // groups
    running: list[list[tuple[float, tuple[int, ...]]]] = [[(0.0, ())] for _ in range(groups)]
    done: list[list[tuple[float, tuple[int, ...]]]] = [[] for _ in range(groups)]
    still = set(range(groups))
    for length in range(1, limit + 1):
        said = np.zeros(len(chances))
        for group in sorted(still):
            grown = [
                (total + np.log(chances[(0, *tokens)[-1]][token]), (*tokens, token))
                for total, tokens in running[group]
                for token in range(len(chances))
            ]
            grown.sort(key=lambda pair: -(pair[0] - penalty * said[pair[1][-1]]))
            over = [pair for pair in grown[:each] if pair[1][-1] == END or length == limit]
            done[group] = sorted([*done[group], *((total / length, tokens) for total, tokens in over)], reverse=True)[
                :each
            ]
            running[group] = [pair for pair in grown if pair[1][-1] != END][:each]
            for _, tokens in running[group]:
                said[tokens[-1]] += 1
            best = max(total for total, _ in running[group])
            if len(done[group]) == each and best / length <= done[group][-1][0]:
                still.remove(group)
    return [tokens for _, tokens in sorted((pair for group in done for pair in group), reverse=True)]


@pytest.mark.parametrize(
    ("beams", "groups"), [(4, 2), *(pytest.param(beams, 3, marks=pytest.mark.slow) for beams in (6, 3))]
)
def test_groups_find_what_diverse_beam_search_finds_by_lists(beams: int, groups: int):
    differ = 0
    for seed in range(2):
        chances = np.random.default_rng(seed).dirichlet(np.full(7, 0.7), size=7)
        for penalty in (0.4, 3.0):
            settings = BeamSettings(beams, 5, (END,), groups=groups, diversity_penalty=penalty)
            found = [tokens for tokens, _ in on_a_table(np.log(chances), settings, 0)]
            assert found == in_groups(chances, beams, groups, penalty, 5)
            differ += len(set(found)) > len(set(in_groups(chances, beams, groups, 0.0, 5)))
    assert differ > 2


@pytest.mark.parametrize(("groups", "penalty"), [(1, 2.0), (3, 0.0)])
def test_one_group_or_no_penalty_is_the_plain_search_to_the_bit(groups: int, penalty: float):
    chances = np.random.default_rng(3).dirichlet(np.ones(6), size=6)
    settings = BeamSettings(3, 6, (END,), groups=groups, diversity_penalty=penalty)
    assert on_a_table(np.log(chances), settings, 0) == on_a_table(np.log(chances), BeamSettings(3, 6, (END,)), 0)


@pytest.mark.slow
def test_groups_of_several_prompts_do_not_influence_one_another_on_any_number_of_devices():
    settings = BeamSettings(4, 8, (END,), early_stopping=True, groups=2, diversity_penalty=1.0)
    one, four = beams_of(settings, 6, prompts=PROMPTS[:3]), beams_of(settings, 6, prompts=PROMPTS[:3], devices=4)
    np.testing.assert_array_equal(one.rollouts.tokens, four.rollouts.tokens)
    alone = beams_of(settings, 6, prompts=PROMPTS[1:2])
    np.testing.assert_array_equal(one.rollouts.tokens[1:2], alone.rollouts.tokens)


@pytest.mark.parametrize(
    ("groups", "penalty", "message"), [(3, 1.0, "can't be in 3 groups"), (2, -1.0, "diversity_penalty of -1")]
)
def test_groups_that_make_no_sense_are_refused(groups: int, penalty: float, message: str):
    with pytest.raises(InputError, match=message):
        BeamSettings(4, 8, (END,), groups=groups, diversity_penalty=penalty)


def test_prompts_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match="a prompt of 30 tokens and 8 new ones exceed the model's context of 32"):
        beams_of(BeamSettings(2, 8, (END,)), 12, prompts=[[1] * 30])
