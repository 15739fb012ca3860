"""Facts about things that don't exist, drawn by a seed: a model can only read them, never know them.

``Ba-ko.color:red`` is a passage, ``Ba-ko.color?`` a question. Some passages call what they tell by another word than
questions do (``Ba-ko.hue:red``), and names share syllables, so a search by words misses some.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b

from reasoning.core.errors import InputError
from reasoning.core.ranges import Few, Fraction, Index
from reasoning.tasks.passages import Passage
from reasoning.tasks.problems import Problem, take_distinct
from reasoning.tasks.splits import Split, split_of

FIRST = tuple("Ba Do Fe Gi Ko Lu Ma Ne Pi Ru Sa Te Vo Wi Ya Zu".split())
SECOND = tuple(f"-{syllable.lower()}" for syllable in FIRST)
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
    """Facts about the first ``names`` of 256 names, four each, as passages and as questions of one.

    The column ``passage`` of a question names the passage that tells its answer.
    """

    names: Few = 256
    seed: Index = 0
    renamed: Fraction = 0.25  # the share of passages that use another word than questions do

    # Not a setting: the problems' kind.
    name = "invented"

    def __post_init__(self) -> None:
        if self.names > len(FIRST) * len(SECOND):
            raise InputError(f"Invented has names={self.names}; there are only {len(FIRST) * len(SECOND)}")

    @property
    def symbols(self) -> tuple[str, ...]:
        """What the tokenizer has to hold as single tokens: every syllable, answer, and word with the sign behind it.

        So an answer stands as far behind a name in a passage as it does behind a question.
        """
        values = [value for each in VALUES.values() for value in each]
        told = [f"{word}:" for word in (*VALUES, *SYNONYMS.values())]
        return (*FIRST, *SECOND, *told, *(f"{asked}?" for asked in VALUES), *values)

    def subjects(self) -> tuple[str, ...]:
        """All names, in an order drawn by the seed."""
        every = [first + second for first in FIRST for second in SECOND]
        random.Random(f"names/{self.seed}").shuffle(every)
        return tuple(every[: self.names])

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
        for subject in self.subjects():
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
