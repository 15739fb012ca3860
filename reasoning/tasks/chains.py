"""Chains of sums and differences modulo ten: the task on which a model of 0.1 M parameters learns to reason.

Every step is a lookup in a table of two hundred facts, but the answer of a whole chain can't be looked up, so writing
the steps down is what helps. ``3+8-5?`` has the answer 6, and ``3+8=1,1-5=6`` are its steps.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated

from reasoning.core.errors import InputError
from reasoning.core.ranges import Range
from reasoning.tasks.problems import Problem, take_distinct
from reasoning.tasks.splits import Split, split_of

DIGITS = "0123456789"
LETTERS = "ABCDEFGHIJ"
SIGNS = "+-"

Operands = tuple[str, ...]
"""A chain: a digit, then terms of a sign and a digit (``('3', '+8', '-5')``)."""

Operations = Annotated[int, Range(minimum=2)]
Modulus = Annotated[int, Range(minimum=2, maximum=10)]


def operand_symbols(numerals: str = DIGITS) -> tuple[str, ...]:
    """The terms of a sign and a numeral; each has to be one token (as two, some seeds never learn the task)."""
    return tuple(sign + numeral for sign in SIGNS for numeral in numerals)


def symbols() -> tuple[str, ...]:
    """Every unit of the chains' texts, in both languages; each has to be one token."""
    return (*DIGITS, *LETTERS, *term_symbols(), *"=,?")


def term_symbols() -> tuple[str, ...]:
    """The terms of both languages; all that a tokenizer of single characters has to be told."""
    return (*operand_symbols(DIGITS), *operand_symbols(LETTERS))


def question(operands: Operands) -> str:
    """The chain as it is asked, ``3+8-5?``."""
    return "".join(operands) + "?"


def step(value: int, term: str, modulus: int) -> int:
    """``value`` after one term."""
    amount = int(term[1])
    return (value + amount if term[0] == "+" else value - amount) % modulus


def answer(operands: Operands, modulus: int) -> int:
    """The chain's value."""
    value = int(operands[0])
    for term in operands[1:]:
        value = step(value, term, modulus)
    return value


def exactly(value: int) -> int:
    """A step's result as it is (see ``worked_steps``)."""
    return value


def worked_steps(
    operands: Operands, modulus: int, terms: int = 1, result: Callable[[int], int] = exactly
) -> tuple[str, int]:
    """The written steps, ``terms`` terms in each, and the value that the last one ends with.

    ``result`` turns a step's true value into the written one, with which the next step begins: that is how a corpus
    gets mistakes that are carried on.
    """
    value = int(operands[0])
    written: list[str] = []
    for start in range(1, len(operands), terms):
        group = operands[start : start + terms]
        left = f"{value}{''.join(group)}"
        for term in group:
            value = step(value, term, modulus)
        value = result(value)
        written.append(f"{left}={value}")
    return ",".join(written), value


def draw(generator: random.Random, length: int, modulus: int) -> Operands:
    """A chain of ``length`` operands, all chains equally likely."""
    return chain_number(int(generator.random() * number_of_chains(length, modulus)), length, modulus)


def number_of_chains(length: int, modulus: int) -> int:
    """How many chains of ``length`` operands there are."""
    return modulus * (2 * modulus) ** (length - 1)


def chain_number(number: int, length: int, modulus: int) -> Operands:
    """The chain at place ``number`` in an arbitrary fixed order of all chains of ``length`` operands."""
    rest, first = divmod(number, modulus)
    operands = [DIGITS[first]]
    for _ in range(length - 1):
        rest, code = divmod(rest, 2 * modulus)
        sign, digit = divmod(code, modulus)
        operands.append(SIGNS[sign] + DIGITS[digit])
    return tuple(operands)


def check_lengths(minimum: int, maximum: int, where: str) -> None:
    """Raises InputError where a range of lengths is upside down."""
    if minimum > maximum:
        raise InputError(
            f"{where} has minimum_operands={minimum} above maximum_operands={maximum}; swap them or change one"
        )


@dataclass(frozen=True)
class Chains:
    """Chains as problems; lengths are equally likely, and so are the chains of one length."""

    minimum_operands: Operations = 4
    maximum_operands: Operations = 6
    modulus: Modulus = 10

    def __post_init__(self) -> None:
        check_lengths(self.minimum_operands, self.maximum_operands, "Chains")

    @property
    def symbols(self) -> tuple[str, ...]:
        """What the tokenizer has to hold as single tokens."""
        return symbols()

    def problems(self, split: Split, count: int, seed: int) -> tuple[Problem, ...]:
        """``count`` distinct chains of ``split`` (contract: ``tasks.problems.Task``)."""
        return take_distinct(self._stream(split, seed), split, count, repr(self))

    def _stream(self, split: Split, seed: int) -> Iterator[Problem]:
        generator = random.Random(f"chains/{seed}")
        pools = [
            _distinct(generator, length, self.modulus, split)
            for length in range(self.minimum_operands, self.maximum_operands + 1)
        ]
        while pools:
            pool = pools[int(generator.random() * len(pools))]
            operands = next(pool, None)
            if operands is None:
                pools.remove(pool)
                continue
            yield Problem(question(operands), str(answer(operands, self.modulus)), "chains")


def _distinct(generator: random.Random, length: int, modulus: int, split: Split) -> Iterator[Operands]:
    """Every chain of one length that belongs to ``split``, once, in random order.

    Drawing again on a repeat is quick until half are used; the other half is listed and shuffled.
    """
    total = number_of_chains(length, modulus)
    used: set[int] = set()
    while 2 * len(used) < total:
        number = int(generator.random() * total)
        if number not in used:
            used.add(number)
            operands = chain_number(number, length, modulus)
            if split_of(question(operands)) == split:
                yield operands
    rest = [number for number in range(total) if number not in used]
    generator.shuffle(rest)
    for number in rest:
        operands = chain_number(number, length, modulus)
        if split_of(question(operands)) == split:
            yield operands
