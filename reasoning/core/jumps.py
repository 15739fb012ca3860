"""Jumps of one reward that the others don't follow: the first sign of a model that learnt to please its grader."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from reasoning.core.series import Points, deviation, levels, step_noise, thinned

_LEAST_WINDOW, _WINDOW_SHARES = 5, (40, 20, 10, 6)
"""A window has five points or more: the 40th, 20th, 10th and 6th part of them are tried."""

_MOST_POINTS = 200
"""Longer series are looked at as means of neighbours."""

_EARLIER_WINDOWS = 3
"""A reward must have been watched for so many windows before a jump can be told from what it did then."""

_DEVIATIONS, _LEAST_RISE, _KEPT, _FOLLOWED = 6.0, 0.1, 0.5, 0.25


@dataclass(frozen=True)
class Jump:
    """A rise of ``reward`` at about ``step`` between medians ``before`` and ``after``.

    ``others`` are those that could have followed and didn't: name -> (before, the highest afterwards).
    """

    reward: str
    step: int
    before: float
    after: float
    others: Mapping[str, tuple[float, float]]


@dataclass(frozen=True)
class Roles:
    """Rewards, by name, that weigh nothing, the one that is ``correct`` (or empty), and the probe's scores."""

    weightless: frozenset[str] = frozenset()
    correct: str = ""
    scores: tuple[str, ...] = ()


def find_jumps(rewards: Mapping[str, Points], probes: Mapping[str, Points], roles: Roles) -> tuple[Jump, ...]:
    """The largest jump of each reward that no other follows; a hint, which replies prove or disprove.

    A reward's ``rewards/<name>/mean`` jumps at a step if, for one of a few widths of window, the median of the window
    that begins there exceeds that of the window before by more than a tenth of its scale and by more than 6 robust
    standard deviations (1.4826 times the median absolute deviation) of the same difference, at its earlier places and
    at all places, whichever is more; and if the median from there to the last step keeps half of it. The scale is the
    largest size of its values, but at least 1. Another series follows if from there to the last step the median of any
    of its windows exceeds its level before by a quarter of the jump, each in its own scale: it has all the time there
    is, since a format is often learnt before what it holds. One so near its ceiling (the largest value that it had, but
    at least 1, and 0 for penalties) that it couldn't follow says nothing, unless it falls by as much. A jump is told if
    no other follows, and one or more could have.

    ``rewards`` are their means and ``probes`` the probe's scores over the steps, by name.

    The others are the rewards that have a weight, the reward ``correct``, and the probe's scores. What tells right from
    wrong itself (``correct``, and rewards that are scores of the probe) may rise alone, so it is compared with the
    probe and ``correct`` only. Rewards without a weight aren't learnt from and are left out.
    """
    weightless, correct, scores = roles.weightless, roles.correct, roles.scores
    thin = {name: thinned(points, _MOST_POINTS) for name, points in rewards.items()}
    means = {name: points for name, points in thin.items() if name == correct or name not in weightless}
    truths = {f"probe/{name}": thinned(points, _MOST_POINTS) for name, points in probes.items() if name in scores}
    if correct in means:
        truths[correct] = means[correct]
    found = []
    for name, points in means.items():
        if name in weightless:
            continue
        others = truths if name == correct or name in scores else means | truths
        beside = {other: each for other, each in others.items() if other != name}
        found += _largest(name, points, beside if name in (correct, *scores) else _without(beside, f"probe/{name}"))
    return tuple(found)


def _without(series: Mapping[str, Points], name: str) -> dict[str, Points]:
    return {other: points for other, points in series.items() if other != name}


def _largest(name: str, points: Points, others: Mapping[str, Points]) -> list[Jump]:
    """The largest of the jumps that no other follows, over all widths; none or one."""
    values = np.array([value for _, value in points])
    widths = sorted({max(_LEAST_WINDOW, len(points) // share) for share in _WINDOW_SHARES})
    best: Jump | None = None
    for width in widths:
        for place, before, after in _rises(values, width):
            if best is not None and after - before <= best.after - best.before:
                continue
            rise = (after - before) / _scale(values)
            beside = _unmoved(others, points, place, width, rise)
            if beside:
                first = place - width
                edge = first + _edge(values[first : place + width])
                best = Jump(name, int(points[edge][0]), before, after, beside)
    return [] if best is None else [best]


def _rises(values: np.ndarray, width: int) -> Iterable[tuple[int, float, float]]:
    """Rises as (place of the first value after it, level before, level after), the largest first."""
    if len(values) < (_EARLIER_WINDOWS + 2) * width:
        return
    level = levels(values, width)
    differences = level[width:] - level[:-width]  # The difference k is that at the place k + width.
    # A walk's beginning may be calmer than it is.
    everywhere, single = deviation(differences), step_noise(values, width)
    for k in np.argsort(-differences, kind="stable").tolist():
        if differences[k] <= _LEAST_RISE * _scale(values):
            return
        if k < (_EARLIER_WINDOWS - 1) * width:
            continue
        earlier = differences[: k - width + 1]  # Those whose windows end where this one's second begins, or before.
        noise = max(deviation(earlier), everywhere, single)
        kept = np.median(values[k + width :]) - level[k] >= _KEPT * differences[k]
        if kept and differences[k] - np.median(earlier) > _DEVIATIONS * noise:
            yield k + width, float(level[k]), float(level[k + width])


def _edge(values: np.ndarray) -> int:
    """Where two levels meet: the place that leaves the least squares within its two sides."""
    return min(range(1, len(values)), key=lambda k: k * values[:k].var() + (len(values) - k) * values[k:].var())


def _scale(values: np.ndarray) -> float:
    return max(1.0, float(np.abs(values).max()))


def _unmoved(
    others: Mapping[str, Points], points: Points, place: int, width: int, rise: float
) -> dict[str, tuple[float, float]]:
    """Those that could have followed a rise (a share of its scale) and did not; none if one of them followed."""
    beside, step = dict[str, tuple[float, float]](), points[place][0]
    for name, series in others.items():
        values = np.array([value for _, value in series])
        start = sum(at < step for at, _ in series)
        size = max(1, round(width * len(series) / len(points)))
        if start == 0 or start == len(series):
            continue  # It wasn't measured on both sides.
        before = float(np.median(values[max(0, start - size) : start]))
        after = levels(values[start:], min(size, len(series) - start))
        needed = _FOLLOWED * rise * _scale(values)
        if after.max() - before >= needed:
            return {}
        ceiling = max(1.0, float(values.max())) if values.max() > 0 else 0.0
        if ceiling - before >= needed or before - after.min() >= needed:
            beside[name] = (before, float(after.max()))
    return beside
