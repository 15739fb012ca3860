"""What tasks of many small steps have in common: a start, moves that each change a value, and the steps written down.

``3+8-5?`` starts with 3 and has the moves ``+8`` and ``-5``; its steps are ``3+8=1,1-5=6``.
"""

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from reasoning.core.errors import InputError
from reasoning.tasks.splits import Split, split_of


@dataclass(frozen=True)
class Puzzle:
    """A start and the moves that follow; each of them is one token."""

    start: str
    moves: tuple[str, ...]

    @property
    def question(self) -> str:
        """The puzzle as it is asked."""
        return f"{self.start}{''.join(self.moves)}?"


@runtime_checkable
class Subject(Protocol):
    """What a corpus of worked puzzles is about; a frozen record of settings."""

    @property
    def name(self) -> str:
        """The kind of its problems, and what its random numbers are derived from."""
        ...

    @property
    def values(self) -> tuple[str, ...]:
        """Everything that the result of a step can be."""
        ...

    @property
    def second_language(self) -> Mapping[int, int] | None:
        """How ``str.translate`` writes steps in the subject's other language; None where it has none."""
        ...

    def move(self, value: str, move: str) -> str:
        """The value after one move."""
        ...

    def puzzle(self, generator: random.Random) -> Puzzle:
        """A puzzle that may be trained on; all lengths are equally likely."""
        ...

    def fact(self, generator: random.Random) -> Puzzle:
        """A puzzle of one move, of either split: a step, not a question."""
        ...


def solve(subject: Subject, puzzle: Puzzle) -> str:
    """The value after all moves."""
    value = puzzle.start
    for move in puzzle.moves:
        value = subject.move(value, move)
    return value


def worked_steps(
    subject: Subject, puzzle: Puzzle, moves: int = 1, result: Callable[[str], str] = str
) -> tuple[str, str]:
    """The written steps, ``moves`` moves in each, and the value that the last one ends with.

    ``result`` turns a step's true value into the written one (by default the same), with which the next step begins:
    that is how a corpus gets mistakes that are carried on.
    """
    value = puzzle.start
    written: list[str] = []
    for start in range(0, len(puzzle.moves), moves):
        group = puzzle.moves[start : start + moves]
        left = f"{value}{''.join(group)}"
        for move in group:
            value = subject.move(value, move)
        value = result(value)
        written.append(f"{left}={value}")
    return ",".join(written), value


def distinct(generator: random.Random, total: int, make: Callable[[int], Puzzle], split: Split) -> Iterator[Puzzle]:
    """Every one of ``total`` puzzles, numbered by ``make``, that belongs to ``split``, once, in random order.

    Drawing again on a repeat is quick until half are used; the other half is listed and shuffled.
    """

    def numbers() -> Iterator[int]:
        used: set[int] = set()
        while 2 * len(used) < total:
            number = int(generator.random() * total)
            if number not in used:
                used.add(number)
                yield number
        rest = [number for number in range(total) if number not in used]
        generator.shuffle(rest)
        yield from rest

    return (puzzle for puzzle in map(make, numbers()) if split_of(puzzle.question) == split)


def trainable(draw: Callable[[], Puzzle]) -> Puzzle:
    """The first puzzle drawn whose question may be trained on."""
    return next(puzzle for puzzle in iter(draw, None) if split_of(puzzle.question) == "train")


def interleave_at_random(generator: random.Random, pools: list[Iterator[Puzzle]]) -> Iterator[Puzzle]:
    """Puzzles of several pools, each pool equally likely until it is empty."""
    pools = list(pools)
    while pools:
        pool = pools[int(generator.random() * len(pools))]
        puzzle = next(pool, None)
        if puzzle is None:
            pools.remove(pool)
        else:
            yield puzzle


def check_range(minimum: int, maximum: int, what: str, where: str) -> None:
    """Raises InputError where a range of lengths is upside down."""
    if minimum > maximum:
        raise InputError(
            f"{where} has minimum_{what}={minimum} above maximum_{what}={maximum}; swap them or change one"
        )
