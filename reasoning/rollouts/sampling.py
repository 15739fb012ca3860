"""How a model's replies are sampled: the settings that all who sample share, and the one door to an engine."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated

import jax
import numpy as np
from jax.sharding import Mesh

from reasoning.core.mesh import rows_of_all_processes
from reasoning.core.ranges import Fraction, OptionalSize, Positive, Range, Size
from reasoning.data.chat.format import ChatFormat
from reasoning.data.tokenizers.tokenizer import Tokenizer, ids_with, stop_ids
from reasoning.generation.engine import Engine, Generate, Rollouts, build_engine
from reasoning.generation.sampler import SamplerSettings
from reasoning.generation.shaping import Shaping
from reasoning.generation.truncation import ALL_TOKENS, Truncation
from reasoning.models.cache import Weights
from reasoning.models.model import LanguageModel
from reasoning.tasks.problems import ProblemSet

TopP = Annotated[float, Range(above=0, maximum=1)]


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """Which problems a model is asked, and how its replies are sampled."""

    problems: ProblemSet
    max_new_tokens: Size  # tokens of a reply at most
    samples: Size = 16  # replies a problem
    temperature: Positive = 1.0
    chat: ChatFormat = ChatFormat()
    # Replies that a device writes side by side; each takes a cache, and where one ends the next begins (0: up to 64).
    # Log-probabilities round by how many there are, so it is part of a stage's identity.
    slots: OptionalSize = 0


@dataclass(frozen=True, kw_only=True)
class TruncatedSampling(Sampling):
    """Sampling that may leave unlikely tokens out (``generation.truncation``).

    Log-probabilities are those of what is left, so a policy gradient, which learns the whole distribution, needs
    weights for it (``objectives.correction``). Tokens that can't be drawn have no part in the gradient all the same.
    """

    top_k: OptionalSize = 0  # only the k likeliest tokens (0: all)
    top_p: TopP = 1.0  # only the likeliest tokens that have this probability together (1: all)
    min_p: Fraction = 0.0  # only tokens at least so likely as this share of the likeliest (0: all)


def sampler_for(
    model: LanguageModel,
    mesh: Mesh,
    tokenizer: Tokenizer,
    chat: ChatFormat,
    samples: int,
    max_new_tokens: int,
    slots: int = 0,
    longest_prompt: int = 0,
) -> Engine:
    """The engine that samples ``samples`` replies a prompt, each until an end of ``chat`` or the limit.

    ``slots`` and ``longest_prompt`` are those of ``SamplerSettings``.
    """
    settings = SamplerSettings(samples, max_new_tokens, stop_ids(tokenizer, chat), slots, longest_prompt)
    return build_engine(model, mesh, settings)


def truncation_of(settings: TruncatedSampling) -> Truncation:
    """Which tokens ``settings`` allow."""
    return Truncation(settings.top_k, settings.top_p, settings.min_p)


def allowed_by(settings: TruncatedSampling) -> Truncation | None:
    """What of the distribution replies are drawn from; None for all of it, which is another program."""
    truncation = truncation_of(settings)
    return None if truncation == ALL_TOKENS else truncation


def truncating(generate: Generate, truncation: Truncation) -> Generate:
    """``generate`` of the tokens that ``truncation`` allows; itself where these are all, which no program need sort."""
    return generate if truncation == ALL_TOKENS else partial(generate, truncation=truncation)


def without(characters: str, tokenizer: Tokenizer) -> Shaping:
    """Allows the tokens in whose text none of these characters stands, and the symbols of chat formats.

    A character that several tokens spell, byte by byte, can still be said.
    """
    left_out = set(ids_with(tokenizer, tuple(characters)))
    return Shaping(allowed=tuple(token for token in range(tokenizer.vocabulary_size) if token not in left_out))


def sample_for_all(
    generate: Generate,
    weights: Weights,
    prompts: Sequence[Sequence[int]],
    start: int,
    batch: int,
    key: jax.Array,
    temperature: float,
) -> Rollouts:
    """Rollouts of ``prompts[start : start + batch]`` on every process; each samples its share.

    A prompt's number in the whole sequence is its identity. A last, shorter batch is as large a program as the others,
    so that one serves all, but its other rows are done from the start.
    """
    processes, index = jax.process_count(), jax.process_index()
    share = -(-min(batch, len(prompts)) // processes)
    stop = min(start + batch, len(prompts))
    own = range(min(start + index * share, stop), min(start + (index + 1) * share, stop))
    local = generate(weights, [prompts[number] for number in own], own, key, temperature, rows=share)

    def of_all(name: str) -> np.ndarray:
        rows = getattr(local, name)
        filled = np.pad(rows, [(0, share - len(own))] + [(0, 0)] * (rows.ndim - 1))
        return rows_of_all_processes(filled)[: stop - start]

    return Rollouts(*map(of_all, Rollouts.names()))
