"""One reward for problems of several kinds, each judged in its own way: numbers by their value, programs by tests."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from reasoning.core.errors import InputError
from reasoning.rewards.reward import (
    Judgement,
    Reader,
    Remarking,
    Reward,
    Selective,
    Value,
    judge_each,
    reader_of,
    scorers_of,
)
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

    def __call__(self, prompts: Sequence[str], completions: Sequence[str], **columns: Any) -> list[Value]:
        """One value a completion."""
        return [each.value for each in self.judge(prompts, completions, **columns)]

    def judge(self, prompts: Sequence[str], completions: Sequence[str], **columns: Any) -> list[Judgement]:
        """Each completion's first judgement with a value (``rewards.reward.Explaining``); all rewards are asked."""
        judged = [Judgement(None)] * len(completions)
        for reward in self.rewards:
            given = judge_each(reward, prompts=list(prompts), completions=list(completions), **columns)
            judged = [new if old.value is None else old for old, new in zip(judged, given, strict=True)]
        return judged

    def check(self, problems: Sequence[Problem]) -> None:
        """Asks each reward whether it can judge the problems (``rewards.reward.Selective``)."""
        for reward in self.rewards:
            if isinstance(reward, Selective):
                reward.check(problems)

    def scorers_asked(self) -> tuple[str, ...]:
        """Those of all rewards (``rewards.reward.scorers_of``)."""
        return tuple(name for reward in self.rewards for name in scorers_of(reward))

    def reader(self, problem: Problem) -> Reader | None:
        """How the first reward that reads replies to a problem itself does so (``rewards.reward.ReadingSome``)."""
        return reader_of(self.rewards, problem)

    def remarks(self, problems: Sequence[Problem]) -> Sequence[str]:
        """What the rewards have to say of the problems (``rewards.reward.Remarking``)."""
        return [each for reward in self.rewards if isinstance(reward, Remarking) for each in reward.remarks(problems)]
