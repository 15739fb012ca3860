"""Programs from examples: a question shows a function at four inputs, and the answer is Python that computes it.

``f(1)=5,f(4)=11,f(5)=13,f(8)=19?`` has the answer ``f=lambda x:2*x+3``. Two difference quotients tell which function it
is, and every step of them is a lookup in a table of a few hundred facts. Tests at inputs that the question doesn't show
decide what is right (``sandbox.records.Call``), so that programs may be written in any way.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from reasoning.core.errors import InputError
from reasoning.core.ranges import Count, Range
from reasoning.tasks.problems import Problem, take_distinct
from reasoning.tasks.splits import Split, split_of

Family = Literal["line", "modulo", "maximum", "minimum", "absolute", "conditional"]

_INPUTS = 10
"""Examples have inputs from zero to below it; tests go as far again to either side."""

_DOMAIN = range(-_INPUTS, 2 * _INPUTS)

_BASE = 10
"""What the family ``modulo`` divides by."""

_PATIENCE = 2_000
"""Draws without a new question after which a task counts as exhausted."""

Tests = Annotated[int, Range(minimum=2, maximum=2 * _INPUTS)]

_Examples = Sequence[tuple[int, int]]


@dataclass(frozen=True)
class Line:
    """``slope * x + intercept``."""

    slope: int
    intercept: int

    def __call__(self, x: int) -> int:
        """The value at ``x``."""
        return self.slope * x + self.intercept

    def __str__(self) -> str:
        return f"{self.slope}*x{self.intercept:+d}"


@dataclass(frozen=True)
class Program:
    """A function of one integer, made of two lines as its family says; a conditional's second begins at ``border``."""

    family: Family
    first: Line
    second: Line
    border: int

    def __call__(self, x: int) -> int:
        """The value at ``x``."""
        if self.family == "line":
            return self.first(x)
        if self.family == "modulo":
            return self.first(x) % _BASE
        if self.family == "absolute":
            return abs(self.second(x))
        if self.family == "conditional":
            return self.first(x) if x < self.border else self.second(x)
        return (max if self.family == "maximum" else min)(self.first(x), self.second(x))

    def __str__(self) -> str:
        """The program in the one form that the corpus is written in: ``f=lambda x:`` and an expression."""
        return f"f=lambda x:{self._expression()}"

    def _expression(self) -> str:
        first, second = self.first, self.second
        if self.family == "line":
            return str(first)
        if self.family == "modulo":
            return f"({first})%{_BASE}"
        if self.family == "absolute":
            return f"abs({second})"
        if self.family == "conditional":
            return f"{first} if x<{self.border} else {second}"
        sloped, flat = (second, first) if first.slope == 0 else (first, second)
        return f"{self.family[:3]}({sloped},{flat.intercept})"

    @property
    def split(self) -> Split:
        """Train or test, by the function's values alone: programs that compute the same are in the same split."""
        return split_of("f " + " ".join(str(self(x)) for x in _DOMAIN))


def assemble(first: Line, second: Line, border: int) -> Program:
    """The simplest program whose pieces are these lines: a line, a remainder, a maximum or minimum, an absolute value.

    Where none of those fits, a conditional whose second piece begins at ``border``.
    """
    family: Family = "conditional"
    if first == second:
        family = "line"
    elif first.slope == second.slope > 0 and first.intercept - second.intercept == _BASE:
        family = "modulo"
    elif (first.slope == 0) != (second.slope == 0):
        family = "maximum" if first.slope < second.slope else "minimum"
    elif first.slope < 0 and (first.slope, first.intercept) == (-second.slope, -second.intercept):
        family = "absolute"
    return Program(family, first, second, border if family == "conditional" else 0)


