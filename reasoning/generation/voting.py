"""Votes: the answer that most samples of one problem agree on (self-consistency, Wang et al., arXiv 2203.11171).

Shapes: S samples of one problem.
"""

import math
from collections.abc import Sequence

from reasoning.core.errors import InputError


def tally(answers: Sequence[str | None], weights: Sequence[float] | None = None) -> dict[str, float]:
    """Each answer's votes, or its weights' sum, in the order in which answers were first given; None abstains.

    Sums are rounded once (``math.fsum``), so they don't depend on the samples' order. Raises InputError for weights
    that are negative, not finite, or not one an answer.
    """
    weights = [1.0] * len(answers) if weights is None else list(weights)
    if len(weights) != len(answers):
        raise InputError(f"a vote over {len(answers)} answers has {len(weights)} weights; give one weight an answer")
    wrong = [weight for weight in weights if not 0 <= weight < math.inf]
    if wrong:
        raise InputError(f"a vote has the weight {wrong[0]}; weights are finite and not below 0")
    ballots: dict[str, list[float]] = {}
    for answer, weight in zip(answers, weights, strict=True):
        if answer is not None:
            ballots.setdefault(answer, []).append(weight)
    return {answer: math.fsum(each) for answer, each in ballots.items()}


def majority(answers: Sequence[str | None], weights: Sequence[float] | None = None) -> str | None:
    """The answer with the most votes, or the largest sum of weights; None where nobody gave one.

    Of equals the one given first wins, so the same samples always elect the same answer: where all differ, and no
    weights are given, the first. Raises InputError as ``tally`` does.
    """
    counted = tally(answers, weights)
    return max(counted, key=lambda answer: counted[answer], default=None)


def likelihoods(answers: Sequence[str | None], log_probs: Sequence[float]) -> list[float]:
    """Weights [S] of a vote in the ratio of the samples' probabilities, from their summed log-probabilities.

    ``exp(log_prob - largest)``, the largest taken over samples with an answer: such a one gets weight 1, and however
    small all probabilities are, their ratios stay. Samples without an answer get 0. This is the "unnormalized
    weighted sum" of arXiv 2203.11171, table 1. Raises InputError where a log-probability is NaN or above 0 by more
    than rounding.
    """
    wrong = [value for value in log_probs if not value <= 1e-3]
    if wrong:
        raise InputError(f"a sample has the log-probability {wrong[0]}; it must not be above 0")
    voting = [value for answer, value in zip(answers, log_probs, strict=True) if answer is not None]
    largest = max(voting, default=-math.inf)
    if largest == -math.inf:
        return [float(answer is not None) for answer in answers]
    return [
        0.0 if answer is None else math.exp(value - largest) for answer, value in zip(answers, log_probs, strict=True)
    ]
