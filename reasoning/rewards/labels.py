"""The reward for naming the right label, however a reply wraps it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from reasoning.core.errors import InputError
from reasoning.data.chat.format import ChatFormat
from reasoning.rewards.reward import Flags, Format, Reader, Texts
from reasoning.rewards.text import answer_part, score_each
from reasoning.tasks.classification import LABELS
from reasoning.tasks.problems import Problem


def named_label(text: str, labels: Sequence[str]) -> str | None:
    """The one of ``labels`` that a text names as whole words, capital letters aside; None for none or for several.

    Of labels that hold each other the longest counts: ``very good`` isn't ``good``.
    """
    by_spelling = {label.casefold(): label for label in labels}
    spellings = "|".join(map(re.escape, sorted(by_spelling, key=lambda spelling: (-len(spelling), spelling))))
    named = set(re.findall(rf"(?<!\w)(?:{spellings})(?!\w)", text.casefold()))
    return by_spelling[named.pop()] if len(named) == 1 else None


def _read(labels: Sequence[str], completion: str, answer: str, chat: ChatFormat) -> str | None:
    return named_label(answer_part(completion, chat), labels)


@dataclass(frozen=True)
class Label:
    """1.0 for a reply whose answer names the right label and no other of the column ``labels``, else 0.0.

    The accuracy of a classification, as a reward and as a score. The answer is what follows the last opening answer tag
    or, in formats without one, the thinking (``named_label`` has the rest). A completion that the length limit cut off
    is never right.
    """

    __name__: ClassVar[str] = "label"  # what metrics call it

    def __call__(
        self,
        prompts: Texts,
        completions: Texts,
        answer: Texts,
        labels: Sequence[Sequence[str]],
        truncated: Flags = None,
        chat: Format = None,
        **columns: object,
    ) -> list[float]:
        """One value a completion."""
        return score_each(
            lambda text, tags, right, offered: _read(offered, text, right, tags) == right,
            completions,
            truncated,
            chat,
            answer,
            labels,
        )

    def check(self, problems: Sequence[Problem]) -> None:
        """Raises InputError for a problem whose labels are unknown, or without its answer (``rewards.reward``)."""
        for problem in problems:
            labels = problem.columns.get(LABELS)
            if not isinstance(labels, Sequence) or isinstance(labels, str) or problem.answer not in labels:
                raise InputError(
                    f"the reward label can't judge the problem {problem.question!r:.60} ({problem.kind}): its column "
                    f"{LABELS!r} is {labels!r:.60}, which must be a list with the answer {problem.answer!r:.40} in it"
                )

    def reader(self, problem: Problem) -> Reader:
        """How replies to a problem are read (``rewards.reward.ReadingSome``), so that votes count labels."""
        return partial(_read, problem.columns[LABELS])
