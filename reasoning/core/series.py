"""Series of numbers over steps."""

from collections.abc import Sequence

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

_NORMAL = 1.4826
"""The standard deviation of normal numbers whose median absolute deviation is 1."""

Points = tuple[tuple[float, float], ...]
"""(step, value) in the order of steps."""


def thinned(points: Points, most: int) -> Points:
    """At most so many points: means of neighbours, each at the step of the last of them."""
    size = -(-len(points) // most)
    if size <= 1:
        return points
    parts = [points[start : start + size] for start in range(0, len(points), size)]
    return tuple(map(mean_point, parts))


def mean_point(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """The mean of neighbours, at the step of the last of them."""
    return points[-1][0], sum(value for _, value in points) / len(points)


def levels(values: np.ndarray, width: int) -> np.ndarray:
    """The medians of all windows of ``width`` values; empty where there are fewer."""
    if len(values) < width:
        return np.zeros(0)
    return np.median(sliding_window_view(values, width), axis=1)


def deviation(values: np.ndarray) -> float:
    """The standard deviation, if all but a few of the values are normal: 1.4826 times the median absolute deviation."""
    return _NORMAL * float(np.median(np.abs(values - np.median(values))))


def step_noise(values: np.ndarray, width: int) -> float:
    """What the noise of single steps amounts to in a mean of ``width`` values."""
    return _NORMAL * float(np.median(np.abs(np.diff(values)))) / width**0.5
