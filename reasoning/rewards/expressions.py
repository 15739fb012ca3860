"""Answers that are right in many ways: arithmetic on given numbers that has a given value, as in the game Countdown."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, ClassVar

from reasoning.core.errors import InputError
from reasoning.data.chat.format import ChatFormat
from reasoning.rewards.boxes import final_answer
from reasoning.rewards.reward import Flags, Format, Texts
from reasoning.rewards.text import cut_off
from reasoning.tasks.problems import Problem

_LONGEST = 200
"""Characters of an answer; its brackets then can't nest deeper than Python's calls."""

_TOKEN = re.compile(r"\s*(?:([0-9]{1,9})(?![0-9.,])|([-+*/()]))")
_SIGNS = str.maketrans({"×": "*", "·": "*", "÷": "/", "−": "-", "[": "(", "]": ")"})


@dataclass(frozen=True, kw_only=True)
class ReachesTarget:
    """1.0 for a reply whose answer is arithmetic on the problem's numbers, each at most once, that makes its target.

    The answer (``rewards.boxes.final_answer``) is of whole numbers, ``+ - * /`` and brackets, by the usual rules, in
    exact fractions; a sign before a number is no part of it. The column ``column`` of a problem holds its ``numbers``
    and ``target``, as reasoning-gym's countdown has them; ``target`` here is for problems without one (24, puzzle24).
    ``every``: all numbers must be used. The reply's own words for the number (``100 = …``) make it no expression, and
    the right answer that a problem stores isn't looked at.
    """

    __name__: ClassVar[str] = "reaches_target"  # what metrics call it
    column: str = "metadata"
    target: int | None = None
    every: bool = False

    def __call__(
        self,
        prompts: Texts,
        completions: Texts,
        truncated: Flags = None,
        chat: Format = None,
        **columns: Any,
    ) -> list[float]:
        """One value a completion."""
        cut, told = cut_off(completions, truncated), columns[self.column]
        rows = zip(completions, cut, told, strict=True)
        return [
            0.0 if was_cut else float(self._right(text, chat or ChatFormat(), each)) for text, was_cut, each in rows
        ]

    def check(self, problems: Sequence[Problem]) -> None:
        """Raises InputError, naming the problem, for one without numbers and target (``rewards.reward.Selective``)."""
        for problem in problems:
            if self._asked(problem.columns.get(self.column)) is None:
                raise InputError(
                    f"the reward {self.__name__} can't judge the problem {problem.question!r:.60} ({problem.kind}): "
                    f"its column {self.column!r} is {problem.columns.get(self.column)!r:.60}; it must have whole "
                    "numbers as 'numbers' and one as 'target', or set target"
                )

    def _asked(self, told: Any) -> tuple[Counter[int], int] | None:
        """The numbers and the target that a problem tells, or None."""
        if not isinstance(told, dict) or not isinstance(told.get("numbers"), list | tuple):
            return None
        target, numbers = told.get("target", self.target), told["numbers"]
        whole = all(isinstance(each, int) and not isinstance(each, bool) for each in (*numbers, target))
        return (Counter(numbers), target) if whole else None

    def _right(self, completion: str, chat: ChatFormat, told: Any) -> bool:
        asked, given = self._asked(told), final_answer(completion, chat)
        if asked is None or given is None:
            return False
        found = value_of(given)
        if found is None:
            return False
        value, used = found
        numbers, target = asked
        return value == target and used <= numbers and (not self.every or used == numbers)


def value_of(text: str) -> tuple[Fraction, Counter[int]] | None:
    """The exact value of an arithmetic expression, and the numbers that it uses; None for any other text.

    Also None where it divides by zero, and for more than 200 characters.
    """
    tokens = _tokens(text.translate(_SIGNS))
    if tokens is None:
        return None
    reader = _Reader(tokens)
    try:
        value = reader.sum()
    except (ZeroDivisionError, ValueError):
        return None
    return (value, reader.used) if reader.place == len(tokens) else None


def _tokens(text: str) -> list[str] | None:
    tokens, place, text = list[str](), 0, text.strip()
    if len(text) > _LONGEST:
        return None
    while place < len(text):
        found = _TOKEN.match(text, place)
        if found is None:
            return None
        tokens.append(found[1] or found[2])
        place = found.end()
    return tokens


@dataclass
class _Reader:
    """Reads sums of products of factors; raises ValueError where something else stands."""

    tokens: list[str]
    place: int = 0
    used: Counter[int] = field(default_factory=Counter)

    def sum(self) -> Fraction:
        value = self.product()
        while (sign := self.take("+", "-")) is not None:
            value = value + self.product() if sign == "+" else value - self.product()
        return value

    def product(self) -> Fraction:
        value = self.factor()
        while (sign := self.take("*", "/")) is not None:
            value = value * self.factor() if sign == "*" else value / self.factor()
        return value

    def factor(self) -> Fraction:
        if (sign := self.take("+", "-")) is not None:
            return self.factor() if sign == "+" else -self.factor()
        if self.take("(") is not None:
            value = self.sum()
            if self.take(")") is None:
                raise ValueError("a bracket stays open")
            return value
        if self.place == len(self.tokens) or not self.tokens[self.place].isdigit():
            raise ValueError("a number is missing")
        number = int(self.tokens[self.place])
        self.place += 1
        self.used[number] += 1
        return Fraction(number)

    def take(self, *symbols: str) -> str | None:
        """The next token where it is one of these, which is then read."""
        if self.place < len(self.tokens) and self.tokens[self.place] in symbols:
            self.place += 1
            return self.tokens[self.place - 1]
        return None
