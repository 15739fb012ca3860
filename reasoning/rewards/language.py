"""Rewards for thinking in one language, which pure reinforcement learning lets drift."""

import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from reasoning.core.errors import InputError
from reasoning.data.chat.format import ChatFormat
from reasoning.rewards.reward import Flags, Format, Texts
from reasoning.rewards.text import parse_reply, score_each


@dataclass(frozen=True)
class LanguageConsistency:
    """The share of the thinking that is in the language asked for, as a reward function in TRL's batched form.

    ``native`` and ``foreign`` are the characters by which the two languages are told apart; all others count for
    neither. DeepSeek-R1 (arXiv 2501.12948, section 2.3.2) rewards the share of words in the target language; here it
    is the share of characters. Raises InputError where a character stands for both.
    """

    __name__: ClassVar[str] = "language"  # what metrics call it
    native: str
    foreign: str

    def __post_init__(self) -> None:
        both = sorted(set(self.native) & set(self.foreign))
        if both or not self.native or not self.foreign:
            raise InputError(
                f"a language reward needs two sets of characters without a common one; both hold {''.join(both)!r}"
            )

    def __call__(
        self, prompts: Texts, completions: Texts, truncated: Flags = None, chat: Format = None, **columns: object
    ) -> list[float]:
        """Native over native plus foreign characters of the thinking; 0.0 for a reply without the tagged form.

        Thinking without a character of either is in no language, and gets 0.0: there is nothing in the one asked for.
        """
        return _of_thinking(self._share, completions, truncated, chat)

    def _share(self, thinking: str) -> float:
        native = sum(character in self.native for character in thinking)
        foreign = sum(character in self.foreign for character in thinking)
        return native / (native + foreign) if native else 0.0


@dataclass(frozen=True)
class InScript:
    """The share of the thinking's letters that are of one script, as a reward function in TRL's batched form.

    For models that were trained on many languages, where R1's zero mixed them. ``script`` is how Unicode names letters
    of it: LATIN, CYRILLIC, HANGUL, CJK UNIFIED IDEOGRAPH.
    """

    __name__: ClassVar[str] = "language"  # what metrics call it
    script: str = "LATIN"

    def __post_init__(self) -> None:
        if not self.script or self.script != self.script.upper():
            raise InputError(f"script is {self.script!r}; give the beginning of Unicode's names, such as 'LATIN'")

    def __call__(
        self, prompts: Texts, completions: Texts, truncated: Flags = None, chat: Format = None, **columns: object
    ) -> list[float]:
        """The share a completion; 0.0 for thinking without letters, and for a reply without the tagged form."""
        return _of_thinking(self._share, completions, truncated, chat)

    def _share(self, thinking: str) -> float:
        letters = [character for character in thinking if character.isalpha()]
        own = sum(unicodedata.name(letter, "").startswith(self.script) for letter in letters)
        return own / len(letters) if letters else 0.0


def _of_thinking(share: Callable[[str], float], completions: Texts, truncated: Flags, chat: Format) -> list[float]:
    """``share`` of each completion's thinking; 0.0 for one that was cut off or hasn't the tagged form."""

    def of(completion: str, tags: ChatFormat) -> float:
        reply = parse_reply(completion, tags)
        return 0.0 if reply is None else share(reply.thinking)

    return score_each(of, completions, truncated, chat)
