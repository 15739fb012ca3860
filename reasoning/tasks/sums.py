"""Sums and differences of whole numbers, for models that were trained on text: ``27 + 45``."""

import random
from collections.abc import Iterator
from dataclasses import dataclass

from reasoning.core.errors import InputError
from reasoning.core.ranges import Count, Index
from reasoning.tasks.problems import Problem, take_distinct
from reasoning.tasks.splits import Split, split_of

SIGNS = {"+": 1, "-": -1}
ATTEMPTS = 200
"""Drawn questions a wanted one after which the task counts as exhausted."""


@dataclass(frozen=True)
class Sums:
    """Numbers from ``smallest`` to ``largest``, joined by one of ``signs`` each; a result below zero isn't asked for.

    ``form`` is the question, with ``{sum}`` for the sum as it is written.
    """

    largest: Count = 99
    smallest: Index = 0
    operands: Count = 2
    signs: tuple[str, ...] = ("+", "-")
    form: str = "{sum}"
    name: str = "sums"

    def __post_init__(self) -> None:
        unknown = [sign for sign in self.signs if sign not in SIGNS]
        if unknown or not self.signs:
            raise InputError(f"Sums has signs={self.signs}; give '+', '-' or both")
        if self.smallest > self.largest or self.operands < 2:
            raise InputError(f"{self!r} has no sum to ask for; give smallest <= largest and at least two operands")
        if "{sum}" not in self.form:
            raise InputError(f"Sums has form={self.form!r} without {{sum}}, so all questions would be the same")

    def problems(self, split: Split, count: int, seed: int) -> tuple[Problem, ...]:
        """``count`` sums of ``split`` (contract: ``tasks.problems.Task``)."""
        generator = random.Random(f"sums/{self!r}/{split}/{seed}")
        return take_distinct(self._stream(generator, split, count), split, count, repr(self))

    def _stream(self, generator: random.Random, split: Split, count: int) -> Iterator[Problem]:
        seen: set[str] = set()
        misses = 0
        while misses < ATTEMPTS * max(count, 10):
            written, value = self._draw(generator)
            question = self.form.replace("{sum}", written)
            if value < 0 or question in seen or split_of(question) != split:
                misses += 1
                continue
            seen.add(question)
            yield Problem(question, str(value), self.name)

    def _draw(self, generator: random.Random) -> tuple[str, int]:
        span = self.largest - self.smallest + 1
        numbers = [self.smallest + int(generator.random() * span) for _ in range(self.operands)]
        written, value = str(numbers[0]), numbers[0]
        for number in numbers[1:]:
            sign = self.signs[int(generator.random() * len(self.signs))]
            written += f" {sign} {number}"
            value += SIGNS[sign] * number
        return written, value
