"""Means with honest intervals: over problems, over samples of problems, and over seeds.

Shapes: P problems, S samples a problem, N independent values (problems or seeds).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int
from scipy import special

from reasoning.core.errors import InputError

_LEVEL = 0.95
"""The share of intervals that should contain the true value; every interval here is a 95 % interval."""

_MORE_PROBLEMS = 2
"""Typical problems added to the spread (never to the mean), as one success and one failure are for a single share."""

_PRIOR_PROBLEMS = 0.1
"""How much a problem of the largest size weighs where the typical size is estimated: all of it where none was seen."""


@dataclass(frozen=True)
class Interval:
    """A mean, the ends of its 95 % interval, and the number of independent values behind it.

    ``p_value``, which only differences have, is of the hypothesis that the true mean is 0.
    """

    mean: float
    low: float
    high: float
    count: int
    p_value: float | None = None

    @property
    def clear(self) -> bool:
        """Whether a difference from 0 may be claimed at 95 %; for intervals of ``together``, for all at once."""
        return self.p_value is not None and self.p_value <= 1 - _LEVEL

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
    (cluster-robust), to which two typical problems are added: near 0 and 1 few problems carry the mean, and their
    spread is mostly too small. The error is turned into an effective number of samples n, from P (no shares spread
    more than 0 and 1) to all of them, and that into Wilson's score interval with a Student quantile of P - 1 degrees
    of freedom: unlike mean ± t·error it stays within 0..1 and has width at 0 and 1. It covers 94 % or more for 16
    problems and more, means from .01 to .99, alike or unequal problems.
    Sources: Dean and Pagano 2015 (J. Surv. Stat. Methodol. 3, 484, "Wilson" with the design effect); Wilson 1927;
    Agresti and Coull 1998 (Am. Stat. 52, 119) for adding observations. Raises InputError for no values or values
    outside 0..1.
    """
    values_PS = _finite(values)
    values_PS = values_PS.reshape(len(values_PS), -1)
    if values_PS.min() < 0 or values_PS.max() > 1:
        raise InputError(f"shares must lie in 0..1; got {values_PS.min()}..{values_PS.max()}; use mean_with_interval")
    problems, mean = len(values_PS), float(values_PS.mean())
    if problems == 1:
        return Interval(mean, 0.0, 1.0, 1)
    squares, rarer = problems * float(values_PS.mean(axis=1).var()), min(mean, 1 - mean)
    variance = _wider(squares, _typical_size(squares, problems * rarer), problems)
    samples = float(np.clip(problems * mean * (1 - mean) / variance, problems, values_PS.size))
    low, high = _wilson(mean, samples, _student(problems))
    return Interval(mean, low, high, problems)


def statistic_over_problems(
    value: float, left_out: Float[np.ndarray, " P"], alike: float, replies: int = 1
) -> Interval:
    """A number in 0..1 of all P problems together that is no mean over them (a macro-F1), with its interval.

    ``left_out`` are its values without each of the problems: the jackknife's spread stands for that of a mean, and the
    rest is as in ``mean_over_problems``. ``alike`` says as how many problems of equal weight those at hand count, which
    is what the interval at 0 and 1 is made from; ``replies`` is how many replies a problem has.
    Source: Efron and Stein 1981 (Ann. Stat. 9, 586). Raises InputError for no values or values that aren't finite.
    """
    left_out_P = _finite(left_out)
    problems = len(left_out_P)
    if problems == 1:
        return Interval(value, 0.0, 1.0, 1)
    # What each problem moves the number by, as the distance of a mean's value from the mean.
    squares = float((((problems - 1) * (left_out_P - left_out_P.mean())) ** 2).sum())
    size = _typical_size(squares, problems * min(value, 1 - value))
    samples = problems * value * (1 - value) / _wider(squares, size, problems)
    low, high = _wilson(value, float(np.clip(samples, min(alike, problems), problems * replies)), _student(problems))
    return Interval(value, low, high, problems)


def mean_with_interval(values: Float[np.ndarray, " N"]) -> Interval:
    """The mean of independent values on any scale (lengths, or one result a seed), with Student's t interval.

    One value says nothing about the spread: its interval is infinite. A bootstrap over 3 to 5 seeds covers 75 to 85 %
    instead of 95, t covers 95 for anything near normal. Raises InputError for no or non-finite values.
    """
    values_N = _finite(values)
    if values_N.ndim != 1:
        raise InputError(f"independent values have the shape (N,), got {values_N.shape}; average each problem first")
    mean = float(values_N.mean())
    half = (
        _student(len(values_N)) * float(values_N.std(ddof=1)) / np.sqrt(len(values_N)) if len(values_N) > 1 else np.inf
    )
    return Interval(mean, mean - half, mean + half, len(values_N))


def difference_over_seeds(first: Float[np.ndarray, " N"], second: Float[np.ndarray, " N"]) -> Interval:
    """The mean of ``first - second`` where the N runs of both arms share their seeds, with Student's t interval.

    Pairing takes what a seed does to both arms out of the spread. Raises InputError for different lengths.
    """
    first_N, second_N = _pair(first, second)
    difference_N = first_N - second_N
    found = mean_with_interval(difference_N)
    spread = float(difference_N.std(ddof=1)) if found.count > 1 else 0.0
    # One value, and values without spread, are evidence of nothing.
    p_value = _p_value(found.mean**2 * found.count / spread**2, found.count) if spread > 0 else 1.0
    return replace(found, p_value=p_value)