def work_out(examples: _Examples, result: Callable[[int], int] = int) -> tuple[str, Program]:
    """The thinking that finds a program of four examples, and the program: a difference quotient for either pair.

    ``result`` turns a true result into the written one, by default the same, with which the work goes on: that is how a
    corpus gets mistakes that are carried on.
    """
    steps, lines = [], []
    for (x, y), (next_x, next_y) in (examples[:2], examples[2:]):
        rise, run = next_y - y, next_x - x
        slope = result(rise // run)
        product = result(slope * x)
        intercept = result(y - product)
        steps += [f"{next_y}-{y}={rise}", f"{next_x}-{x}={run}", f"{rise}/{run}={slope}", f"{slope}*{x}={product}"]
        steps.append(f"{y}{-product:+d}={intercept:+d}")
        lines.append(Line(slope, intercept))
    return ",".join(steps), assemble(*lines, border=examples[2][0])


def question_of(examples: _Examples) -> str:
    """The examples as they are asked: ``f(1)=5,f(4)=11,f(5)=13,f(8)=19?``."""
    return ",".join(f"f({x})={y}" for x, y in examples) + "?"


@dataclass(frozen=True)
class ProgramSynthesis:
    """Functions of six families as problems; families are equally likely.

    The first two examples lie on a function's first piece and the others on its second, at inputs below ten in rising
    order; a conditional's border is the third input, just behind the second. So exactly one of the programs of
    ``assemble`` fits. Columns for rewards: ``examples``, what the question shows, and ``tests``, at other inputs from
    minus ten to nineteen, half of them on either piece; both as ``sandbox.records.read_tests`` reads them. No function
    is in both splits, however it is written.
    """

    name = "programs"
    families: tuple[Family, ...] = ("line", "modulo", "maximum", "minimum", "absolute", "conditional")
    maximum_slope: Count = 3
    maximum_value: Count = 20  # of the examples, which are never negative; tests may go beyond
    tests: Tests = 4

    def __post_init__(self) -> None:
        if not self.families:
            raise InputError("ProgramSynthesis has no families; name at least one")

    @property
    def symbols(self) -> tuple[str, ...]:
        """What a tokenizer has to hold as single tokens: numbers with what stands before them, and parts of Python."""
        products = self.maximum_slope * (_INPUTS - 1)
        largest = self.maximum_value + products
        numbers = (str(number) for number in range(largest + 1))
        signed = (f"{sign}{number}" for number in range(largest + 1) for sign in "+-")
        factors = (f"*{number}" for number in (*range(_INPUTS), "x"))
        runs = (f"/{number}" for number in range(1, _INPUTS))
        python = ("f(", ")=", "f=lambda", "x:", "max(", "min(", "abs(", f")%{_BASE}", "if", "x<", "else")
        return (*numbers, *signed, *factors, *runs, *python)

    def draw(self, generator: random.Random) -> tuple[Program, _Examples]:
        """A program of either split, and four examples that tell which it is."""
        family = self.families[int(generator.random() * len(self.families))]
        while True:
            inputs = _inputs(family, generator)
            first, second = self._lines(family, inputs, generator)
            program = Program(family, first, second, inputs[2] if family == "conditional" else 0)
            examples = [(x, program(x)) for x in inputs]
            pieces = [first(x) for x in inputs[:2]] + [second(x) for x in inputs[2:]]
            shown = pieces == [y for _, y in examples] and all(0 <= y <= self.maximum_value for y in pieces)
            if shown and work_out(examples)[1] == program:
                return program, examples

    def problems(self, split: Split, count: int, seed: int) -> tuple[Problem, ...]:
        """``count`` problems of functions of ``split`` (contract: ``tasks.problems.Task``)."""
        generator = random.Random(f"programs/{split}/{seed}")
        return take_distinct(self._stream(generator, split), split, count, repr(self))

    def _lines(self, family: Family, inputs: Sequence[int], generator: random.Random) -> tuple[Line, Line]:
        """Two lines as the family needs them, not yet sure to fit each other and the examples' range."""

        def below(limit: int) -> int:
            return int(generator.random() * limit)

        def through(x: int, slope: int) -> Line:
            return Line(slope, below(self.maximum_value + 1) - slope * x)

        steep, other = 1 + below(self.maximum_slope), 1 + below(self.maximum_slope)
        up, falls = below(2), below(2)
        if family == "modulo":
            intercept = below(_BASE)
            return Line(steep, intercept), Line(steep, intercept - _BASE)
        if family == "absolute":
            zero = through(inputs[0], -steep)
            return zero, Line(steep, -zero.intercept)
        if family in ("maximum", "minimum"):
            slopes = (0, steep) if up else (-steep, 0)
            slopes = slopes if family == "maximum" else (-slopes[0], -slopes[1])
            return through(inputs[0], slopes[0]), through(inputs[2], slopes[1])
        first = through(inputs[0], steep if up else -steep)
        return first, first if family == "line" else through(inputs[2], other if falls else -other)

    def _stream(self, generator: random.Random, split: Split) -> Iterator[Problem]:
        asked: set[str] = set()
        misses = 0
        while misses < _PATIENCE:
            program, examples = self.draw(generator)
            question = question_of(examples)
            if program.split != split or question in asked:
                misses += 1
                continue
            misses = 0
            asked.add(question)
            hidden = self._hidden([x for x, _ in examples], generator)
            columns = {"examples": [_call(x, y) for x, y in examples], "tests": [_call(x, program(x)) for x in hidden]}
            yield Problem(question, str(program), self.name, columns)

    def _hidden(self, shown: Sequence[int], generator: random.Random) -> Sequence[int]:
        """Inputs that are not shown, half of them on either piece."""
        first = [x for x in _DOMAIN if x <= shown[1] and x not in shown]
        second = [x for x in _DOMAIN if x >= shown[2] and x not in shown]
        return generator.sample(first, self.tests // 2) + generator.sample(second, self.tests - self.tests // 2)


def _inputs(family: Family, generator: random.Random) -> Sequence[int]:
    if family != "conditional":
        return sorted(generator.sample(range(_INPUTS), 4))
    border = 2 + int(generator.random() * (_INPUTS - 3))
    before = int(generator.random() * (border - 1))
    return before, border - 1, border, border + 1 + int(generator.random() * (_INPUTS - 1 - border))


def _call(x: int, y: int) -> dict[str, Any]:
    return {"function": "f", "arguments": [x], "result": y}
