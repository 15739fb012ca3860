"""Generation against transformers: logits of packed rows and with a cache, beam search, and what the sampler draws.

Legend: P prompts, K beams, G samples, N new tokens, V vocabulary.
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
from agreement_models import Compared, Pair, apart, draws, families, one_device, pair, varied, worst
from transformers import (
    LogitsProcessorList,
    MinPLogitsWarper,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from reasoning.generation.beam import Beams, BeamSettings, build_beam
from reasoning.generation.engine import Rollouts, build_engine
from reasoning.generation.sampler import SamplerSettings
from reasoning.generation.truncation import Truncation

LOGITS_WITHIN, SCORES_WITHIN = 3e-5, 1e-5

ROW = 40
DOCUMENTS = ((17, 14), (9, 23))  # of a row; padding fills it up, and all windows and first contexts are exceeded
PREFILLED, DECODED = (3, 9, 14), 22

PROMPTS = 8
BEAMS = (1, 2, 3, 4, 5)
NEW = (10, 10, 48, 10, 10)  # of each number of beams; a cache grows at some of them
PENALTIES = (-1.0, 0.0, 0.6, 1.0, 2.0)
EARLY_STOPPING = (True, False, "never")
ENDS = ((2,), (2, 5))

TEMPERATURES = (0.6, 1.0, 1.3)
TRUNCATIONS = (  # the second with the first temperature is how DeepSeek-R1 was evaluated
    None,
    Truncation(top_k=0, top_p=0.95, min_p=0.0),
    Truncation(top_k=3, top_p=1.0, min_p=0.0),
    Truncation(top_k=0, top_p=0.5, min_p=0.0),
    Truncation(top_k=0, top_p=1.0, min_p=0.3),
    Truncation(top_k=9, top_p=0.7, min_p=0.1),
)
NEW_SAMPLED, SAMPLES, EXPECTED, DEVIATIONS = 48, 2048, 10, 5.0


def their_logits(one: Pair, tokens: list[int]) -> np.ndarray:
    """Logits [T, V] of one text alone."""
    with torch.no_grad():
        return one.theirs(torch.tensor([tokens])).logits[0].double().numpy()


def our_logits(one: Pair, hidden: Any) -> np.ndarray:
    """Logits of hidden states, which our losses never make whole."""
    logits = np.asarray(hidden, np.float64) @ np.asarray(one.model.unembedding(one.params), np.float64)
    cap = one.model.soft_cap
    return logits if cap is None else cap * np.tanh(logits / cap)


def packed_logits(one: Pair, random: np.random.Generator) -> Iterator[float]:
    """Two documents and padding in each of two rows; each document's logits are those that it has alone."""
    texts = [draws(random, lengths, one.model.config.vocabulary) for lengths in DOCUMENTS]
    tokens, positions, segments = np.zeros((3, len(texts), ROW), np.int32)
    places = []
    for row, both in enumerate(texts):
        start = 0
        for number, text in enumerate(both, start=1):
            place = (row, slice(start, start + len(text)))
            tokens[place], positions[place], segments[place] = text, np.arange(len(text)), number
            places.append((place, text))
            start += len(text)
    hidden, _ = jax.jit(one.model.hidden_states)(one.params, tokens, positions, segments)
    logits = our_logits(one, hidden)
    yield from (apart(logits[place], their_logits(one, text)) for place, text in places)


def cached_logits(one: Pair, random: np.random.Generator) -> Iterator[float]:
    """Prompts of several lengths prefilled together, then token by token: the logits of the whole texts."""
    model, lengths = one.model, np.array(PREFILLED)
    texts = draws(random, [length + DECODED for length in PREFILLED], model.config.vocabulary)
    prompts = np.zeros((len(texts), max(PREFILLED)), np.int32)
    for row, (text, length) in enumerate(zip(texts, PREFILLED, strict=True)):
        prompts[row, :length] = text[:length]
    weights = jax.jit(model.publish)(one.params)
    room = max(PREFILLED) + DECODED
    cache = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), model.cache_shapes(len(texts), room))
    hidden, cache = jax.jit(model.prefill)(weights, prompts, lengths, cache)
    found, decode = [hidden], jax.jit(model.decode)
    for step in range(DECODED):
        following = np.array([text[length + step] for text, length in zip(texts, PREFILLED, strict=True)])
        hidden, cache = decode(weights, following, cache)
        found.append(hidden)
    logits = our_logits(one, np.stack(found, axis=1))
    for row, (text, length) in enumerate(zip(texts, PREFILLED, strict=True)):
        yield apart(logits[row], their_logits(one, text)[length - 1 :])


