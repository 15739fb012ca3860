"""Where a step's seconds go, part by part, so that nobody has to guess what a run waits for."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

PARTS = ("data", "rollout", "reward", "scoring", "update", "probe", "checkpoint")
"""What a training step consists of, in order: rows that are read and placed on devices, completions that are sampled,
what they are given for, log-probabilities before an update, the update, what is measured beside it, what is saved."""


@dataclass
class Stopwatch:
    """Seconds by part since the last ``lap``; each second counts once, for the innermost part around it."""

    clock: Callable[[], float] = time.monotonic
    spent: dict[str, float] = field(default_factory=dict)
    within: float = 0.0

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Counts the block for ``name``, but for what parts inside it count for themselves."""
        began, before = self.clock(), self.within
        self.within = 0.0
        try:
            yield
        finally:
            whole = self.clock() - began
            self.spent[name] = self.spent.get(name, 0.0) + whole - self.within
            self.within = before + whole

    def lap(self) -> dict[str, float]:
        """The seconds of each part since the last lap, of those that there were."""
        spent, self.spent, self.within = self.spent, {}, 0.0
        return spent
