"""Asking a model held-out problems: the questions, how many samples, and how replies are scored.

Shapes: P problems, S samples a problem.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass

import jax
import numpy as np
from jax.sharding import Mesh

from reasoning.core.errors import InputError
from reasoning.core.ranges import Count, NonNegative
from reasoning.data.chat.format import ChatFormat
from reasoning.data.tokenizers.tokenizer import Tokenizer, end_ids
from reasoning.generation.beam import BeamSettings, build_beam
from reasoning.generation.engine import Engine, Rollouts, build_engine
from reasoning.generation.prompts import PromptStyle, reply_opening
from reasoning.generation.sampler import SamplerSettings
from reasoning.models.cache import Weights
from reasoning.models.model import Model
from reasoning.rewards.text import said
from reasoning.rollouts.rating import Reward, check_names, rate
from reasoning.rollouts.sampling import sample_for_all
from reasoning.rollouts.text import AS_IT_IS, decode_replies, encode_prompts
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
    style: PromptStyle = AS_IT_IS  # how each question is put
    chat: ChatFormat = ChatFormat()

    def __post_init__(self) -> None:
        check_names((*self.scores, *self.rates), "an exam")


@dataclass(frozen=True)
class Questions:
    """An exam's problems and what the model reads of each in one style, as token ids."""

    problems: tuple[Problem, ...]
    prompts: list[list[int]]
    style: PromptStyle


@dataclass(frozen=True)
class Answers:
    """Replies [P][S] as text, their lengths in tokens, and values [P, S] of each score and rate by its name.

    ``log_probs`` [P, S] are summed over a reply's tokens, under the distribution that was sampled from. ``said`` is the
    answer that each reply gives (``rewards.text.said``), None where it gives none or was cut off before its end.
    """

    texts: list[list[str]]
    lengths: np.ndarray
    scores: dict[str, np.ndarray]
    log_probs: np.ndarray
    said: list[list[str | None]]


def questions_of(
    exam: Exam,
    tokenizer: Tokenizer,
    context: int,
    style: PromptStyle | None = None,
    problems: tuple[Problem, ...] | None = None,
) -> Questions:
    """An exam's questions in ``style`` (by default its own); ``problems`` are the exam's, where they are at hand.

    Raises InputError as ``encode_prompts`` does.
    """
    style, problems = style or exam.style, problems or exam.problems.problems()
    prompts = encode_prompts(problems, exam.chat, tokenizer, exam.max_new_tokens, context, style)
    return Questions(problems, prompts, style)


def sampling_engine(exam: Exam, model: Model, mesh: Mesh, tokenizer: Tokenizer, samples: int) -> Engine:
    """The engine that samples an exam's replies, for questions that are known to fit."""
    ends = end_ids(tokenizer, exam.chat)
    return build_engine(model, mesh, SamplerSettings(samples, exam.max_new_tokens, ends))


def beam_engine(exam: Exam, model: Model, mesh: Mesh, tokenizer: Tokenizer, beams: int) -> Engine:
    """An engine whose one reply a prompt is the best that a beam search finds; key and temperature don't matter."""
    ends = end_ids(tokenizer, exam.chat)
    search = build_beam(model, mesh, BeamSettings(beams, exam.max_new_tokens, ends))

    def best(
        weights: Weights, prompts: Sequence[Sequence[int]], ids: Sequence[int], key: jax.Array, temperature: float
    ) -> Rollouts:
        found = search(weights, prompts).rollouts
        return Rollouts(*(getattr(found, name)[:, :1] for name in Rollouts.names()))

    return Engine(sampling_engine(exam, model, mesh, tokenizer, 1).publish, best)


def ask(
    exam: Exam,
    engine: Engine,
    weights: Weights,
    tokenizer: Tokenizer,
    key: jax.Array,
    temperature: float,
    questions: Questions | None = None,
) -> Answers:
    """All replies to an exam, on every process; each process samples its share of every batch.

    ``questions`` are those of ``questions_of``, where they are at hand. Raises InputError for a score that doesn't
    apply to some problem, since every problem counts.
    """
    questions = questions or questions_of(exam, tokenizer, sys.maxsize)  # the caller knows that they fit
    problems, prompts = questions.problems, questions.prompts
    starts = range(0, len(prompts), exam.batch)
    parts = [sample_for_all(engine, weights, prompts, start, exam.batch, key, temperature) for start in starts]
    rollouts = Rollouts(*(np.concatenate([getattr(part, name) for part in parts]) for name in Rollouts.names()))
    texts = decode_replies(tokenizer, rollouts, exam.chat, reply_opening(questions.style, exam.chat))
    scores = rate((*exam.scores, *exam.rates), problems, texts, rollouts.truncated, exam.chat)
    for name, values in scores.items():
        if np.isnan(values).any():
            raise InputError(f"the score {name} gave None for a reply; in an exam it must give every reply a number")
    given = [
        [None if cut else said(text, exam.chat) for text, cut in zip(*group, strict=True)]
        for group in zip(texts, rollouts.truncated, strict=True)
    ]
    return Answers(texts, rollouts.lengths, scores, rollouts.log_probs.sum(axis=-1, dtype=np.float64), given)
