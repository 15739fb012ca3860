"""Asking a model held-out problems: the questions, how many samples, and how replies are scored.

Shapes: P problems, S samples a problem.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import jax
import numpy as np
from jax.sharding import Mesh

from reasoning.core.mesh import everyone
from reasoning.core.ranges import Count, NonNegative
from reasoning.data.chat import ChatFormat
from reasoning.data.tokenizer import UNKNOWN_ID, Tokenizer
from reasoning.generation.engine import Engine, Rollouts, build_engine
from reasoning.generation.sampler import SamplerSettings
from reasoning.models.cache import Weights
from reasoning.models.model import Model
from reasoning.tasks.problems import Problem, ProblemSet

Reward = Callable[..., list[float]]
"""Rewards in TRL's batched form: ``reward(prompts, completions, answer=…, **columns) -> list of numbers``."""


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


def rate(
    rewards: Sequence[Reward],
    problems: Sequence[Problem],
    texts: list[list[str]],
    truncated_PS: np.ndarray,
    chat: ChatFormat,
) -> dict[str, np.ndarray]:
    """Each reward function's values [P, S], by its name; every function gets the problem's columns."""
    samples = truncated_PS.shape[1]
    repeated = [problem for problem in problems for _ in range(samples)]
    columns = {
        "answer": [problem.answer for problem in repeated],
        "kind": [problem.kind for problem in repeated],
        "truncated": [bool(cut) for cut in truncated_PS.reshape(-1)],
    }
    prompts = [chat.prompt(problem.question) for problem in repeated]
    completions = [text for group in texts for text in group]
    return {
        reward.__name__: np.asarray(reward(prompts, completions, chat=chat, **columns), np.float64).reshape(-1, samples)
        for reward in rewards
    }


def exam_engine(exam: Exam, model: Model, mesh: Mesh, tokenizer: Tokenizer, samples: int) -> Engine:
    """The engine that samples an exam's replies."""
    end_id = tokenizer.symbol_id(exam.chat.end)
    return build_engine(model, mesh, SamplerSettings(samples, exam.max_new_tokens, end_id))


def ask(
    exam: Exam, engine: Engine, weights: Weights, tokenizer: Tokenizer, key: jax.Array, temperature: float
) -> Answers:
    """All replies to an exam, on every process; each process samples its share of every batch."""
    problems, parts = exam.problems.problems(), []
    for start in range(0, len(problems), exam.batch):
        parts.append(_ask_batch(exam, engine, weights, tokenizer, key, temperature, problems, start))
    rollouts = Rollouts(*(np.concatenate([getattr(part, name) for part in parts]) for name in Rollouts.names()))
    texts = replies(tokenizer, rollouts, tokenizer.symbol_id(exam.chat.end))
    scores = rate((*exam.scores, *exam.rates), problems, texts, rollouts.truncated, exam.chat)
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
