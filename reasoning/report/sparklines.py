"""Curves of one line of text."""

import math
from collections.abc import Sequence

_BLOCKS = "▁▂▃▄▅▆▇█"


def sparkline(values: Sequence[float], width: int) -> str:
    """The course of some values in at most ``width`` characters, from the least to the largest of what is shown.

    Of more values than that each character is a mean of neighbours; where none of them is finite it is a blank.
    """
    count = min(width, len(values))
    parts = [values[len(values) * at // count : len(values) * (at + 1) // count] for at in range(count)]
    finite = [[value for value in part if math.isfinite(value)] for part in parts]
    means = [sum(part) / len(part) if part else math.nan for part in finite]
    shown = [mean for mean in means if math.isfinite(mean)]
    if not shown:
        return " " * count
    low, high = min(shown), max(shown)
    return "".join(_block(mean, low, high) for mean in means)


def _block(mean: float, low: float, high: float) -> str:
    if not math.isfinite(mean):
        return " "
    share = (mean - low) / (high - low) if high > low else 0.0
    return _BLOCKS[min(int(share * len(_BLOCKS)), len(_BLOCKS) - 1)]
