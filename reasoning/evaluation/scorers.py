"""What judges replies without knowing the right answer: the seam of scorers and of who weighs or searches by them.

A scorer gives each step of a reply a probability of being right; an aggregation makes one number a reply of them.

Shapes: R replies, E ends of one reply's steps.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Protocol, runtime_checkable

import numpy as np

from reasoning.core.errors import InputError
from reasoning.core.signatures import Takes, function_words
from reasoning.data.tokenizers.tokenizer import Tokenizer

Tokens = Sequence[Sequence[int]]
"""One list of ids a text, or of places in one."""


@dataclass(frozen=True)
class Cost:
    """What a scorer reads for each of R replies, prompts included: tokens [R] and floating-point operations [R]."""

    tokens_R: np.ndarray
    flops_R: np.ndarray

    @staticmethod
    def nothing(replies: int) -> "Cost":
        """What a scorer costs that reads nothing."""
        return Cost(np.zeros(replies, np.int64), np.zeros(replies))


@dataclass(frozen=True)
class StepScores:
    """What a scorer made of all replies to P problems: its scores [P][S][E], and what it read, [P, S] both."""

    steps: list[list[np.ndarray]]
    tokens: np.ndarray
    flops: np.ndarray


@runtime_checkable
class Scorer(Protocol):
    """Judges replies, or their first steps, by the token ids that the model under examination read and wrote."""

    @property
    def separator(self) -> str:
        """The text that ends each step which it judges (``step_ends``); empty: it judges whole replies only."""
        ...

    def scores(self, prompts: Tokens, replies: Tokens, ends: Tokens) -> list[np.ndarray]:
        """For each reply the probability of being right, float64 [E] in 0..1, at each of its places ``ends``.

        A place is a token's number in the reply, from 0: that of the last token of a step. The last one is the reply's
        end, or that of a reply so far. Every process gets all numbers. Raises InputError for a text that is too long.
        """
        ...

    def cost(self, prompts: Tokens, replies: Tokens, ends: Tokens) -> Cost:
        """What ``scores`` takes of the same arguments, padding left out."""
        ...


Aggregation = Annotated[Callable[[np.ndarray], float], Takes(("scores_E",))]
"""From the scores [E] of a reply's steps, of which there is at least one, to one number that is not below 0."""


def last(scores_E: np.ndarray) -> float:
    """The last step's score: all of an outcome reward model's, and that of the whole reply."""
    return float(scores_E[-1])


def mean(scores_E: np.ndarray) -> float:
    """The mean of the steps' scores."""
    return float(scores_E.mean())


def minimum(scores_E: np.ndarray) -> float:
    """The worst step's score, as Math-Shepherd takes it (arXiv 2312.08935, section 3.4)."""
    return float(scores_E.min())


def product(scores_E: np.ndarray) -> float:
    """The probability that all steps are right, if they were independent (arXiv 2305.20050, section 2.6)."""
    return float(scores_E.prod())


def total(scores_E: np.ndarray) -> float:
    """The sum of the steps' scores, which favours replies of many steps."""
    return float(scores_E.sum())


def aggregated(aggregate: Aggregation, steps: Sequence[np.ndarray]) -> np.ndarray:
    """One number [R] of each reply's steps. Raises InputError where it is none, or below 0."""
    values_R = np.array([aggregate(np.asarray(scores_E, np.float64)) for scores_E in steps], np.float64)
    if (wrong := values_R[~(np.isfinite(values_R) & (values_R >= 0))]).size:
        raise InputError(
            f"{function_words(aggregate)} made {wrong[0]:g} of a reply's scores; it must give a finite number that is "
            "not below 0"
        )
    return values_R


def read_by(scorer: Scorer, tokenizer: Tokenizer, prompts: Tokens, replies: Tokens) -> tuple[list[np.ndarray], Cost]:
    """The scores [E] of each reply's steps, and what they cost.

    A reply without tokens, which nobody wrote, is not read; its one score is 0.
    """
    written = [number for number, reply in enumerate(replies) if len(reply)]
    ends = [step_ends(tokenizer, replies[number], scorer.separator) for number in written]
    asked = ([prompts[number] for number in written], [replies[number] for number in written], ends)
    steps_R: list[np.ndarray] = [np.zeros(1)] * len(replies)
    for number, scores_E in zip(written, scorer.scores(*asked), strict=True):
        steps_R[number] = scores_E
    read, cost = Cost.nothing(len(replies)), scorer.cost(*asked)
    read.tokens_R[written], read.flops_R[written] = cost.tokens_R, cost.flops_R
    return steps_R, read


def step_ends(tokenizer: Tokenizer, reply: Sequence[int], separator: str) -> list[int]:
    """The places of a reply's tokens with which its steps end, from 0; the last one is the reply's last token.

    A step ends with the token that completes a ``separator``; one that crosses tokens counts with the last of them, and
    several in one token are one end. Without a separator the whole reply is one step. No end of a reply without tokens.
    """
    if not len(reply):
        return []
    found: set[int] = set()
    if separator:
        pieces = tokenizer.decode_batch([[token] for token in reply], lenient=True)
        behind = np.cumsum([len(piece) for piece in pieces])  # where each token's text ends
        text, start = "".join(pieces), 0
        while (at := text.find(separator, start)) >= 0:
            start = at + len(separator)
            found.add(int(np.searchsorted(behind, start)))
    return sorted(found | {len(reply) - 1})
