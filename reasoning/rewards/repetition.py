"""How much a reply repeats itself: a loop is the cheapest way to write a long one."""

from dataclasses import dataclass
from typing import ClassVar

from reasoning.core.ranges import Fraction, Size
from reasoning.rewards.reward import Texts

_SIZE = 10
"""Characters of a stretch that counts as repeated: longer than a step of arithmetic, shorter than a loop."""


def repeated_share(text: str, size: int = _SIZE) -> float:
    """The share of all stretches of ``size`` characters that occur earlier in the text; 0.0 for a shorter text."""
    stretches = [text[start : start + size] for start in range(len(text) - size + 1)]
    return 1 - len(set(stretches)) / len(stretches) if stretches else 0.0


def repetition(prompts: Texts, completions: Texts, **columns: object) -> list[float]:
    """The repeated share of each completion (``repeated_share``), 0 to 1: a measure for tables, not a reward."""
    return [repeated_share(completion) for completion in completions]


@dataclass(frozen=True)
class Unrepetitive:
    """1.0 for a completion of which at most ``share`` is repeated, else 0.0; a filter for collected samples.

    The n-gram repetition penalty that TRL's users know from open-r1, over characters instead of words.
    """

    __name__: ClassVar[str] = "unrepetitive"  # what metrics call it
    size: Size = _SIZE
    share: Fraction = 0.1

    def __call__(self, prompts: Texts, completions: Texts, **columns: object) -> list[float]:
        """One number a completion."""
        return [float(repeated_share(completion, self.size) <= self.share) for completion in completions]
