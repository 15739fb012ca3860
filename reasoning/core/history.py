"""The course of metrics over a run's steps, in so little memory that a million steps fit."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

_MOST = 2048
"""Points a metric; when there are more, neighbours become their mean, at the step of the later one."""


@dataclass
class History:
    """Steps and values of each metric, in order; a value may be NaN."""

    series: dict[str, list[tuple[float, float]]] = field(default_factory=dict)

    def add(self, step: int, values: Mapping[str, Any]) -> None:
        """Adds what a step told; "nan" and "inf", as records of metrics spell them, are numbers too."""
        for name, value in values.items():
            points = self.series.setdefault(name, [])
            points.append((float(step), float(value)))
            if len(points) > _MOST:
                self.series[name] = [
                    (last, (one + other) / 2)
                    for (_, one), (last, other) in zip(points[0:_MOST:2], points[1:_MOST:2], strict=True)
                ] + points[_MOST:]

    def names(self, start: str, end: str = "") -> tuple[str, ...]:
        """The metrics whose names begin and end so."""
        return tuple(name for name in self.series if name.startswith(start) and name.endswith(end))

    def points(self, name: str) -> tuple[tuple[float, float], ...]:
        """(step, value) of a metric; empty for one that there isn't."""
        return tuple(self.series.get(name, ()))

    def values(self, name: str) -> np.ndarray:
        """The values that are finite, in order."""
        return np.array([value for _, value in self.series.get(name, ()) if math.isfinite(value)])

    def last(self, name: str) -> float:
        """The newest value; NaN for a metric that there isn't."""
        return self.series[name][-1][1] if name in self.series else math.nan


def levels(values: np.ndarray, width: int) -> np.ndarray:
    """The medians of all windows of ``width`` values; empty where there are fewer."""
    if len(values) < width:
        return np.zeros(0)
    return np.median(np.lib.stride_tricks.sliding_window_view(values, width), axis=1)


def history_of(rows: Iterable[Mapping[str, Any]]) -> History:
    """The history that rows of ``metrics.jsonl`` tell."""
    history = History()
    for row in rows:
        history.add(int(row["step"]), {name: row[name] for name in row if name != "step"})
    return history
