"""Votes as rewards: what most replies of a group say stands in for a right answer that nobody knows.

TTRL (arXiv 2504.16084), equation 2. Replies of one prompt that stand together are a group.
"""

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

from reasoning.data.chat.format import ChatFormat
from reasoning.generation.voting import majority, tally
from reasoning.rewards.text import read_answer
from reasoning.tasks.answers import answer_value

_Answers = list[str | None]


def agreement(
    prompts: Sequence[str],
    completions: Sequence[str],
    answer: Sequence[str],
    chat: ChatFormat,
    truncated: Sequence[bool],
    **columns: Any,
) -> list[float]:
    """1 for a reply with the answer that most of its group give, of equals the one given first; 0 for all others.

    Of the right answer nothing but its kind is read (``rewards.text.read_answer``): whether it is a number.
    """

    def agrees(answers: _Answers) -> list[float]:
        elected = majority(answers)
        return [
            float(each is not None and elected is not None and answer_value(each) == answer_value(elected))
            for each in answers
        ]

    return _by_group(agrees, prompts, completions, answer, chat, truncated)


def vote_share(
    prompts: Sequence[str],
    completions: Sequence[str],
    answer: Sequence[str],
    chat: ChatFormat,
    truncated: Sequence[bool],
    **columns: Any,
) -> list[float]:
    """The share of a group's replies that give a reply's answer, itself counted; 0 for one without an answer."""

    def shares(answers: _Answers) -> list[float]:
        votes = {answer_value(each): count for each, count in tally(answers).items()}
        return [0.0 if each is None else votes[answer_value(each)] / len(answers) for each in answers]

    return _by_group(shares, prompts, completions, answer, chat, truncated)


def _by_group(
    values: Callable[[_Answers], list[float]],
    prompts: Sequence[str],
    completions: Sequence[str],
    answer: Sequence[str],
    chat: ChatFormat,
    truncated: Sequence[bool],
) -> list[float]:
    """What ``values`` makes of each group's answers; a reply that was cut off gives none."""
    rows = zip(prompts, completions, answer, truncated, strict=True)
    found: list[float] = []
    for _, group in groupby(rows, key=lambda row: row[0]):
        found += values([None if cut else read_answer(text, right, chat) for _, text, right, cut in group])
    return found
