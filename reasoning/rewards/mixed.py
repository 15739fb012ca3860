"""One reward for problems of several kinds, each judged in its own way: numbers by their value, programs by tests."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from reasoning.core.errors import InputError
from reasoning.rewards.reward import Reward, Selective
from reasoning.tasks.problems import Problem


@dataclass(frozen=True)
class FirstThatApplies:
    """The value of the first of ``rewards`` that gives one, or None, a completion; in TRL's batched form.

    So the accuracy of a mixture is one reward, which ``correct``, ``keep`` and the scores of an exam can name. Its
    parts are as a rule ``rewards.kinds.ForKinds``. ``label`` is its name in metrics and tables.
    """

    rewards: tuple[Reward, ...]
    label: str = "accuracy"

    def __post_init__(self) -> None:
        if not self.rewards:
            raise InputError("FirstThatApplies has no rewards; name at least one")

    @property
    def __name__(self) -> str:
        return self.label

    def __call__(self, prompts: Sequence[str], completions: Sequence[str], **columns: Any) -> list[float | None]:
        """One value a completion."""
        values: list[float | None] = [None] * len(completions)
        for reward in self.rewards:
            given = reward(prompts=list(prompts), completions=list(completions), **columns)
            values = [new if old is None else old for old, new in zip(values, given, strict=True)]
        return values

    def check(self, problems: Sequence[Problem]) -> None:
        """Asks each reward whether it can judge the problems (``rewards.reward.Selective``)."""
        for reward in self.rewards:
            if isinstance(reward, Selective):
                reward.check(problems)
