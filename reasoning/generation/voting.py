"""Votes: the answer that most samples of one problem agree on (self-consistency, Wang et al., arXiv 2203.11171).

Shapes: S samples of one problem.
"""

import math
from collections.abc import Sequence
from fractions import Fraction

from reasoning.core.errors import InputError
from reasoning.tasks.answers import answer_value

_ROUNDING = 1e-3
"""What rounding may add to a token's log-probability, which a logarithm of a sum of exponentials leaves above 0."""


def tally(answers: Sequence[str | None], weights: Sequence[float] | None = None) -> dict[str, float]:
    """Each answer's votes, or its weights' sum, in the order in which answers were first given; None abstains.

    Answers of one value (``tasks.answers.answer_value``: ``6``, ``6.0``, ``$6``) share a ballot, under the spelling
    given first: they are what ``lenient`` and ``number`` call equal. Sums are rounded once (``math.fsum``), so they
    don't depend on the samples' order. Raises InputError for weights that are negative, not finite, or not one an
    answer.
    """
    weights = [1.0] * len(answers) if weights is None else list(weights)
    if len(weights) != len(answers):
        raise InputError(f"a vote over {len(answers)} answers has {len(weights)} weights; give one weight an answer")
    wrong = [weight for weight in weights if not 0 <= weight < math.inf]
    if wrong:
        raise InputError(f"a vote has the weight {wrong[0]}; weights are finite and not below 0")
    spellings: dict[Fraction | str, str] = {}
    ballots: dict[str, list[float]] = {}
    for answer, weight in zip(answers, weights, strict=True):
        if answer is not None:
            ballots.setdefault(spellings.setdefault(answer_value(answer), answer), []).append(weight)
    return {answer: math.fsum(each) for answer, each in ballots.items()}


def majority(answers: Sequence[str | None], weights: Sequence[float] | None = None) -> str | None:
    """The answer with the most votes, or the largest sum of weights; None where nobody gave one.

    Of equals the one given first wins, so the same samples always elect the same answer: where all differ, and no
    weights are given, the first. Raises InputError as ``tally`` does.
    """
    counted = tally(answers, weights)
    return max(counted, key=lambda answer: counted[answer], default=None)


def likelihoods(answers: Sequence[str | None], log_probs: Sequence[float], lengths: Sequence[int]) -> list[float]:
    """Weights [S] of a vote in the ratio of the samples' probabilities, from their summed log-probabilities.

    ``exp(log_prob - largest)``, the largest taken over samples with an answer: such a one gets weight 1, and however
    small all probabilities are, their ratios stay. Samples without an answer get 0. This is the "unnormalized
    weighted sum" of arXiv 2203.11171, table 1. ``lengths`` [S] are in tokens: a sum over so many may lie above 0 by
    each one's rounding, and counts as 0 then. Raises InputError where one is NaN or above 0 by more than that.
    """
    for value, length in zip(log_probs, lengths, strict=True):
        if not value <= _ROUNDING * max(length, 1):
            raise InputError(f"a sample of {length} tokens has the log-probability {value}; it must not be above 0")
    return ratios(answers, [min(value, 0.0) for value in log_probs])


def ratios(answers: Sequence[str | None], log_weights: Sequence[float]) -> list[float]:
    """Weights [S] of a vote in the ratio that their logarithms say, the largest of a sample with an answer being 1.

    Samples without an answer get 0. Where all that have one weigh nothing they weigh alike.
    """
    voting = [value for answer, value in zip(answers, log_weights, strict=True) if answer is not None]
    largest = max(voting, default=-math.inf)
    if largest == -math.inf:
        return [float(answer is not None) for answer in answers]
    pairs = zip(answers, log_weights, strict=True)
    return [0.0 if answer is None else math.exp(value - largest) for answer, value in pairs]
