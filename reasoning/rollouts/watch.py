"""Notices rewards that tell no completion from another: such a stage runs to its end and has learnt nothing."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

_SHORTEST, _LONGEST = 3, 10
"""Steps without any signal after which a warning is due: an epoch, but within these bounds."""


@dataclass
class RewardWatch:
    """Warns once when, for a whole epoch, the rewards of every group were equal.

    ``window`` is how many steps in a row that takes, ``silent`` how many it has been, over ``low`` to ``high``.
    """

    stage: str
    window: int
    warn: Callable[[str], None]
    silent: int = 0
    low: float = np.inf
    high: float = -np.inf
    told: bool = False

    def look(self, step: int, rewards_PG: np.ndarray) -> None:
        """Looks at the total rewards of all processes at a step, counted from 1; NaN where one was not graded."""
        missing_PG = np.isnan(rewards_PG)
        least_PG, most_PG = np.where(missing_PG, np.inf, rewards_PG), np.where(missing_PG, -np.inf, rewards_PG)
        if (most_PG.max(axis=1) > least_PG.min(axis=1)).any():
            self.silent, self.low, self.high = 0, np.inf, -np.inf
            return
        self.silent += 1
        self.low, self.high = min(self.low, least_PG.min()), max(self.high, most_PG.max())
        if self.silent >= self.window and not self.told:
            self.told = True
            self.warn(self.message(step))

    def message(self, step: int) -> str:
        """What is wrong and what can be done."""
        found = f"every reward was {self.low:.4g}"
        if self.low > self.high:
            found = "no reply was graded"
        elif self.low < self.high:
            found = f"rewards were equal within every group (from {self.low:.4g} to {self.high:.4g} between groups)"
        return (
            f"stage {self.stage}: in the last {self.silent} steps up to step {step} {found}, so nothing was learnt; "
            "read some completions (reasoning show RUN/STAGE), then check the reward functions, ask problems that the "
            "model solves now and then, or raise samples or temperature"
        )


def watch_rewards(stage: str, problems: int, questions: int, steps: int, warn: Callable[[str], None]) -> RewardWatch:
    """A watch over a stage of ``steps`` steps that asks ``questions`` of its ``problems`` at each."""
    epoch = -(-problems // questions)
    return RewardWatch(stage, min(max(epoch, _SHORTEST), _LONGEST, steps), warn)
