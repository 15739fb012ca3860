"""Rewards for naming the passage that an answer was read from: ``Lima [2]`` cites the second one that the prompt shows.

For the problems of ``tasks.retrieval.Retrieved``, whose column ``holds_answer`` has the numbers of the right passages.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from reasoning.core.errors import InputError
from reasoning.core.ranges import Count
from reasoning.data.chat.format import ChatFormat
from reasoning.rewards.reward import (
    Flags,
    Format,
    Judgement,
    Reader,
    Remarking,
    Reward,
    Selective,
    Texts,
    Value,
    judge_each,
    reader_of,
    reward_name,
)
from reasoning.rewards.text import concluded, read_answer, score_each
from reasoning.tasks.problems import Problem

_CITATION = re.compile(r"\s*\[([0-9]{1,4})\]")


def citations(completion: str, chat: ChatFormat) -> tuple[int, ...]:
    """The numbers that the answer of a reply cites, each once; not those of its thinking."""
    return tuple(dict.fromkeys(int(number) for number in _CITATION.findall(concluded(completion, chat))))


def without_citations(text: str) -> str:
    """A text without its citations and the white space before them."""
    return _CITATION.sub("", text)


@dataclass(frozen=True)
class _CitesHolders:
    """1.0 for a reply that cites at least one passage with the answer and no other, else 0.0.

    Where no passage that is shown holds the answer, citing none is right. A reply that the length limit cut off is
    never right. Precision and recall of single citations are ALCE's (arXiv 2305.14627); this asks for both.
    """

    @property
    def __name__(self) -> str:
        return "cites"

    def __call__(
        self,
        prompts: Texts,
        completions: Texts,
        holds_answer: Sequence[Sequence[int]],
        truncated: Flags = None,
        chat: Format = None,
        **columns: object,
    ) -> list[float]:
        """One value a completion."""

        def right(completion: str, tags: ChatFormat, holding: Sequence[int]) -> bool:
            cited = citations(completion, tags)
            return bool(cited) == bool(holding) and set(cited) <= set(holding)

        return score_each(right, completions, truncated, chat, holds_answer)

    def check(self, problems: Sequence[Problem]) -> None:
        """Raises InputError, naming the problem, for one without passages (``rewards.reward.Selective``)."""
        _check_column(problems, "holds_answer", self.__name__)


cites = _CitesHolders()


@dataclass(frozen=True)
class Within:
    """1.0 where the retriever ranked a passage with the answer among its best ``k``, whatever was replied, else 0.0.

    An exam's rate: the mean over problems is the retriever's own recall@k (top-k accuracy in arXiv 2004.04906).
    """

    k: Count

    @property
    def __name__(self) -> str:
        return f"recall@{self.k}"

    def __call__(
        self, prompts: Texts, completions: Texts, rank: Sequence[int | None], **columns: object
    ) -> list[float]:
        """One value a completion."""
        return [float(each is not None and each <= self.k) for each in rank]

    def check(self, problems: Sequence[Problem]) -> None:
        """Raises InputError, naming the problem, for one that no retriever was asked for."""
        _check_column(problems, "rank", self.__name__)


def _check_column(problems: Sequence[Problem], column: str, reward: str) -> None:
    for problem in problems:
        if column not in problem.columns:
            raise InputError(
                f"the reward {reward} can't judge the problem {problem.question!r:.60} ({problem.kind}): it has no "
                f"column {column!r}; ask it behind passages, by a tasks.retrieval.Retrieved"
            )


@dataclass(frozen=True)
class WithoutCitations:
    """What ``reward`` gives to replies whose citations are taken out; its name in tables is that reward's own.

    So any measure of a right answer also serves where an answer names its passage.
    """

    reward: Reward

    @property
    def __name__(self) -> str:
        return reward_name(self.reward)

    def __call__(self, prompts: Texts, completions: Texts, **columns: Any) -> list[Value]:
        """One value a completion."""
        return [each.value for each in self.judge(prompts, completions, **columns)]

    def judge(self, prompts: Texts, completions: Texts, **columns: Any) -> Sequence[Judgement]:
        """The reward's own judgements (``rewards.reward.Explaining``)."""
        bare = [without_citations(completion) for completion in completions]
        return judge_each(self.reward, prompts=prompts, completions=bare, **columns)

    def check(self, problems: Sequence[Problem]) -> None:
        """Asks the reward whether it can judge the problems (``rewards.reward.Selective``)."""
        if isinstance(self.reward, Selective):
            self.reward.check(problems)

    def reader(self, problem: Problem) -> Reader:
        """How the reward reads replies, citations taken out before (``rewards.reward.ReadingSome``)."""
        read = reader_of((self.reward,), problem) or read_answer
        return lambda completion, answer, chat: read(without_citations(completion), answer, chat)

    def remarks(self, problems: Sequence[Problem]) -> Sequence[str]:
        """What the reward has to say of the problems (``rewards.reward.Remarking``)."""
        return self.reward.remarks(problems) if isinstance(self.reward, Remarking) else ()


@dataclass(frozen=True)
class Grounded:
    """What ``right`` gives to replies without their citations, where they are right (``cites``) too, else 0.0."""

    right: Reward

    @property
    def __name__(self) -> str:
        return "grounded"

    def __call__(
        self, prompts: Texts, completions: Texts, holds_answer: Sequence[Sequence[int]], **columns: Any
    ) -> list[Value]:
        """One value a completion."""
        columns["holds_answer"] = holds_answer
        given = WithoutCitations(self.right)(prompts, completions, **columns)
        cited = cites(prompts, completions, **columns)
        return [value if there else 0.0 for value, there in zip(given, cited, strict=True)]

    def check(self, problems: Sequence[Problem]) -> None:
        """Raises InputError for a problem without passages, and as ``right`` does."""
        cites.check(problems)
        WithoutCitations(self.right).check(problems)
