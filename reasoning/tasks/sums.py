"""Sums and differences of whole numbers, for models that were trained on text: ``27 + 45``."""

import random
from dataclasses import dataclass
from functools import partial

from reasoning.core.errors import InputError
from reasoning.core.ranges import Count, Few, Index
from reasoning.tasks.problems import Problem, drawn
from reasoning.tasks.splits import Split

_SIGNS = {"+": 1, "-": -1}


@dataclass(frozen=True)
class Sums:
    """Numbers from ``smallest`` to ``largest``, joined by one of ``signs`` each; a result below zero isn't asked for.

    ``form`` is the question, with ``{sum}`` for the sum as it is written.
    """

    largest: Count = 99
    smallest: Index = 0
    operands: Few = 2
    signs: tuple[str, ...] = ("+", "-")
    form: str = "{sum}"
    name: str = "sums"

    def __post_init__(self) -> None:
        unknown = [sign for sign in self.signs if sign not in _SIGNS]
        if unknown or not self.signs:
            raise InputError(f"Sums has signs={self.signs}; give '+', '-' or both")
        if self.smallest > self.largest or self.operands < 2:
            raise InputError(f"{self!r} has no sum to ask for; give smallest <= largest and at least two operands")
        if "{sum}" not in self.form:
            raise InputError(f"Sums has form={self.form!r} without {{sum}}, so all questions would be the same")

    def problems(self, split: Split, count: int, seed: int) -> tuple[Problem, ...]:
        """``count`` sums of ``split`` (contract: ``tasks.problems.Task``)."""
        generator = random.Random(f"sums/{self!r}/{split}/{seed}")
        return drawn(partial(self._draw, generator), split, count, repr(self))

    def _draw(self, generator: random.Random) -> Problem | None:
        span = self.largest - self.smallest + 1
        numbers = [self.smallest + int(generator.random() * span) for _ in range(self.operands)]
        written, value = str(numbers[0]), numbers[0]
        for number in numbers[1:]:
            sign = self.signs[int(generator.random() * len(self.signs))]
            written += f" {sign} {number}"
            value += _SIGNS[sign] * number
        return Problem(self.form.replace("{sum}", written), str(value), self.name) if value >= 0 else None