def difference_over_problems(
    first: Float[np.ndarray, "P S"] | Float[np.ndarray, " P"],
    second: Float[np.ndarray, "P S"] | Float[np.ndarray, " P"],
) -> Interval:
    """The mean of ``first - second`` for two models that answered the same problems, values in 0..1.

    Samples are averaged within a problem. The interval is Student's t over the P differences, with two changes for
    models that differ on few problems. Two more problems of typical size are added, one in favour of either model.
    And the side on which the differences have their tail reaches further: a truth there would bring more of the large
    differences and so more variance, to first order by third moment / variance for each unit of the mean (Wilson's
    score interval for shares of 0 and 1). The other side is Student's, so nothing is claimed more easily.
    Sources: Bonett and Price 2012 (J. Educ. Behav. Stat. 37, 479) for the added pairs; Morris 1982 (Ann. Stat. 10,
    65) for variance as a function of the mean, whose slope is third moment / variance. Clipped to -1..1.
    Raises InputError for different P.
    """
    first_P, second_P = _pair(*(_per_problem(values) for values in (first, second)))
    difference_P = first_P - second_P
    problems, mean = len(difference_P), float(difference_P.mean())
    if problems == 1:
        return Interval(mean, -1.0, 1.0, 1, 1.0)
    size = _typical_size(float((difference_P**2).sum()), float(np.abs(difference_P).sum()))
    variance = _wider(float(((difference_P - mean) ** 2).sum()), size, problems)
    slope = float(((difference_P - mean) ** 3).sum()) / ((problems - 1 + _MORE_PROBLEMS) * variance)
    ends = (_score_end(variance, max(way * slope, 0.0), problems) for way in (-1, 1))
    low, high = (mean + way * end for way, end in zip((-1, 1), ends, strict=True))
    towards_zero = max(-np.sign(mean) * slope, 0.0)
    p_value = _p_value(problems * mean**2 / (variance + towards_zero * abs(mean)), problems)
    return Interval(mean, max(low, -1.0), min(high, 1.0), problems, p_value)


def together(differences: Sequence[Interval]) -> tuple[Interval, ...]:
    """The same differences with p-values for all of them at once, so that ``clear`` ones hold together at 95 %.

    Without it one in 20 comparisons of equals would be claimed. Holm's steps hold however the differences depend on
    each other; intervals stay those of one difference alone, and so may leave out 0 where nothing may be claimed.
    Source: Holm 1979 (Scand. J. Stat. 6, 65). Raises InputError for an interval without a p-value.
    """
    known = [each.p_value for each in differences if each.p_value is not None]
    if len(known) < len(differences):
        raise InputError("only differences can be compared together; got the interval of a mean, without a p-value")
    order_N = np.argsort(known, kind="stable")
    steps_N = np.maximum.accumulate(np.array(known)[order_N] * np.arange(len(known), 0, -1)).clip(max=1.0)
    corrected_N = np.empty(len(known))
    corrected_N[order_N] = steps_N
    return tuple(replace(each, p_value=float(p)) for each, p in zip(differences, corrected_N, strict=True))


def _typical_size(squares: float, total: float) -> float:
    """The size that a problem which counts typically has: sum of squares / sum, by which a large one counts more."""
    return (squares + _PRIOR_PROBLEMS) / (total + _PRIOR_PROBLEMS)


def _wider(squares: float, size: float, problems: int) -> float:
    """The variance of one problem from the sum of squares around the mean, with two more problems ``size`` away."""
    return (squares + _MORE_PROBLEMS * size**2) / (problems - 1 + _MORE_PROBLEMS)


def _score_end(variance: float, slope: float, problems: int) -> float:
    """How far from the mean an end lies where the variance grows by ``slope`` a unit: x² = t²/P (v + slope x)."""
    share = _student(problems) ** 2 / problems
    return share * slope / 2 + float(np.sqrt((share * slope / 2) ** 2 + share * variance))


def _p_value(square: float, count: int) -> float:
    """Two-sided, of Student's t given its square."""
    return float(2 * special.stdtr(count - 1, -np.sqrt(square)))


def _wilson(mean: float, samples: float, quantile: float) -> tuple[float, float]:
    """Wilson's score interval for a share ``mean`` of ``samples``."""
    shrink = 1 + quantile**2 / samples
    centre = (mean + quantile**2 / (2 * samples)) / shrink
    half = quantile * np.sqrt(mean * (1 - mean) / samples + (quantile / (2 * samples)) ** 2) / shrink
    # Rounding must not push the interval off its own mean at 0 and 1.
    return min(max(float(centre - half), 0.0), mean), max(min(float(centre + half), 1.0), mean)


def _student(count: int) -> float:
    return float(special.stdtrit(count - 1, 0.5 + _LEVEL / 2))


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
