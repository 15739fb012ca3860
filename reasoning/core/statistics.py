"""Means with honest intervals: over problems, over samples of problems, and over seeds.

Shapes: P problems, S samples a problem, N independent values (problems or seeds).
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy import stats

from reasoning.core.errors import InputError

_LEVEL = 0.95
"""The share of intervals that should contain the true value; every interval here is a 95 % interval."""


@dataclass(frozen=True)
class Interval:
    """A mean, the ends of its 95 % interval, and the number of independent values behind it."""

    mean: float
    low: float
    high: float
    count: int

    def excludes(self, value: float) -> bool:
        """Whether the data tell the true mean from ``value``; where not, the honest word is "can't tell"."""
        return not self.low <= value <= self.high


def pass_at_k(correct: Int[np.ndarray, " P"], samples: int, k: int) -> Float[np.ndarray, " P"]:
    """Each problem's unbiased chance that at least one of ``k`` samples is right: 1 - C(n-c, k) / C(n, k).

    ``correct`` counts the right ones of each problem's n = ``samples``. The plug-in 1 - (1 - c/n)^k is biased.
    Computed in logarithms, so that neither large binomials overflow nor small chances cancel. Source: Chen et al. 2021,
    arXiv 2107.03374, equation 1. Raises InputError for counts outside 0..n or k outside 1..n.
    """
    correct_P = np.asarray(correct)
    if not 1 <= k <= samples:
        raise InputError(
            f"pass@{k} can't be estimated from {samples} samples a problem; draw at least {k}, with k >= 1"
        )
    if np.any(correct_P < 0) or np.any(correct_P > samples):
        raise InputError(f"counts of right answers must lie in 0..{samples}; got {correct_P.min()}..{correct_P.max()}")
    # C(n-c, k) / C(n, k) is the product over j < k of (n - c - j) / (n - j) = 1 - c / (n - j), zero once c > n - k.
    remaining_K = samples - np.arange(k)
    share_PK = np.minimum(correct_P[:, None] / remaining_K[None, :], 1.0)
    with np.errstate(divide="ignore"):
        return -np.expm1(np.log1p(-share_PK).sum(axis=1))


def mean_over_problems(values: Float[np.ndarray, "P S"] | Float[np.ndarray, " P"]) -> Interval:
    """The mean of values in 0..1 (accuracies, pass@k), with an interval that takes problems, not samples, as drawn.

    Samples of one problem resemble each other, so the standard error comes from the spread of the problems' means
    (cluster-robust). It is turned into an effective number of samples n, and that into Wilson's score interval with a
    Student quantile of P - 1 degrees of freedom: unlike mean ± t·error it stays within 0..1 and has width at 0 and 1.
    Sources: Dean and Pagano 2015 (J. Surv. Stat. Methodol. 3, 484, "Wilson" with the design effect); Wilson 1927.
    Where no spread is seen, n is P at a mean of 0 or 1 and at most the number of samples elsewhere.
    Raises InputError for no values or values outside 0..1.
    """
    values_PS = _finite(values)
    values_PS = values_PS.reshape(len(values_PS), -1)
    if values_PS.min() < 0 or values_PS.max() > 1:
        raise InputError(f"shares must lie in 0..1; got {values_PS.min()}..{values_PS.max()}; use mean_with_interval")
    problems, mean = len(values_PS), float(values_PS.mean())
    if problems == 1:
        return Interval(mean, 0.0, 1.0, 1)
    error = float(values_PS.mean(axis=1).std(ddof=1)) / np.sqrt(problems)
    low, high = _wilson(mean, _effective_samples(mean, error, problems, values_PS.size), _student(problems))
    return Interval(mean, low, high, problems)


def mean_with_interval(values: Float[np.ndarray, " N"]) -> Interval:
    """The mean of independent values on any scale (lengths, or one result a seed), with Student's t interval.

    One value says nothing about the spread: its interval is infinite. A bootstrap over 3 to 5 seeds covers 75 to 85 %
    instead of 95, t covers 95 for anything near normal. Raises InputError for no or non-finite values.
    """
    values_N = _finite(values)
    if values_N.ndim != 1:
        raise InputError(f"independent values have the shape (N,), got {values_N.shape}; average each problem first")
    mean = float(values_N.mean())
    half = _half_width(values_N) if len(values_N) > 1 else np.inf
    return Interval(mean, mean - half, mean + half, len(values_N))


def difference_over_seeds(first: Float[np.ndarray, " N"], second: Float[np.ndarray, " N"]) -> Interval:
    """The mean of ``first - second`` where the N runs of both arms share their seeds, with Student's t interval.

    Pairing takes what a seed does to both arms out of the spread. Raises InputError for different lengths.
    """
    first_N, second_N = _pair(first, second)
    return mean_with_interval(first_N - second_N)


def difference_over_problems(
    first: Float[np.ndarray, "P S"] | Float[np.ndarray, " P"],
    second: Float[np.ndarray, "P S"] | Float[np.ndarray, " P"],
) -> Interval:
    """The mean of ``first - second`` for two models that answered the same problems, values in 0..1.

    Samples are averaged within a problem, then Student's t over the P differences, clipped to -1..1. Where all
    differences are equal (both models always right), the interval takes its width from Wilson's for 0 of P: problems
    on which the models differ may be rarer than 1 in P, but not absent. Raises InputError for different P.
    """
    first_P, second_P = _pair(*(_per_problem(values) for values in (first, second)))
    difference_P = first_P - second_P
    problems, mean = len(difference_P), float(difference_P.mean())
    if problems == 1:
        return Interval(mean, -1.0, 1.0, 1)
    half = _half_width(difference_P) if np.ptp(difference_P) > 0 else _wilson(0.0, problems, _student(problems))[1]
    return Interval(mean, max(mean - half, -1.0), min(mean + half, 1.0), problems)


def _effective_samples(mean: float, error: float, problems: int, samples: int) -> float:
    """How many independent draws of 0 or 1 would know ``mean`` as well as this; never more than were drawn."""
    if mean in (0.0, 1.0):
        return problems
    return min(mean * (1 - mean) / error**2, samples) if error > 0 else samples


def _wilson(mean: float, samples: float, quantile: float) -> tuple[float, float]:
    """Wilson's score interval for a share ``mean`` of ``samples``."""
    shrink = 1 + quantile**2 / samples
    centre = (mean + quantile**2 / (2 * samples)) / shrink
    half = quantile * np.sqrt(mean * (1 - mean) / samples + (quantile / (2 * samples)) ** 2) / shrink
    # Rounding must not push the interval off its own mean at 0 and 1.
    return min(max(float(centre - half), 0.0), mean), max(min(float(centre + half), 1.0), mean)


def _student(count: int) -> float:
    return float(stats.t.ppf(0.5 + _LEVEL / 2, count - 1))


def _half_width(values_N: np.ndarray) -> float:
    return _student(len(values_N)) * float(values_N.std(ddof=1)) / float(np.sqrt(len(values_N)))


def _finite(values: np.ndarray) -> np.ndarray:
    """The values as float64, at least one, none NaN or infinite."""
    values = np.asarray(values, np.float64)
    if values.size == 0 or not np.all(np.isfinite(values)):
        raise InputError(
            f"an interval needs finite values; got {values.size} values, "
            f"{np.count_nonzero(~np.isfinite(values))} of them not finite"
        )
    return values


def _per_problem(values: np.ndarray) -> np.ndarray:
    values_PS = _finite(values)
    return values_PS.reshape(len(values_PS), -1).mean(axis=1)


def _pair(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    first, second = _finite(first), _finite(second)
    if first.shape != second.shape:
        raise InputError(f"paired values must belong together one by one; got the shapes {first.shape}, {second.shape}")
    return first, second
