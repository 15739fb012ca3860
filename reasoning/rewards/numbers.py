"""Rewards for replies that end on a number in plain text, as pretrained models write them."""

from collections.abc import Sequence
from dataclasses import dataclass

from reasoning.core.errors import InputError
from reasoning.rewards.reward import Flags, Format, Texts
from reasoning.rewards.text import cut_off, matches_answer, score_each
from reasoning.tasks.answers import number_value
from reasoning.tasks.problems import Problem


@dataclass(frozen=True)
class _EndsOnNumber:
    """1.0 for a reply whose last number equals the answer's value (6.0 is 6, and 1,000 is 1000), else 0.0.

    A reply that the length limit cut off counts as wrong, or as any other where ``even_if_cut``: then learning to stop
    isn't counted as learning to calculate. Raises InputError for a right answer that isn't a number as a whole
    (``tasks.answers.number_value``): a part of it would pass for all of it.
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
        for expected in dict.fromkeys(answer):
            if number_value(expected) is None:
                raise InputError(f"the reward {self.__name__} gets {_refused(expected)}")
        return score_each(
            lambda text, tags, expected: matches_answer(text, expected, tags),
            completions,
            None if self.even_if_cut else truncated,
            chat,
            answer,
        )

    def check(self, problems: Sequence[Problem]) -> None:
        """Raises InputError, naming the problem, where its answer isn't a number as a whole (``rewards.reward``)."""
        for problem in problems:
            if number_value(problem.answer) is None:
                where = f"the problem {problem.question!r:.60} ({problem.kind})"
                raise InputError(f"the reward {self.__name__} can't judge {where}: it has {_refused(problem.answer)}")


def _refused(answer: str) -> str:
    return (
        f"the right answer {answer!r:.60}, which isn't a number as a whole; write it as one (0.75 for 3/4, no unit), "
        "leave the problem out, or reward it by rewards.accuracy.lenient"
    )


number = _EndsOnNumber()
number_even_if_cut = _EndsOnNumber(even_if_cut=True)


def truncated(completions: Texts, truncated: Flags = None, **columns: object) -> list[float]:
    """1.0 for a reply that the length limit cut off, else 0.0: a rate to watch, not a reward."""
    return [float(value) for value in cut_off(completions, truncated)]


def finished(completions: Texts, truncated: Flags = None, **columns: object) -> list[float]:
    """1.0 for a reply that came to its end, right or wrong, else 0.0: what a teacher says for its distributions."""
    return [1.0 - float(value) for value in cut_off(completions, truncated)]
