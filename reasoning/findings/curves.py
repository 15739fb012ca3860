"""What a learning stage's metrics show over its steps, as series of points; drawing them is another file's work."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reasoning.core.files import is_number
from reasoning.core.series import Points, thinned
from reasoning.findings.numbers import short

_MOST_POINTS = 600
_AVERAGED_SHARE = 15
"""The moving average takes in the last fifteenth of the points."""


@dataclass(frozen=True)
class Series:
    """One metric: every point, and the mean of each point with those just before it.

    ``spans`` are intervals (place, low, high); ``told`` says in words what a first and a last value don't; ``labels``
    name the raw points, which then are dots beside the line.
    """

    name: str
    raw: Points
    smooth: Points
    spans: tuple[tuple[float, float, float], ...] = ()
    told: str = ""
    labels: tuple[str, ...] = ()

    @property
    def first(self) -> float:
        """The mean of the first points: as many as the moving average takes in."""
        window = self.raw[: averaged(len(self.raw))]
        return sum(value for _, value in window) / len(window)

    @property
    def last(self) -> float:
        """The moving average at the last step."""
        return self.smooth[-1][1]

    @property
    def course(self) -> str:
        """What ``told`` says, else from the first mean to the last, in short."""
        return self.told or f"{short(self.first)} → {short(self.last)}"


@dataclass(frozen=True)
class Chart:
    """A few series of one unit in one picture, ``across`` steps or something else, which may go up by ``doubling``.

    ``guide`` is a line to compare them with.
    """

    title: str
    unit: str
    series: tuple[Series, ...]
    across: str = "step"
    doubling: bool = False
    guide: Points = ()

    @property
    def said(self) -> str:
        """What the picture shows, in words."""
        courses = (
            f"{each.name}{': ' if each.told else ' from '}{each.course.replace('→', 'to')}" for each in self.series
        )
        return f"{self.title} by {self.across}: {'; '.join(courses)}"


_SUBJECTS = (
    ("Reward", "reward", r"reward|rewards/[^/]+/mean"),
    ("Reply length", "tokens", r".*length.*"),
    ("Loss", "loss", r"loss|eval_loss|cross_entropy"),
    ("Entropy", "nats a token", r"entropy"),
    ("Probe: held-out problems", "share", r"(probe|best)/.+"),
    ("Divergence", "nats a token", r"kl|jsd"),
)
"""Charts as (title, unit, whole names of metrics), in order; a metric belongs to the first that names it."""


def charts(metrics: Sequence[Mapping[str, Any]]) -> tuple[Chart, ...]:
    """The charts of one stage; metrics that no chart names are left to ``metrics.jsonl``."""
    names = tuple(dict.fromkeys(name for row in metrics for name in row))
    drawn, taken = list[Chart](), set[str]()
    for title, unit, pattern in _SUBJECTS:
        chosen = [name for name in names if name not in taken and re.fullmatch(pattern, name)]
        chosen.sort(key=lambda name: (name.count("/"), name != "completions/mean_length", name))
        series = tuple(item for name in chosen if (item := series_of(metrics, name)) is not None)
        taken.update(chosen)
        if series:
            drawn.append(Chart(title, unit, _once(series) if title == "Loss" else series))
    return tuple(drawn)


def series_of(metrics: Iterable[Mapping[str, Any]], name: str) -> Series | None:
    """One metric over the steps that have it; None where no step does."""
    points = tuple(
        (float(row["step"]), float(row[name]))
        for row in metrics
        if is_number(row.get("step")) and is_number(row.get(name))
    )
    if not points:
        return None
    return Series(name, thinned(points, _MOST_POINTS), thinned(moving_average(points), _MOST_POINTS))


def trend_series(metrics: Sequence[Mapping[str, Any]]) -> Series | None:
    """The reward, or where there is none the loss; None without either."""
    courses = (series_of(metrics, name) for name in ("reward", "kl", "jsd", "loss"))
    return next((series for series in courses if series is not None), None)


def trend(metrics: Sequence[Mapping[str, Any]]) -> str:
    """How ``trend_series`` went, in short; empty without it."""
    series = trend_series(metrics)
    return "" if series is None else f"{series.name} {series.course}"


def averaged(count: int) -> int:
    """How many points of ``count`` the moving average takes in."""
    return max(1, count // _AVERAGED_SHARE)


def moving_average(points: Points) -> Points:
    """Each point's mean with those just before it; the first points have fewer before them."""
    window, smooth = averaged(len(points)), []
    for place, (step, _) in enumerate(points):
        part = points[max(0, place + 1 - window) : place + 1]
        smooth.append((step, sum(value for _, value in part) / len(part)))
    return tuple(smooth)


def spaced(count: int, most: int) -> list[int]:
    """Places of at most ``most`` of ``count`` things, evenly spaced, first and last among them."""
    if count <= most:
        return list(range(count))
    return [round(k * (count - 1) / (most - 1)) for k in range(most)]


def _once(series: tuple[Series, ...]) -> tuple[Series, ...]:
    """A loss that is no more than its cross-entropy needs one line, not two."""
    first, *others = sorted(series, key=lambda item: item.name != "loss")
    return (first, *(item for item in others if not _alike(item, first)))


def _alike(one: Series, other: Series) -> bool:
    same_steps = [step for step, _ in one.raw] == [step for step, _ in other.raw]
    return same_steps and all(
        abs(a - b) <= 1e-4 * max(abs(a), abs(b), 1e-9) for (_, a), (_, b) in zip(one.raw, other.raw, strict=True)
    )
