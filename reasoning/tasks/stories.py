"""Short word problems of one step, made from sentences with numbers in them."""

import random
from dataclasses import dataclass
from functools import partial

from reasoning.core.ranges import Count
from reasoning.tasks.problems import Problem, drawn
from reasoning.tasks.splits import Split

_NAMES = ("Anna", "Ben", "Clara", "David", "Emma", "Felix", "Grace", "Henry", "Iris", "Jack", "Kate", "Leo")
_THINGS = ("apples", "books", "coins", "pencils", "marbles", "stickers", "cookies", "shells", "stamps", "cards")
_GAINS = (
    "{name} has {a} {things} and finds {b} more. How many {things} does {name} have now?",
    "There are {a} {things} on the table, and {name} puts {b} more there. How many {things} are on the table?",
    "{name} bought {a} {things} on Monday and {b} {things} on Tuesday. How many {things} did {name} buy in all?",
)
_LOSSES = (
    "{name} has {a} {things} and gives {b} of them away. How many {things} are left?",
    "Of {a} {things}, {name} loses {b}. How many {things} remain?",
)
_PACKS = (
    "{name} has {a} boxes with {b} {things} in each. How many {things} does {name} have?",
    "{name} collects {b} {things} a day for {a} days. How many {things} is that?",
)


@dataclass(frozen=True)
class Stories:
    """Stories that ask for a sum, a difference or a product of numbers up to ``largest``, products up to ten times."""

    largest: Count = 20
    name: str = "stories"

    def problems(self, split: Split, count: int, seed: int) -> tuple[Problem, ...]:
        """``count`` stories of ``split`` (contract: ``tasks.problems.Task``)."""
        generator = random.Random(f"stories/{self!r}/{split}/{seed}")
        return drawn(partial(self._draw, generator), split, count, repr(self))

    def _draw(self, generator: random.Random) -> Problem:
        def pick(options: tuple[str, ...]) -> str:
            return options[int(generator.random() * len(options))]

        first, second = (2 + int(generator.random() * (self.largest - 1)) for _ in range(2))
        kind = int(generator.random() * 3)
        if kind == 0:
            form, value = pick(_GAINS), first + second
        elif kind == 1:
            first, second = max(first, second) + 1, min(first, second)
            form, value = pick(_LOSSES), first - second
        else:
            first = 2 + int(generator.random() * 9)
            form, value = pick(_PACKS), first * second
        question = form.format(name=pick(_NAMES), things=pick(_THINGS), a=first, b=second)
        return Problem(question, str(value), self.name)
