"""Rewards for a right answer; in the batched form of TRL, so functions written for either work in the other."""

import re

from reasoning.data.chat.format import ChatFormat
from reasoning.rewards.reward import Flags, Format, Texts
from reasoning.rewards.text import last_line, matches_answer, parse_reply, score_each, tagged_answer
from reasoning.tasks.answers import answer_value, composed


def strict(
    prompts: Texts, completions: Texts, answer: Texts, truncated: Flags = None, chat: Format = None, **columns: object
) -> list[float]:
    """1.0 for a reply in the tagged form (``rewards.text.parse_reply``) whose answer is exactly ``answer``, else 0.0.

    This is R1-Zero's accuracy reward where the form is part of being right (DeepSeek-R1, arXiv 2501.12948, section
    2.2.2). Equal means the same characters (composed, NFC), white space around them aside: ``6.0`` isn't ``6``, nor is
    another script's six. Votes count ``6.0`` and ``6`` as one answer all the same, as ``lenient`` does and a reader
    would; the sample that a vote elects is then scored in its own form. A completion cut off by the length limit is
    never right. ``chat`` gives the tags, by default R1's.
    """

    def right(completion: str, tags: ChatFormat, expected: str) -> bool:
        reply = parse_reply(completion, tags)
        return reply is not None and composed(reply.answer) == composed(expected)

    return score_each(right, completions, truncated, chat, answer)


def lenient(
    prompts: Texts, completions: Texts, answer: Texts, truncated: Flags = None, chat: Format = None, **columns: object
) -> list[float]:
    """1.0 for a reply that ends on ``answer`` (``rewards.text.matches_answer``), whatever its form, else 0.0.

    The measure of what a base model knows before it knows the form. Numbers are compared by value: ``It is 2,000.`` is
    right where ``2000`` is, and ``6.0`` where ``6`` is. A completion cut off by the length limit has not come to an end
    and scores 0.0.
    """
    return score_each(
        lambda text, tags, expected: matches_answer(text, expected, tags), completions, truncated, chat, answer
    )


def mentioned(
    prompts: Texts, completions: Texts, answer: Texts, truncated: Flags = None, chat: Format = None, **columns: object
) -> list[float]:
    """1.0 for a reply whose last line holds ``answer``, as words of their own, else 0.0.

    For names, which a model in conversation puts into a sentence: ``It is Paris.`` is right where ``Paris`` is, and
    ``Parisian`` isn't; capitals count. A line that guesses many names may hold the right one, so it is for exams, not
    for learning. A completion cut off by the length limit is never right.
    """

    def right(completion: str, tags: ChatFormat, expected: str) -> bool:
        words = rf"(?<!\w){re.escape(composed(expected))}(?!\w)"
        return re.search(words, composed(last_line(completion, tags))) is not None

    return score_each(right, completions, truncated, chat, answer)


def answered(
    prompts: Texts, completions: Texts, answer: Texts, truncated: Flags = None, chat: Format = None, **columns: object
) -> list[float]:
    """1.0 for a reply whose one answer block, at its end, equals ``answer``, thinking before it or not.

    For questions that need no thinking. Numbers are compared by value, texts character by character. A completion cut
    off by the length limit is never right.
    """

    def right(completion: str, tags: ChatFormat, expected: str) -> bool:
        given = tagged_answer(completion, tags)
        return given is not None and answer_value(given) == answer_value(expected)

    return score_each(right, completions, truncated, chat, answer)
