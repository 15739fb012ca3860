"""Asking a run's model one question: replies with their answers, and what they elect."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from reasoning.core.errors import InputError
from reasoning.core.ranges import Count
from reasoning.core.text import printable, steady
from reasoning.data.chat.format import ChatFormat, Message
from reasoning.data.tokenizers.tokenizer import stop_ids, text_ends
from reasoning.generation.beam import BeamSettings, build_beam
from reasoning.generation.engine import Rollouts
from reasoning.generation.prompts import PromptStyle, direct, reply_opening, thinking
from reasoning.generation.voting import likelihoods, majority, tally
from reasoning.generation.watching import GO_ON, Watch, Writing
from reasoning.rollouts.text import AS_IT_IS, decode_replies
from reasoning.use.loaded_model import LoadedModel, ModelReply

STYLE_NAMES = ("plain", "think", "direct")

_SHOWN_EVERY = 4
"""Tokens after which a reply that is being written is shown again."""


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


def likeliest_reply(
    model: LoadedModel,
    question: str,
    show: Callable[[str], None],
    max_new_tokens: int | None = None,
    style: PromptStyle = AS_IT_IS,
    history: Sequence[Message] = (),
) -> ModelReply:
    """The likeliest reply, of which ``show`` is given each piece of text as it is written, and at last an empty one.

    The pieces are together what ``printable`` makes of the reply. Raises InputError as ``LoadedModel.replies`` does.
    """
    opening, shown = reply_opening(style, model.chat), ""
    ends = text_ends(model.tokenizer, model.chat)

    def grow(text: str) -> None:
        nonlocal shown
        # Few tokenizers change what they have decoded; what doesn't go on is shown whole at last.
        if text.startswith(shown) and text != shown:
            show(text[len(shown) :])
            shown = text

    def look(writing: Writing) -> list[int]:
        for tokens in writing.tokens:
            row, length = np.array([[tokens]], np.int32), np.array([[len(tokens)]], np.int32)
            rollouts = Rollouts(row, row.astype(np.float32), length, length > 0)
            [[text]] = decode_replies(model.tokenizer, rollouts, model.chat, opening)
            # An end that is text isn't shown, so neither is what may become one.
            begun = [size for end in ends for size in range(1, len(end)) if text.endswith(end[:size])]
            grow(printable(steady(text[: len(text) - max(begun, default=0)])))
        return [GO_ON] * len(writing.tokens)

    watch = Watch(look, _SHOWN_EVERY)
    [[reply]] = model.replies([question], 1, 0.0, max_new_tokens, style=style, watch=watch, history=history)
    whole = printable(reply.text)
    if not whole.startswith(shown):
        show("")
        shown = ""
    grow(whole)
    show("")
    return reply


def search_replies(
    model: LoadedModel,
    question: str,
    beams: Count,
    max_new_tokens: int | None = None,
    style: PromptStyle = AS_IT_IS,
    history: Sequence[Message] = (),
) -> tuple[tuple[ModelReply, float], ...]:
    """What a beam search finds, best first, each with its score: the mean log-probability of its tokens.

    Raises InputError as ``LoadedModel.replies`` does.
    """
    if beams < 1:
        raise InputError(f"a search with {beams} beams finds nothing; give at least 1")
    prompts, limit = model.prompts([question], max_new_tokens, style, history)
    settings = BeamSettings(beams, limit, stop_ids(model.tokenizer, model.chat))
    result = build_beam(model.model, model.mesh, settings)(model.weights, prompts)
    [replies] = model.read_replies(result.rollouts, style)
    return tuple(
        (reply, score) for reply, score in zip(replies, result.scores[0].tolist(), strict=True) if reply.length
    )


def count_votes(given: Sequence[ModelReply]) -> Vote:
    """The vote of some replies to one question; those without an answer abstain, and are counted last.

    Answers of one value share a ballot, under the spelling given first.
    """
    answers = [reply.answer for reply in given]
    weights = likelihoods(answers, [reply.log_prob for reply in given], [reply.length for reply in given])
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
