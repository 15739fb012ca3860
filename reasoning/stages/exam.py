"""Asking a model held-out problems: the questions, how many samples, and how replies are scored.

Shapes: P problems, S samples a problem.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import jax
import numpy as np
from jax.sharding import Mesh

from reasoning.core.errors import InputError
from reasoning.core.mesh import everyone
from reasoning.core.ranges import Count, NonNegative
from reasoning.data.chat import ChatFormat
from reasoning.data.tokenizer import UNKNOWN_ID, Tokenizer
from reasoning.generation.engine import Engine, Rollouts, build_engine
from reasoning.generation.sampler import SamplerSettings
from reasoning.models.cache import Weights
from reasoning.models.model import Model
from reasoning.stages.rating import Reward, check_names, rate
from reasoning.tasks.problems import Problem, ProblemSet


@dataclass(frozen=True, kw_only=True)
class Exam:
    """A set of problems and how they are asked; the same for the final evaluation and for probes during training."""

    problems: ProblemSet
    scores: tuple[Reward, ...]  # right or wrong, 1 or 0: these also get pass@k
    rates: tuple[Reward, ...] = ()  # other shares, of which only the mean is of interest
    max_new_tokens: Count
    samples: Count = 16
    temperature: NonNegative = 1.0
    batch: Count = 64  # problems asked at once
    chat: ChatFormat = ChatFormat()

    def __post_init__(self) -> None:
        check_names((*self.scores, *self.rates), "an exam")


@dataclass(frozen=True)
class Answers:
    """Replies [P][S] as text, their lengths in tokens, and values [P, S] of each score and rate by its name."""

    texts: list[list[str]]
    lengths: np.ndarray
    scores: dict[str, np.ndarray]


def replies(tokenizer: Tokenizer, rollouts: Rollouts, end_id: int) -> list[list[str]]:
    """Completions [P][S] as text, tags kept, without the end symbol.

    A model may have more ids than its tokenizer; one that stands for no text reads as the unknown character.
    """

    def ids(tokens: np.ndarray, length: int) -> list[int]:
        known = np.where(tokens < tokenizer.vocabulary_size, tokens, UNKNOWN_ID)
        kept = known[:length].tolist()
        return kept[:-1] if kept and kept[-1] == end_id else kept

    return [
        tokenizer.decode_batch([ids(tokens, int(length)) for tokens, length in zip(group, lengths, strict=True)])
        for group, lengths in zip(rollouts.tokens, rollouts.lengths, strict=True)
    ]


def encode_prompts(
    problems: Sequence[Problem], chat: ChatFormat, tokenizer: Tokenizer, room: int, context: int
) -> list[list[int]]:
    """The prompts as token ids; made before any work, so that what doesn't fit shows at once and not hours later.

    Raises InputError where the tokenizer lacks a symbol or a character, and where a prompt and ``room`` new tokens
    exceed the model's ``context``.
    """
    tokenizer.check_symbols(chat)
    prompts = tokenizer.encode_batch([chat.prompt(problem.question) for problem in problems])
    longest = max(range(len(prompts)), key=lambda number: len(prompts[number]))
    needed = len(prompts[longest]) + room
    if needed > context:
        raise InputError(
            f"the prompt {problems[longest].question!r:.80} of {len(prompts[longest])} tokens and {room} new ones make "
            f"{needed}, more than the model's context of {context}; lower max_new_tokens, shorten the questions, or "
            "train a model with a longer context"
        )
    return prompts


def exam_engine(exam: Exam, model: Model, mesh: Mesh, tokenizer: Tokenizer, samples: int) -> Engine:
    """The engine that samples an exam's replies. Raises InputError where the exam doesn't fit model and tokenizer."""
    encode_prompts(exam.problems.problems(), exam.chat, tokenizer, exam.max_new_tokens, model.config.context)
    end_id = tokenizer.symbol_id(exam.chat.end)
    return build_engine(model, mesh, SamplerSettings(samples, exam.max_new_tokens, end_id))


def ask(
    exam: Exam, engine: Engine, weights: Weights, tokenizer: Tokenizer, key: jax.Array, temperature: float
) -> Answers:
    """All replies to an exam, on every process; each process samples its share of every batch.

    Raises InputError for a score that doesn't apply to some problem, since every problem counts.
    """
    problems, parts = exam.problems.problems(), []
    for start in range(0, len(problems), exam.batch):
        parts.append(_ask_batch(exam, engine, weights, tokenizer, key, temperature, problems, start))
    rollouts = Rollouts(*(np.concatenate([getattr(part, name) for part in parts]) for name in Rollouts.names()))
    texts = replies(tokenizer, rollouts, tokenizer.symbol_id(exam.chat.end))
    scores = rate((*exam.scores, *exam.rates), problems, texts, rollouts.truncated, exam.chat)
    for name, values in scores.items():
        if np.isnan(values).any():
            raise InputError(f"the score {name} gave None for a reply; in an exam it must give every reply a number")
    return Answers(texts, rollouts.lengths, scores)


def _ask_batch(
    exam: Exam,
    engine: Engine,
    weights: Weights,
    tokenizer: Tokenizer,
    key: jax.Array,
    temperature: float,
    problems: Sequence[Problem],
    start: int,
) -> Rollouts:
    """Rollouts of one batch of problems; a last, shorter batch is filled up so that one program serves all."""
    size = -(-exam.batch // jax.process_count()) * jax.process_count()
    numbers = [min(start + offset, len(problems) - 1) for offset in range(size)]
    share = size // jax.process_count()
    own = numbers[jax.process_index() * share : (jax.process_index() + 1) * share]
    prompts = [tokenizer.encode(exam.chat.prompt(problems[number].question)) for number in own]
    local = engine.generate(weights, prompts, own, key, temperature)
    kept = min(exam.batch, len(problems) - start)
    return Rollouts(*(everyone(getattr(local, name))[:kept] for name in Rollouts.names()))
