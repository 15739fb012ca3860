"""Rewards for the form of a reply, whatever its answer."""

from reasoning.rewards.reward import Flags, Format, Texts
from reasoning.rewards.text import parse_reply, score_each


def tagged(
    prompts: Texts, completions: Texts, truncated: Flags = None, chat: Format = None, **columns: object
) -> list[float]:
    """1.0 for a reply that is one block of thinking and one answer (``rewards.text.parse_reply``), else 0.0.

    R1-Zero's format reward (DeepSeek-R1, arXiv 2501.12948, section 2.2.2). A completion cut off by the length limit
    never has the form. ``chat`` gives the tags, by default R1's.
    """
    return score_each(lambda text, tags: parse_reply(text, tags) is not None, completions, truncated, chat)
