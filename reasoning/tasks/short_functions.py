"""Short functions to be written in Python, from one sentence: coding problems for models that read English.

They are made here, so that no exam of programs (HumanEval, MBPP) is trained on. Tests decide what is right.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

from reasoning.core.ranges import Count, Range
from reasoning.tasks.problems import Problem, drawn
from reasoning.tasks.splits import Split

_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_WORDS = ("banana", "letter", "mississippi", "yellow", "coffee", "tree", "level", "puzzle", "queen", "balloon", "", "x")


@dataclass(frozen=True)
class _Form:
    """A sentence, Python and a function of the same argument; ``{n}`` and ``{c}`` are a number and a letter."""

    takes: str
    returns: str
    source: str
    compute: Callable[[Any, int, str], Any]


_NUMBERS = "a list of whole numbers `numbers`"
_WORD = "a text `text`"
_NUMBER = "a whole number `number`"

_FORMS = (
    _Form(
        _NUMBERS,
        "the sum of the numbers above {n}",
        "return sum(x for x in numbers if x > {n})",
        lambda numbers, n, c: sum(x for x in numbers if x > n),
    ),
    _Form(
        _NUMBERS,
        "how many of the numbers can be divided by {n}",
        "return sum(x % {n} == 0 for x in numbers)",
        lambda numbers, n, c: len([x for x in numbers if x % n == 0]),
    ),
    _Form(
        _NUMBERS,
        "a list of the numbers, each multiplied by {n}",
        "return [{n} * x for x in numbers]",
        lambda numbers, n, c: [x * n for x in numbers],
    ),
    _Form(
        _NUMBERS,
        "a list of the numbers below {n}, in the same order",
        "return [x for x in numbers if x < {n}]",
        lambda numbers, n, c: [x for x in numbers if x < n],
    ),
    _Form(
        _NUMBERS,
        "the largest of the numbers, or {n} if there are none",
        "return max(numbers, default={n})",
        lambda numbers, n, c: max(numbers) if numbers else n,
    ),
    _Form(
        _WORD,
        "how many times the letter '{c}' stands in the text",
        "return text.count('{c}')",
        lambda text, n, c: sum(letter == c for letter in text),
    ),
    _Form(
        _WORD,
        "the text without the letter '{c}'",
        "return text.replace('{c}', '')",
        lambda text, n, c: "".join(letter for letter in text if letter != c),
    ),
    _Form(
        _NUMBER,
        "the remainder when the number is divided by {n}",
        "return number % {n}",
        lambda number, n, c: number - n * (number // n),
    ),
    _Form(
        _NUMBER,
        "the number multiplied by itself, plus {n}",
        "return number * number + {n}",
        lambda number, n, c: number**2 + n,
    ),
    _Form(
        _NUMBER,
        "True if the number is above {n}, and False otherwise",
        "return number > {n}",
        lambda number, n, c: number > n,
    ),
)


@dataclass(frozen=True)
class ShortFunctions:
    """Functions of a list, a text or a number, with a number up to ``largest`` or a letter in what they are to do.

    The answer is a right program. Column ``tests``: calls, as ``sandbox.records.read_tests`` reads them.
    """

    largest: Annotated[int, Range(minimum=2)] = 200
    tests: Count = 4
    name: str = "functions"

    def problems(self, split: Split, count: int, seed: int) -> tuple[Problem, ...]:
        """``count`` problems of ``split`` (contract: ``tasks.problems.Task``)."""
        generator = random.Random(f"functions/{self!r}/{split}/{seed}")
        return drawn(partial(self._draw, generator), split, count, repr(self))

    def _draw(self, generator: random.Random) -> Problem:
        form = _FORMS[int(generator.random() * len(_FORMS))]
        number = 2 + int(generator.random() * (self.largest - 1))
        letter = _LETTERS[int(generator.random() * len(_LETTERS))]
        given = [self._argument(form, number, letter, generator) for _ in range(self.tests)]
        tests = [{"function": "f", "arguments": [x], "result": form.compute(x, number, letter)} for x in given]
        returns, source = (text.format(n=number, c=letter) for text in (form.returns, form.source))
        question = f"Write a Python function `f` that takes {form.takes} and returns {returns}."
        program = f"def f({form.takes.split('`')[1]}):\n    {source}"
        return Problem(question, program, self.name, {"tests": tests})

    def _argument(self, form: _Form, number: int, letter: str, generator: random.Random) -> Any:
        def below(limit: int) -> int:
            return int(generator.random() * limit)

        if form.takes == _WORD:
            word = _WORDS[below(len(_WORDS))]
            at = below(len(word) + 1)
            return word[:at] + letter * below(3) + word[at:]
        if form.takes == _NUMBER:
            return below(3 * number)
        # Multiples are there, and so is an empty list from time to time.
        return [below(3 * number) if below(2) else number * below(4) for _ in range(below(7))]
