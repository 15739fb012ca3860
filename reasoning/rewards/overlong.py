"""A reward that makes long replies short of tokens: the softer way to treat replies that the limit cuts off."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from reasoning.core.errors import InputError
from reasoning.core.ranges import Count
from reasoning.rewards.reward import Texts


@dataclass(frozen=True)
class OverlongPunishment:
    """0 for a reply of up to ``maximum - margin`` tokens, from there falling linearly to -1 at ``maximum`` and beyond.

    Give ``maximum`` the stage's ``max_new_tokens``. DAPO, arXiv 2503.14476, eq. 13, whose L_max is 20,480 tokens and
    whose L_cache, the margin, is 4,096. Raises InputError for a margin beyond the maximum.
    """

    __name__: ClassVar[str] = "overlong_punishment"  # what metrics call it
    maximum: Count
    margin: Count

    def __post_init__(self) -> None:
        if self.margin > self.maximum:
            raise InputError(f"margin is {self.margin} tokens, more than the maximum of {self.maximum}; lower it")

    def __call__(self, prompts: Texts, completions: Texts, lengths: Sequence[int], **columns: object) -> list[float]:
        """One number a completion, from ``lengths`` in tokens, the end symbol included."""
        free = self.maximum - self.margin
        return [max(-1.0, min(0.0, (free - length) / self.margin)) for length in lengths]
