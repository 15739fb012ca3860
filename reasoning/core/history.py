"""The course of metrics over a run's steps, in so little memory that a million steps fit."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from reasoning.core.series import Points, mean_point

_MOST = 2048
"""Points a metric; when there are more, neighbours become their mean, at the step of the later one."""


@dataclass
class _Course:
    """One metric: means of ``width`` values each, at the step of the last of them, and those that fill up no mean yet.

    All means are of as many values, so that a share of the points is a share of the steps.
    """

    width: int = 1
    means: list[tuple[float, float]] = field(default_factory=list)
    further: list[tuple[float, float]] = field(default_factory=list)

    def add(self, step: float, value: float) -> None:
        self.further.append((step, value))
        if len(self.further) < self.width:
            return
        self.means.append(mean_point(self.further))
        self.further = []
        if len(self.means) == _MOST:
            self.means = [mean_point(pair) for pair in zip(self.means[0::2], self.means[1::2], strict=True)]
            self.width *= 2

    def points(self) -> Points:
        return (*self.means, mean_point(self.further)) if self.further else tuple(self.means)


@dataclass
class History:
    """Steps and values of each metric, in order; a value may be NaN."""

    series: dict[str, _Course] = field(default_factory=dict)
    newest: dict[str, float] = field(default_factory=dict)

    def add(self, step: int, values: Mapping[str, Any]) -> None:
        """Adds what a step told; "nan" and "inf", as records of metrics spell them, are numbers too."""
        for name, value in values.items():
            self.newest[name] = float(value)
            self.series.setdefault(name, _Course()).add(float(step), float(value))

    def names(self, start: str, end: str = "") -> tuple[str, ...]:
        """The metrics whose names begin and end so."""
        return tuple(name for name in self.series if name.startswith(start) and name.endswith(end))

    def points(self, name: str) -> Points:
        """(step, value) of a metric; empty for one that there isn't."""
        return self.series[name].points() if name in self.series else ()

    def values(self, name: str) -> np.ndarray:
        """The values that are finite, in order."""
        return np.array([value for _, value in self.points(name) if math.isfinite(value)])

    def last(self, name: str) -> float:
        """The newest value; NaN for a metric that there isn't."""
        return self.newest.get(name, math.nan)


def history_of(rows: Iterable[Mapping[str, Any]]) -> History:
    """The history that rows of ``metrics.jsonl`` tell."""
    history = History()
    for row in rows:
        history.add(int(row["step"]), {name: row[name] for name in row if name != "step"})
    return history
