"""Samples of one question as they end, with a budget of thinking where one is asked for, and what is made of them.

Shapes: S samples, N new tokens.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import jax
import numpy as np

from reasoning.core.errors import InputError
from reasoning.data.chat.format import Message
from reasoning.evaluation.budget import Words, rollouts_of, think
from reasoning.generation.engine import Rollouts
from reasoning.generation.prompts import PromptStyle, direct, thinking
from reasoning.generation.truncation import ALL_TOKENS, Truncation
from reasoning.generation.watching import GO_ON, Watch, Writing
from reasoning.rollouts.text import AS_IT_IS
from reasoning.use.ask import count_votes
from reasoning.use.loaded_model import LoadedModel, ModelReply

_SHOWN_EVERY = 16
"""Tokens after which samples that have ended are shown."""

Told = Callable[[Sequence[ModelReply]], None]
"""Is given all samples that have ended so far, the newest last, each time that some have."""


def _elected_by_votes(replies: Sequence[ModelReply]) -> str | None:
    return count_votes(replies).majority


def _elected_by_probability(replies: Sequence[ModelReply]) -> str | None:
    return count_votes(replies).weighted


def _of_the_surest(replies: Sequence[ModelReply]) -> str | None:
    return max(replies, key=lambda reply: reply.log_prob / max(reply.length, 1)).answer


CHOICES: dict[str, Callable[[Sequence[ModelReply]], str | None]] = {
    "majority": _elected_by_votes,
    "weighted": _elected_by_probability,
    "best": _of_the_surest,
}
"""How an answer is chosen from samples: by votes, by probability, or that of the sample with the likeliest tokens."""


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """How samples are drawn; with a ``think_budget`` each thinks that many tokens at most (``evaluation.budget``)."""

    samples: int = 16
    temperature: float = 1.0
    max_new_tokens: int | None = None
    seed: int = 0
    style: PromptStyle = AS_IT_IS
    truncation: Truncation = ALL_TOKENS
    think_budget: int | None = None


def sampled_replies(
    model: LoadedModel, question: str, drawing: Drawing, told: Told, history: Sequence[Message] = ()
) -> tuple[ModelReply, ...]:
    """The samples in their order; ``told`` sees them in that in which they end.

    Raises InputError as ``LoadedModel.replies`` does, and for a budget that the chat format or the limit can't hold.
    """
    if drawing.think_budget is not None and drawing.think_budget != 0:
        return _within_budget(model, question, drawing, drawing.think_budget, told, history)
    style = drawing.style if drawing.think_budget is None else direct(model.chat)
    ended: list[ModelReply] = []

    def over(writing: Writing) -> None:
        # A completion that is told has ended; whether by its limit decides whether it has an answer.
        lengths = [len(tokens) for tokens in writing.tokens]
        rows = np.zeros((1, len(lengths), max(lengths)), np.int32)
        for place, tokens in enumerate(writing.tokens):
            rows[0, place, : len(tokens)] = tokens
        cut = np.array(
            [
                [
                    length >= limit and tokens[-1] not in ends
                    for length, tokens in zip(lengths, writing.tokens, strict=True)
                ]
            ]
        )
        rollouts = Rollouts(rows, np.zeros(rows.shape, np.float32), np.array([lengths]), cut)
        ended.extend(model.read_replies(rollouts, style)[0])
        told(ended)

    _, limit = model.prompts([question], drawing.max_new_tokens, style, history)
    ends = model.ends
    watch = Watch(lambda writing: [GO_ON] * len(writing.tokens), _SHOWN_EVERY, over)
    [replies] = model.replies(
        [question],
        drawing.samples,
        drawing.temperature,
        drawing.max_new_tokens,
        drawing.seed,
        style,
        drawing.truncation,
        watch,
        history,
    )
    return replies


def _within_budget(
    model: LoadedModel, question: str, drawing: Drawing, budget: int, told: Told, history: Sequence[Message]
) -> tuple[ModelReply, ...]:
    """Samples whose thoughts are closed after ``budget`` tokens, where they haven't ended by then."""
    chat = model.chat
    if not chat.think_open or not chat.think_close:
        raise InputError("a budget ends what stands between the tags of thinking, and this chat format has none")
    style = thinking(chat)
    [prompt], limit = model.prompts([question], drawing.max_new_tokens, style, history)
    words = Words.of(chat, model.tokenizer, "")
    room = limit - budget - len(words.close)
    if budget < 0 or room < 1:
        raise InputError(
            f"a budget of {budget} tokens and the end of the thought leave {max(room, 0)} of {limit} new tokens to "
            "answer with; lower it, or raise --max-new-tokens"
        )

    def write(prompts: Sequence[Sequence[int]], limit: int, longest: int, key: jax.Array) -> Rollouts:
        return model.rollouts(prompts, 1, drawing.temperature, limit, key, drawing.truncation)

    written = think(write, [prompt] * drawing.samples, words, budget, 0, room, jax.random.key(drawing.seed))
    [replies] = model.read_replies(rollouts_of(written, (1, drawing.samples), limit), style)
    told(replies)
    return replies
