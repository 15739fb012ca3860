"""What a reward model makes of a reply, as a reward: R1's last reinforcement learning mixes it with rules.

DeepSeek-R1 (arXiv 2501.12948), section 2.3.4.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from reasoning.core.errors import InputError
from reasoning.evaluation.scorers import Aggregation, aggregated, last


@dataclass(frozen=True, kw_only=True)
class ScorerReward:
    """``aggregate`` of the scores that a ``scorer`` of the stage gives a reply's steps; ``last``: the whole reply's."""

    scorer: str  # a reward model's stage, one of the stage's scorers
    aggregate: Aggregation = last

    @property
    def __name__(self) -> str:
        return f"{self.scorer}_{getattr(self.aggregate, '__name__', type(self.aggregate).__name__).lower()}"

    def scorers_asked(self) -> tuple[str, ...]:
        """See ``rewards.reward.scorers_of``."""
        return (self.scorer,)

    def __call__(
        self, completions: Sequence[str], marks: Sequence[Mapping[str, np.ndarray]] = (), **columns: Any
    ) -> list[float]:
        """One number a completion. Raises InputError where no scorer has read the completions."""
        if len(marks) != len(completions):
            raise InputError(
                f"the reward {self.__name__} wants what the scorer {self.scorer} made of the replies, and here no "
                "scorer reads them; name it as a reward of a stage that learns from rewards"
            )
        return aggregated(self.aggregate, [each[self.scorer] for each in marks]).tolist()
