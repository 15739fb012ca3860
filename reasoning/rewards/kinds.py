"""Rewards that apply to some kinds of problem only: arithmetic is asked for its steps, knowledge is not."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from reasoning.rewards.reward import (
    Judgement,
    Reader,
    Remarking,
    Reward,
    Selective,
    Value,
    judge_each,
    reader_of,
    reward_name,
    scorers_of,
)
from reasoning.tasks.problems import Problem


@dataclass(frozen=True)
class ForKinds:
    """``reward`` for problems of these ``kinds``, and None (it doesn't apply) for all others, in TRL's batched form."""

    reward: Reward
    kinds: tuple[str, ...]

    @property
    def __name__(self) -> str:
        """The reward's own name with the kinds', so that two of one reward can be told apart in metrics."""
        return f"{reward_name(self.reward)}_{'_'.join(self.kinds)}"

    def __call__(
        self, prompts: Sequence[str], completions: Sequence[str], kind: Sequence[str], **columns: Any
    ) -> list[Value]:
        """One value a completion."""
        return [each.value for each in self.judge(prompts, completions, kind, **columns)]

    def judge(
        self, prompts: Sequence[str], completions: Sequence[str], kind: Sequence[str], **columns: Any
    ) -> list[Judgement]:
        """Asks the reward about the rows that it applies to; columns of one value a row are cut alike."""
        rows = [row for row, name in enumerate(kind) if name in self.kinds]
        judged = [Judgement(None)] * len(completions)
        if not rows:
            return judged

        def own(column: Any) -> Any:
            each = isinstance(column, Sequence) and not isinstance(column, str) and len(column) == len(completions)
            return [column[row] for row in rows] if each else column

        given = judge_each(
            self.reward,
            prompts=own(prompts),
            completions=own(completions),
            kind=own(kind),
            **{name: own(column) for name, column in columns.items()},
        )
        for row, judgement in zip(rows, given, strict=True):
            judged[row] = judgement
        return judged

    def check(self, problems: Sequence[Problem]) -> None:
        """Asks the reward whether it can judge the problems of these kinds (``rewards.reward.Selective``)."""
        if isinstance(self.reward, Selective):
            self.reward.check([problem for problem in problems if problem.kind in self.kinds])

    def scorers_asked(self) -> tuple[str, ...]:
        """Those of the reward (``rewards.reward.scorers_of``)."""
        return scorers_of(self.reward)

    def reader(self, problem: Problem) -> Reader | None:
        """How the reward reads the replies to a problem of these kinds (``rewards.reward.ReadingSome``)."""
        return reader_of((self.reward,), problem) if problem.kind in self.kinds else None

    def remarks(self, problems: Sequence[Problem]) -> Sequence[str]:
        """What the reward has to say of the problems of these kinds (``rewards.reward.Remarking``)."""
        own = [problem for problem in problems if problem.kind in self.kinds]
        return self.reward.remarks(own) if isinstance(self.reward, Remarking) else ()