def logits(seed: int) -> Iterator[Compared]:
    """Every family's checkpoints, with heads and windows drawn anew."""
    packed, cached = [], []
    for number, (name, case) in enumerate(families().items()):
        random = np.random.default_rng([seed, number])
        one = pair(varied(case, random), int(random.integers(2**31)))
        packed += packed_logits(one, random)
        cached += cached_logits(one, random)
        print(f"  {name}: packed {max(packed[-4:]):.1e}, cached {max(cached[-3:]):.1e}", flush=True)
    kinds = len(families())
    yield Compared(f"logits of packed rows, {kinds} checkpoints", "transformers", *worst(packed), LOGITS_WITHIN)
    yield Compared("logits of ragged prefill + cached decode", "transformers", *worst(cached), LOGITS_WITHIN)


def small_vocabulary(seed: int) -> Pair:
    """A model of few tokens, of which some end a completion, so that many do."""
    case = families()["qwen3"]
    return pair(replace(case, settings={**case.settings, "vocab_size": 16, "num_hidden_layers": 1}), seed)


def their_beams(one: Pair, settings: BeamSettings, prompt: list[int]) -> tuple[list[list[int]], list[float]]:
    """Sequences up to their end, and their scores, best first.

    The search is named, since ``generate`` takes one beam for a wish to search greedily, where nothing ends a
    completion but the likeliest token.
    """
    with torch.no_grad():
        found = one.theirs.generate(
            torch.tensor([prompt]),
            attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
            custom_generate=type(one.theirs)._beam_search,
            num_beams=settings.beams,
            num_return_sequences=settings.beams,
            max_new_tokens=settings.max_new_tokens,
            length_penalty=settings.length_penalty,
            early_stopping=settings.early_stopping,
            eos_token_id=list(settings.end_ids),
            pad_token_id=0,
            do_sample=False,
            output_scores=True,
            return_dict_in_generate=True,
        )
    sequences = []
    for tokens in found.sequences[:, len(prompt) :].tolist():
        ends = [place for place, token in enumerate(tokens) if token in settings.end_ids]
        sequences.append(tokens[: ends[0] + 1] if ends else tokens)
    return sequences, found.sequences_scores.tolist()


def beams(seed: int) -> Iterator[Compared]:
    """All numbers of beams with all ways to stop; each penalty meets each of those, and so do one end and two."""
    one, random = small_vocabulary(seed), np.random.default_rng(seed)
    weights = jax.jit(one.model.publish)(one.params)
    unequal, scores = [], []
    for (place, count), (way, early) in product(enumerate(BEAMS), enumerate(EARLY_STOPPING)):
        penalty, ends = PENALTIES[(place + 2 * way) % len(PENALTIES)], ENDS[(place + way) % len(ENDS)]
        settings = BeamSettings(count, NEW[place], ends, length_penalty=penalty, early_stopping=early)
        prompts = draws(random, random.integers(1, 15, PROMPTS), one.model.config.vocabulary)
        ours: Beams = build_beam(one.model, one_device(), settings)(weights, prompts)
        for row, prompt in enumerate(prompts):
            sequences, their_scores = their_beams(one, settings, prompt)
            both = zip(ours.rollouts.tokens[row], ours.rollouts.lengths[row], strict=True)
            differ = [tokens[:length].tolist() for tokens, length in both] != sequences
            unequal.append(float(differ))
            scores.append(apart(ours.scores[row], their_scores))
            if differ or scores[-1] > SCORES_WITHIN:
                print(f"  {settings}, prompt {prompt}: {sequences} {their_scores}, ours {ours}", flush=True)
    yield Compared("beam search: cases with another sequence", "transformers generate", len(unequal), sum(unequal), 0)
    yield Compared("beam search: scores", "transformers generate", *worst(scores), SCORES_WITHIN)


