"""Axes of pictures: from values to places, round numbers between two ends, and how these are written."""

import math
from dataclasses import dataclass

from reasoning.findings.numbers import fixed


@dataclass(frozen=True)
class Axis:
    """From values between ``low`` and ``high`` to places between two ends; by their logarithms where ``doubling``."""

    low: float
    high: float
    start: float
    end: float
    doubling: bool = False

    def __call__(self, value: float) -> float:
        low, high, here = (
            map(math.log2, (self.low, self.high, value)) if self.doubling else (self.low, self.high, value)
        )
        return self.start + (here - low) / (high - low) * (self.end - self.start)

    def labels(self, wanted: float = 4, whole: bool = False) -> list[tuple[float, str]]:
        """About so many round numbers between the ends, only whole ones or all, as (place, text): all with
        as many digits as the longest needs."""
        values = [value for value in ticks(self.low, self.high, wanted) if not whole or value == int(value)]
        digits = next((count for count in range(7) if all(abs(each - round(each, count)) < 1e-9 for each in values)), 7)
        return [(self(value), fixed(value, digits)) for value in values]


def ticks(low: float, high: float, wanted: float = 4) -> list[float]:
    """Round numbers (1, 2, 2.5 or 5 times a power of ten) between two values."""
    rough = (high - low) / wanted
    power = 10 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [number * step for number in range(first, math.floor(high / step + 1e-9) + 1)]
