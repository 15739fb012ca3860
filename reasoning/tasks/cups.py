"""A ball under one of five cups, and swaps of two cups: where is it in the end? A second task of many small steps.

It is made like the chains (``tasks.chains``) but shares no fact with them, so reinforcement learning on chains alone
shows here whether a way of working carries over. ``c~ac~de?`` has the answer a, and ``c~ac=a,a~de=a`` are its steps.
"""

import random
from dataclasses import dataclass
from functools import partial
from itertools import combinations

from reasoning.core.ranges import Few
from reasoning.tasks.problems import Problem, take_distinct
from reasoning.tasks.puzzles import Puzzle, check_range, distinct, interleave_at_random, solve, trainable
from reasoning.tasks.splits import Split

CUPS = "abcde"
SWAPS = tuple(f"~{one}{other}" for one, other in combinations(CUPS, 2))


def number_of_games(swaps: int) -> int:
    """How many games of so many swaps there are."""
    return len(CUPS) * len(SWAPS) ** swaps


def game_number(number: int, swaps: int) -> Puzzle:
    """The game at place ``number`` in an arbitrary fixed order of all games of ``swaps`` swaps."""
    rest, first = divmod(number, len(CUPS))
    moves = []
    for _ in range(swaps):
        rest, code = divmod(rest, len(SWAPS))
        moves.append(SWAPS[code])
    return Puzzle(CUPS[first], tuple(moves))


@dataclass(frozen=True)
class Cups:
    """Games as problems and as the subject of a corpus; numbers of swaps are equally likely, and so are games."""

    # Of all, not settings: the problems' kind, and what a tokenizer has to hold as single tokens.
    name = "cups"
    symbols = (*CUPS, *SWAPS, *"=,?")
    values = tuple(CUPS)
    second_language = None
    minimum_swaps: Few = 3
    maximum_swaps: Few = 6

    def __post_init__(self) -> None:
        check_range(self.minimum_swaps, self.maximum_swaps, "swaps", "Cups")

    def move(self, value: str, move: str) -> str:
        """Where the ball is after one swap."""
        one, other = move[1:]
        return {one: other, other: one}.get(value, value)

    def puzzle(self, generator: random.Random) -> Puzzle:
        """A game whose question may be trained on."""
        swaps = self.minimum_swaps + int(generator.random() * (self.maximum_swaps - self.minimum_swaps + 1))
        return trainable(lambda: game_number(int(generator.random() * number_of_games(swaps)), swaps))

    def fact(self, generator: random.Random) -> Puzzle:
        """A single swap."""
        return game_number(int(generator.random() * number_of_games(1)), 1)

    def problems(self, split: Split, count: int, seed: int) -> tuple[Problem, ...]:
        """``count`` distinct games of ``split`` (contract: ``tasks.problems.Task``)."""
        generator = random.Random(f"cups/{seed}")
        pools = [
            distinct(generator, number_of_games(swaps), partial(game_number, swaps=swaps), split)
            for swaps in range(self.minimum_swaps, self.maximum_swaps + 1)
        ]
        stream = interleave_at_random(generator, pools)
        problems = (Problem(puzzle.question, solve(self, puzzle), self.name) for puzzle in stream)
        return take_distinct(problems, split, count, repr(self))
