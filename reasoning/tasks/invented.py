"""Facts about things that don't exist, drawn by a seed: a model can only read them, never know them.

``Bako.color:red`` is a passage, ``Bako.color?`` a question. Some passages call what they tell by another word than
questions do (``Bako.hue:red``), so a search by words misses some.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b

from reasoning.core.ranges import Fraction, Index
from reasoning.tasks.passages import Passage
from reasoning.tasks.problems import Problem, take_distinct
from reasoning.tasks.splits import Split, split_of

_SYLLABLES = tuple("ba do fe gi ko lu ma ne pi ru sa te vo wi ya zu".split())
NAMES = tuple(first.capitalize() + second for first in _SYLLABLES for second in _SYLLABLES)
VALUES = {
    ".color": tuple("red blue green white black pink gray gold".split()),
    ".home": tuple("cave tree lake hill barn ship nest fort".split()),
    ".food": tuple("rice nuts fish bread corn plums eggs figs".split()),
    ".tool": tuple("rope axe saw drum nail spoon wheel lamp".split()),
}
"""What questions ask for, and the answers that there are to each."""

SYNONYMS = {".color": ".hue", ".home": ".house", ".food": ".meal", ".tool": ".gear"}


@dataclass(frozen=True)
class Invented:
    """Four facts about each of ``NAMES``, as passages and as questions of one.

    The column ``passage`` of a question names the passage that tells its answer.
    """

    seed: Index = 0
    renamed: Fraction = 0.4  # the share of passages that use another word than questions do

    # Not a setting: the problems' kind.
    name = "invented"

    @property
    def symbols(self) -> tuple[str, ...]:
        """What the tokenizer has to hold as single tokens: every name, answer, and word with the sign behind it.

        So an answer stands as far behind a name in a passage as it does behind a question.
        """
        values = [value for each in VALUES.values() for value in each]
        told = [f"{word}:" for word in (*VALUES, *SYNONYMS.values())]
        return (*NAMES, *told, *(f"{asked}?" for asked in VALUES), *values)

    def passages(self) -> tuple[Passage, ...]:
        """One passage a fact (contract: ``tasks.passages.Corpus``)."""
        return tuple(
            Passage(tell(subject, self._word(subject, asked), value), subject + asked)
            for subject, asked, value in self._facts()
        )

    def problems(self, split: Split, count: int, seed: int) -> tuple[Problem, ...]:
        """``count`` questions of ``split`` (contract: ``tasks.problems.Task``)."""
        facts = [fact for fact in self._facts() if split_of(question_of(*fact[:2])) == split]
        random.Random(f"invented/{seed}").shuffle(facts)
        problems = (
            Problem(question_of(subject, asked), value, self.name, {"passage": subject + asked})
            for subject, asked, value in facts
        )
        return take_distinct(problems, split, count, repr(self))

    def _facts(self) -> Iterator[tuple[str, str, str]]:
        for subject in NAMES:
            for asked, values in VALUES.items():
                yield subject, asked, values[self._draw(subject + asked) % len(values)]

    def _word(self, subject: str, asked: str) -> str:
        renamed = self._draw(f"word/{subject}{asked}") < self.renamed * 2**64
        return SYNONYMS[asked] if renamed else asked

    def _draw(self, text: str) -> int:
        return int.from_bytes(blake2b(f"{self.seed}/{text}".encode(), digest_size=8).digest(), "big")


def tell(subject: str, word: str, value: str) -> str:
    """A passage, which tells one fact."""
    return f"{subject}{word}:{value}"


def question_of(subject: str, asked: str) -> str:
    """The question that a passage answers."""
    return f"{subject}{asked}?"
