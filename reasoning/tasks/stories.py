"""Short word problems of one step, made from sentences with numbers in them."""

import random
from collections.abc import Iterator
from dataclasses import dataclass

from reasoning.core.ranges import Count
from reasoning.tasks.problems import Problem, take_distinct
from reasoning.tasks.splits import Split, split_of

NAMES = ("Anna", "Ben", "Clara", "David", "Emma", "Felix", "Grace", "Henry", "Iris", "Jack", "Kate", "Leo")
THINGS = ("apples", "books", "coins", "pencils", "marbles", "stickers", "cookies", "shells", "stamps", "cards")
GAINS = (
    "{name} has {a} {things} and finds {b} more. How many {things} does {name} have now?",
    "There are {a} {things} on the table, and {name} puts {b} more there. How many {things} are on the table?",
    "{name} bought {a} {things} on Monday and {b} {things} on Tuesday. How many {things} did {name} buy in all?",
)
LOSSES = (
    "{name} has {a} {things} and gives {b} of them away. How many {things} are left?",
    "Of {a} {things}, {name} loses {b}. How many {things} remain?",
)
PACKS = (
    "{name} has {a} boxes with {b} {things} in each. How many {things} does {name} have?",
    "{name} collects {b} {things} a day for {a} days. How many {things} is that?",
)
ATTEMPTS = 200
"""Drawn stories a wanted one after which the task counts as exhausted."""


@dataclass(frozen=True)
class Stories:
    """Stories that ask for a sum, a difference or a product of numbers up to ``largest``, products up to ten times."""

    largest: Count = 20
    name: str = "stories"

    def problems(self, split: Split, count: int, seed: int) -> tuple[Problem, ...]:
        """``count`` stories of ``split`` (contract: ``tasks.problems.Task``)."""
        generator = random.Random(f"stories/{self!r}/{split}/{seed}")
        return take_distinct(self._stream(generator, split, count), split, count, repr(self))

    def _stream(self, generator: random.Random, split: Split, count: int) -> Iterator[Problem]:
        seen: set[str] = set()
        misses = 0
        while misses < ATTEMPTS * max(count, 10):
            question, value = self._draw(generator)
            if question in seen or split_of(question) != split:
                misses += 1
                continue
            seen.add(question)
            yield Problem(question, str(value), self.name)

    def _draw(self, generator: random.Random) -> tuple[str, int]:
        def pick(options: tuple[str, ...]) -> str:
            return options[int(generator.random() * len(options))]

        first, second = (2 + int(generator.random() * (self.largest - 1)) for _ in range(2))
        kind = int(generator.random() * 3)
        if kind == 0:
            form, value = pick(GAINS), first + second
        elif kind == 1:
            first, second = max(first, second) + 1, min(first, second)
            form, value = pick(LOSSES), first - second
        else:
            first = 2 + int(generator.random() * 9)
            form, value = pick(PACKS), first * second
        return form.format(name=pick(NAMES), things=pick(THINGS), a=first, b=second), value
