"""Chains of sums and differences modulo ten: the task on which a model of 0.1 M parameters learns to reason.

Every step is a lookup in a table of two hundred facts, but the answer of a whole chain can't be looked up, so writing
the steps down is what helps. ``3+8-5?`` has the answer 6, and ``3+8=1,1-5=6`` are its steps.
"""

import random
from dataclasses import dataclass
from functools import partial
from typing import Annotated

from reasoning.core.ranges import Range
from reasoning.tasks.problems import Problem, take_distinct
from reasoning.tasks.puzzles import Puzzle, check_range, distinct, interleave_at_random, solve, trainable
from reasoning.tasks.splits import Split

_DIGITS = "0123456789"
_LETTERS = "ABCDEFGHIJ"
_SIGNS = "+-"
_TO_LETTERS = str.maketrans(_DIGITS, _LETTERS)

Operations = Annotated[int, Range(minimum=2, maximum=200)]  # of more there are too many for a float to count
Modulus = Annotated[int, Range(minimum=2, maximum=10)]


def term_symbols() -> tuple[str, ...]:
    """A sign and a numeral each, in both languages: all that a tokenizer of single characters needs as symbols.

    Each has to be one token (as two, some seeds never learn the task).
    """
    return tuple(sign + numeral for numerals in (_DIGITS, _LETTERS) for sign in _SIGNS for numeral in numerals)


def draw(generator: random.Random, length: int, modulus: int) -> Puzzle:
    """A chain of ``length`` operands, all chains equally likely."""
    return chain_number(int(generator.random() * number_of_chains(length, modulus)), length, modulus)


def number_of_chains(length: int, modulus: int) -> int:
    """How many chains of ``length`` operands there are."""
    return modulus * (2 * modulus) ** (length - 1)


def chain_number(number: int, length: int, modulus: int) -> Puzzle:
    """The chain at place ``number`` in an arbitrary fixed order of all chains of ``length`` operands."""
    rest, first = divmod(number, modulus)
    terms = []
    for _ in range(length - 1):
        rest, code = divmod(rest, 2 * modulus)
        sign, digit = divmod(code, modulus)
        terms.append(_SIGNS[sign] + _DIGITS[digit])
    return Puzzle(_DIGITS[first], tuple(terms))


@dataclass(frozen=True)
class Chains:
    """Chains as problems and as the subject of a corpus; lengths are equally likely, and so are chains of one length.

    Numerals have a second language, the letters A to J.
    """

    # Of all, not settings: the problems' kind, and what a tokenizer has to hold as single tokens.
    name = "chains"
    symbols = (*_DIGITS, *_LETTERS, *term_symbols(), *"=,?")
    second_language = _TO_LETTERS
    minimum_operands: Operations = 4
    maximum_operands: Operations = 6
    modulus: Modulus = 10

    def __post_init__(self) -> None:
        check_range(self.minimum_operands, self.maximum_operands, "operands", "Chains")

    @property
    def values(self) -> tuple[str, ...]:
        """What a step can result in."""
        return tuple(_DIGITS[: self.modulus])

    def move(self, value: str, move: str) -> str:
        """The value after one term."""
        amount = int(move[1])
        return str((int(value) + amount if move[0] == "+" else int(value) - amount) % self.modulus)

    def puzzle(self, generator: random.Random) -> Puzzle:
        """A chain whose question may be trained on."""
        length = self.minimum_operands + int(generator.random() * (self.maximum_operands - self.minimum_operands + 1))
        return trainable(lambda: draw(generator, length, self.modulus))

    def fact(self, generator: random.Random) -> Puzzle:
        """A chain of two operands."""
        return draw(generator, 2, self.modulus)

    def problems(self, split: Split, count: int, seed: int) -> tuple[Problem, ...]:
        """``count`` distinct chains of ``split`` (contract: ``tasks.problems.Task``)."""
        generator = random.Random(f"chains/{seed}")
        pools = [
            distinct(
                generator,
                number_of_chains(length, self.modulus),
                partial(chain_number, length=length, modulus=self.modulus),
                split,
            )
            for length in range(self.minimum_operands, self.maximum_operands + 1)
        ]
        stream = interleave_at_random(generator, pools)
        problems = (Problem(puzzle.question, solve(self, puzzle), self.name) for puzzle in stream)
        return take_distinct(problems, split, count, repr(self))
