"""Rewards for multiple choice: the letter that a reply gives, and how often each letter is given, right or wrong."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from reasoning.core.errors import InputError
from reasoning.data.chat.format import ChatFormat
from reasoning.rewards.reward import Flags, Format, Texts
from reasoning.rewards.text import concluded, score_each
from reasoning.tasks.choices import LETTERS, Letter
from reasoning.tasks.problems import Problem

_LETTER = f"[{LETTERS[0]}-{LETTERS[-1]}]"
_CLOSED = r"(?=\s*(?:$|[).,:;*\]}\n]))"  # what ends a letter: A is a word too
_ALONE = re.compile(rf"\W*({_LETTER}){_CLOSED}")
_STATED = re.compile(rf"(?i:answer)(?i: is)?\W*({_LETTER}){_CLOSED}")
_BOXED = re.compile(rf"\\boxed\{{(?:\\text\{{|\W)*({_LETTER})\W*\}}")
_BRACKETED = re.compile(rf"\(({_LETTER})\)")


def letter_given(completion: str, chat: ChatFormat) -> str | None:
    r"""The letter that the answer of a reply chooses, or None.

    It is the last one in a ``\boxed{}``, else the last behind ``answer is`` or ``answer:``, else one at the very
    beginning (``B``, ``(B)``, ``B. Lima``), else the last in brackets.
    """
    text = concluded(completion, chat)
    for found in (_BOXED.findall(text), _STATED.findall(text)):
        if found:
            return found[-1]
    if (first := _ALONE.match(text)) is not None:
        return first[1]
    found = _BRACKETED.findall(text)
    return found[-1] if found else None


@dataclass(frozen=True)
class _RightLetter:
    """1.0 for a reply that chooses the right letter (``letter_given``), else 0.0, also where it was cut off."""

    @property
    def __name__(self) -> str:
        return "letter"

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
        return score_each(
            lambda text, tags, right: letter_given(text, tags) == right, completions, truncated, chat, answer
        )

    def check(self, problems: Sequence[Problem]) -> None:
        """Raises InputError, naming the problem, where its answer is no letter (``rewards.reward.Selective``)."""
        for problem in problems:
            if problem.answer not in [*LETTERS]:
                raise InputError(
                    f"the reward letter can't judge the problem {problem.question!r:.60} ({problem.kind}): its answer "
                    f"{problem.answer!r:.40} is no letter from {LETTERS[0]} to {LETTERS[-1]}; read its file by a "
                    "tasks.choices.ChoiceColumns"
                )

    def read(self, completion: str, answer: str, chat: ChatFormat) -> str | None:
        """The letter, by which votes count (``rewards.reward.Reading``)."""
        return letter_given(completion, chat)


letter = _RightLetter()


@dataclass(frozen=True)
class Chose:
    """1.0 for a reply that chooses this letter, right or wrong, else 0.0: an exam's rate, which shows a bias.

    Letters are dealt out evenly, so without a bias all shares are alike.
    """

    letter: Letter

    @property
    def __name__(self) -> str:
        return f"chose_{self.letter}"

    def __call__(self, completions: Texts, chat: Format = None, **columns: object) -> list[float]:
        """One value a completion, also for one that was cut off."""
        return score_each(lambda text, tags: letter_given(text, tags) == self.letter, completions, None, chat)
