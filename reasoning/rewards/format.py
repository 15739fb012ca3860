"""Rewards for the form of a reply, whatever its answer."""

from reasoning.data.chat.format import ChatFormat
from reasoning.rewards.reward import Flags, Format, Texts
from reasoning.rewards.text import cut_off, parse_reply


def tagged(
    prompts: Texts, completions: Texts, truncated: Flags = None, chat: Format = None, **columns: object
) -> list[float]:
    """1.0 for a reply that is one block of thinking and one answer (``rewards.text.parse_reply``), else 0.0.

    R1-Zero's format reward (DeepSeek-R1, arXiv 2501.12948, section 2.2.2). A completion cut off by the length limit
    never has the form. ``chat`` gives the tags, by default R1's.
    """
    tags = chat or ChatFormat()
    return [
        float(not cut and parse_reply(completion, tags) is not None)
        for completion, cut in zip(completions, cut_off(completions, truncated), strict=True)
    ]
