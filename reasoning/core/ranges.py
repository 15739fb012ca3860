"""Bounds for settings, so that a value out of range fails when the experiment file is read, not hours later."""

from dataclasses import dataclass
from typing import Annotated


@dataclass(frozen=True)
class Range:
    """Bounds of a numeric settings field, attached as ``Annotated[float, Range(minimum=0)]``.

    ``minimum`` and ``maximum`` are inclusive, ``above`` and ``below`` exclusive; None means no bound.
    """

    minimum: float | None = None
    maximum: float | None = None
    above: float | None = None
    below: float | None = None

    def complaint(self, value: float) -> str | None:
        """What is wrong with ``value``, in words, or None where it lies within the bounds."""
        if self.minimum is not None and not value >= self.minimum:
            return f"must be at least {self.minimum}"
        if self.maximum is not None and not value <= self.maximum:
            return f"must be at most {self.maximum}"
        if self.above is not None and not value > self.above:
            return f"must be above {self.above}"
        if self.below is not None and not value < self.below:
            return f"must be below {self.below}"
        return None


Count = Annotated[int, Range(minimum=1)]
"""A number of things of which there must be at least one."""

Index = Annotated[int, Range(minimum=0)]
"""A whole number from zero up; zero often means "never" or "none", which the field's comment says."""

Size = Annotated[int, Range(minimum=1, maximum=2**24)]
"""A number of things that lie side by side in memory, or a length: beyond any model, batch or text that there is."""

OptionalSize = Annotated[int, Range(minimum=0, maximum=2**24)]
"""A size, or zero for none, or for what something else says."""

Few = Annotated[int, Range(minimum=1, maximum=1000)]
"""A number of things of which each takes work of its own: steps of a puzzle, devices of a process, seeds of a sweep."""

Positive = Annotated[float, Range(above=0)]
NonNegative = Annotated[float, Range(minimum=0)]
Fraction = Annotated[float, Range(minimum=0, maximum=1)]