def warpers_of(temperature: float, truncation: Truncation | None) -> LogitsProcessorList:
    """What transformers does to logits before it samples, in the order of its ``generate``."""
    warpers = LogitsProcessorList([TemperatureLogitsWarper(temperature)])
    if truncation is not None and truncation.top_k:
        warpers.append(TopKLogitsWarper(truncation.top_k))
    if truncation is not None:
        warpers.extend([TopPLogitsWarper(truncation.top_p), MinPLogitsWarper(truncation.min_p)])
    return warpers


def warped(one: Pair, text: list[int], warpers: LogitsProcessorList) -> torch.Tensor:
    """Log-probabilities [T, V] of what follows each token of a text, by transformers' own warpers of logits."""
    return torch.log_softmax(warpers(torch.tensor([text]), torch.tensor(their_logits(one, text))), -1)


def sampler_apart(one: Pair, prompt: list[int], rollouts: Rollouts, row: int, warpers: LogitsProcessorList) -> float:
    """How far the log-probabilities that the sampler gives are from those of the distribution that it should have.

    Infinite where it drew a token that the warpers leave out.
    """
    found = []
    for tokens, log_probs, length in zip(
        rollouts.tokens[row], rollouts.log_probs[row], rollouts.lengths[row], strict=True
    ):
        new = tokens[:length]
        right_NV = warped(one, [*prompt, *new.tolist()], warpers)[len(prompt) - 1 : -1]
        found.append(apart(log_probs[:length], right_NV[torch.arange(length), torch.tensor(new, dtype=torch.long)]))
    return max(found)


def deviations(drawn: np.ndarray, right_V: np.ndarray) -> float:
    """How many standard errors the counts of tokens are off at most, of tokens that are expected often enough."""
    counts_V, expected_V = np.bincount(drawn, minlength=len(right_V)), len(drawn) * right_V
    errors_V = np.sqrt(np.maximum(expected_V * (1 - right_V), 1e-12))
    return float((np.abs(counts_V - expected_V) / errors_V)[expected_V >= EXPECTED].max())


def sampling(seed: int) -> Iterator[Compared]:
    """Log-probabilities of whole completions, and how often each token is drawn first."""
    one, random = small_vocabulary(seed), np.random.default_rng(seed)
    prompts = draws(random, (1, 4, 7, 12), one.model.config.vocabulary)
    whole = build_engine(one.model, one_device(), SamplerSettings(4, NEW_SAMPLED, ENDS[1]))
    first = build_engine(one.model, one_device(), SamplerSettings(SAMPLES, 1, ENDS[1]))
    weights, key = whole.publish(one.params), jax.random.key(seed)
    given, frequencies = [], []
    for temperature, truncation in product(TEMPERATURES, TRUNCATIONS):
        warpers, asked = warpers_of(temperature, truncation), (weights, prompts, range(len(prompts)), key, temperature)
        rollouts = whole.generate(*asked, truncation=truncation)
        drawn_PG1 = first.generate(*asked, truncation=truncation).tokens
        for row, prompt in enumerate(prompts):
            given.append(sampler_apart(one, prompt, rollouts, row, warpers))
            frequencies.append(deviations(drawn_PG1[row, :, 0], warped(one, prompt, warpers)[-1].exp().numpy()))
    yield Compared(
        "sampler, top-k, top-p, min-p: log-probabilities", "transformers' warpers", *worst(given), SCORES_WITHIN
    )
    what = f"sampler: counts of {SAMPLES} first tokens, standard errors"
    yield Compared(what, "transformers' warpers", *worst(frequencies), DEVIATIONS)
