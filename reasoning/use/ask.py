"""Asking a run's model one question: replies with their answers, and what they elect."""

from collections.abc import Sequence
from dataclasses import dataclass

import jax
import numpy as np

from reasoning.core.errors import InputError
from reasoning.core.ranges import Count, Index, NonNegative
from reasoning.data.chat.format import ChatFormat
from reasoning.data.tokenizers.tokenizer import end_ids
from reasoning.generation.beam import BeamSettings, build_beam
from reasoning.generation.engine import Rollouts, build_engine
from reasoning.generation.prompts import PromptStyle, direct, reply_opening, thinking
from reasoning.generation.sampler import SamplerSettings
from reasoning.generation.voting import likelihoods, majority, tally
from reasoning.rewards.text import extract_answer
from reasoning.rollouts.text import decode_replies, encode_prompts
from reasoning.tasks.problems import Problem
from reasoning.use.loaded_model import NEW_TOKENS, LoadedModel

STYLE_NAMES = ("plain", "think", "direct")


@dataclass(frozen=True)
class AskedQuestion:
    """A question and how it is put; ``max_new_tokens`` 0 is 256 at most, and what the model's context has room for."""

    question: str
    style: PromptStyle = PromptStyle()
    max_new_tokens: Index = 0


@dataclass(frozen=True)
class ModelReply:
    """One reply: its text, its answer (None where it gives none or was cut off), summed log-probability and tokens."""

    text: str
    answer: str | None
    log_prob: float
    length: int
    truncated: bool


@dataclass(frozen=True)
class Ballot:
    """One answer of a vote (None: no answer): how many replies gave it, their share of the probability, the first."""

    answer: str | None
    votes: int
    weight: float
    example: ModelReply


@dataclass(frozen=True)
class Vote:
    """A counted vote: ballots with the most votes first, and the answers that votes and that weights elect."""

    ballots: tuple[Ballot, ...]
    majority: str | None
    weighted: str | None


def style_named(name: str, chat: ChatFormat) -> PromptStyle:
    """The style of a name in ``STYLE_NAMES``. Raises InputError for another."""
    styles = {"plain": PromptStyle(), "think": thinking(chat), "direct": direct(chat)}
    if name not in styles:
        raise InputError(f"there is no style {name!r}; there are {', '.join(STYLE_NAMES)}")
    return styles[name]


def sample_replies(
    model: LoadedModel, asked: AskedQuestion, count: Count, temperature: NonNegative, seed: int
) -> tuple[ModelReply, ...]:
    """``count`` replies, the same for the same arguments; temperature 0 takes the likeliest token each time.

    Raises InputError for characters that the tokenizer lacks, and for a question too long for the model.
    """
    if count < 1 or not 0 <= temperature < np.inf:
        raise InputError(
            f"{count} replies at temperature {temperature} can't be sampled; ask for at least one, at 0 or more"
        )
    prompt, limit = _prompt(model, asked)
    engine = build_engine(model.model, model.mesh, SamplerSettings(count, limit, _ends(model)))
    weights = engine.publish(model.params)
    return _read(model, asked, engine.generate(weights, [prompt], [0], jax.random.key(seed), temperature))


def search_replies(model: LoadedModel, asked: AskedQuestion, beams: Count) -> tuple[tuple[ModelReply, float], ...]:
    """What a beam search finds, best first, each with its score: the mean log-probability of its tokens.

    Raises what ``sample_replies`` raises.
    """
    if beams < 1:
        raise InputError(f"a search with {beams} beams finds nothing; give at least 1")
    prompt, limit = _prompt(model, asked)
    weights = build_engine(model.model, model.mesh, SamplerSettings(1, limit, _ends(model))).publish(model.params)
    result = build_beam(model.model, model.mesh, BeamSettings(beams, limit, _ends(model)))(weights, [prompt])
    scored = zip(_read(model, asked, result.rollouts), result.scores[0].tolist(), strict=True)
    return tuple((reply, score) for reply, score in scored if reply.length)


def count_votes(given: Sequence[ModelReply]) -> Vote:
    """The vote of some replies to one question; those without an answer abstain, and are counted last."""
    answers = [reply.answer for reply in given]
    weights = likelihoods(answers, [reply.log_prob for reply in given])
    votes, weighed = tally(answers), tally(answers, weights)
    total = sum(weighed.values())
    first = {answer: given[answers.index(answer)] for answer in dict.fromkeys(answers)}
    ballots = [
        Ballot(answer, int(votes[answer]), weighed[answer] / total, first[answer])
        for answer in sorted(votes, key=lambda answer: -votes[answer])  # of equals the one given first
    ]
    if None in first:
        ballots.append(Ballot(None, answers.count(None), 0.0, first[None]))
    return Vote(tuple(ballots), majority(answers), majority(answers, weights))


def _prompt(model: LoadedModel, asked: AskedQuestion) -> tuple[list[int], int]:
    """The question as token ids, and how many tokens a reply may have."""
    problem, context = Problem(asked.question, "", ""), model.config.context
    room = asked.max_new_tokens or 1
    [prompt] = encode_prompts([problem], model.chat, model.tokenizer, room, context, asked.style)
    return prompt, asked.max_new_tokens or min(NEW_TOKENS, context - len(prompt))


def _ends(model: LoadedModel) -> tuple[int, ...]:
    return end_ids(model.tokenizer, model.chat)


def _read(model: LoadedModel, asked: AskedQuestion, rollouts: Rollouts) -> tuple[ModelReply, ...]:
    [texts] = decode_replies(model.tokenizer, rollouts, model.chat, reply_opening(asked.style, model.chat))
    return tuple(
        ModelReply(
            text, None if cut else extract_answer(text, model.chat), float(log_probs.sum()), int(length), bool(cut)
        )
        for text, log_probs, length, cut in zip(
            texts, rollouts.log_probs[0], rollouts.lengths[0], rollouts.truncated[0], strict=True
        )
    )
