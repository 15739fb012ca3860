"""Rewards for replies that end on a number in plain text, as pretrained models write them."""

import re
from dataclasses import dataclass
from fractions import Fraction

from reasoning.data.chat.format import ChatFormat
from reasoning.rewards.reward import Flags, Format, Texts
from reasoning.rewards.text import answer_part, cut_off, score_each

# ASCII digits only, with commas between thousands or without; a minus right after a digit or letter subtracts.
_NUMBER = re.compile(r"(?:(?<![0-9A-Za-z.)])-)?(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)(?:\.[0-9]+)?")
_LONGEST = 40
"""Characters of a number; longer ones are no answers, and exact arithmetic with them would take long."""


def last_number_value(text: str) -> Fraction | None:
    """The last number of a text, exactly, or None: ``1,250.50`` is 1250.5; a comma before three digits joins."""
    numbers = _NUMBER.findall(text)
    return Fraction(numbers[-1].replace(",", "")) if numbers and len(numbers[-1]) <= _LONGEST else None


@dataclass(frozen=True)
class _EndsOnNumber:
    """1.0 for a reply whose last number equals the answer's value (6.0 is 6), else 0.0.

    A reply that the length limit cut off counts as wrong, or as any other where ``even_if_cut``: then learning to stop
    isn't counted as learning to calculate.
    """

    even_if_cut: bool = False

    @property
    def __name__(self) -> str:
        return "number_even_if_cut" if self.even_if_cut else "number"

    def __call__(
        self,
        prompts: Texts,
        completions: Texts,
        answer: Texts,
        truncated: Flags = None,
        chat: Format = None,
        **columns: object,
    ) -> list[float]:
        """One value a completion."""

        def right(completion: str, tags: ChatFormat, expected: str) -> bool:
            value = last_number_value(expected)
            return value is not None and last_number_value(answer_part(completion, tags)) == value

        return score_each(right, completions, None if self.even_if_cut else truncated, chat, answer)


number = _EndsOnNumber()
number_even_if_cut = _EndsOnNumber(even_if_cut=True)


def truncated(completions: Texts, truncated: Flags = None, **columns: object) -> list[float]:
    """1.0 for a reply that the length limit cut off, else 0.0: a rate to watch, not a reward."""
    return [float(value) for value in cut_off(completions, truncated)]


def finished(completions: Texts, truncated: Flags = None, **columns: object) -> list[float]:
    """1.0 for a reply that came to its end, right or wrong, else 0.0: what a teacher says for its distributions."""
    return [1.0 - float(value) for value in cut_off(completions, truncated)]
