"""Keeps the questions of exams out of the documents that models learn from.

Shapes: N words of a document, M of its stretches.
"""

import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol, Self, runtime_checkable

import numpy as np
from jaxtyping import Bool, Int, UInt64

from reasoning.core.artifact import NOT_HASHED
from reasoning.core.ranges import Fraction, Size
from reasoning.core.text import shortened
from reasoning.core.words import OPERATORS, plain_words
from reasoning.data.cleaning import Reading, Removal, Sieve
from reasoning.data.documents import Document
from reasoning.data.ngrams import stretch_hash, stretch_hashes, word_hash, word_hashes
from reasoning.tasks.problems import ProblemSet

_COMMON = 3
"""A stretch of words that so many different questions have in common is their instruction, and tells of none."""

_SHOWN = 200

_ENDS_OF_LINES = re.compile(r"<[^<>\s]{1,40}>|[\n?!:;]|\.(?!\d)")


@runtime_checkable
class Shunning(Protocol):
    """Settings that keep exams' questions out of what is learnt from."""

    def shunning(self, exams: Mapping[str, ProblemSet]) -> Self:
        """The same settings with these exams, by their stages' names, where they don't name others."""
        ...

    def shuns(self, problems: ProblemSet) -> bool:
        """Whether these problems' questions are kept out."""
        ...


@dataclass(frozen=True)
class ExamQuestions:
    """An exam as its problems; ``name`` is by what it is reported."""

    problems: ProblemSet
    name: str = field(default="", metadata=NOT_HASHED)


@dataclass(frozen=True)
class Decontamination:
    """Removes documents that hold a question of an exam, however its case, punctuation and numbers are written.

    Texts are compared by their plain words (``core.words.plain_words``). A question is found where stretches of
    ``words`` words that a document has in common with it hold the ``share`` of it (as in Tülu 3, arXiv 2411.15124,
    which takes 8 words and half of them); what three questions and more have in common, an instruction, counts for
    none of them. A question of fewer than ``whole`` words (GPT-3's 13, arXiv 2005.14165, appendix C) must be there
    whole, and where it begins or ends in a number no operator may go on with it: ``3+4`` isn't asked in ``3+4-1``. One
    of fewer than ``line`` words must stand alone, in a line or between marks that end a sentence. Right answers as
    long as ``whole`` words are looked for as questions are.
    """

    words: Size = 8
    share: Fraction = 0.7
    whole: Size = 13
    line: Size = 5
    exams: tuple[ExamQuestions, ...] = ()  # empty: every exam of the experiment on a test split

    def shunning(self, exams: Mapping[str, ProblemSet]) -> Self:
        """With every exam of an experiment, exams on the same problems as one; unless these settings name some."""
        if self.exams:
            return self
        named: list[tuple[ProblemSet, list[str]]] = []
        for name, problems in exams.items():
            names = next((names for known, names in named if known == problems), None)
            if names is None:
                named.append((problems, [name]))
            else:
                names.append(name)
        return replace(self, exams=tuple(ExamQuestions(problems, ", ".join(names)) for problems, names in named))

    def shuns(self, problems: ProblemSet) -> bool:
        """Whether an exam on these problems is among the exams."""
        return any(exam.problems == problems for exam in self.exams)

    def sieve(self, scratch: Path) -> AbstractContextManager[Sieve]:
        """A sieve for these exams' questions. Raises InputError where an exam's problems can't be drawn."""
        del scratch  # all is in memory
        asked = _asked(self)

        def look(reading: Reading) -> Removal | None:
            found = asked.find(reading)
            if found is None:
                return None
            question = asked.questions[found[0]]
            return Removal(f"with questions of {question.exam}", shortened(question.text, _SHOWN), found[1])

        return nullcontext(look)


@dataclass(frozen=True)
class _Question:
    exam: str
    text: str
    hashes: UInt64[np.ndarray, " N"]


@dataclass
class _Asked:
    """All questions, by what they are found by.

    ``stretches``: of which question, and from which of its words on, a stretch of ``words`` words is; ``sorted`` their
    numbers in order; ``countable``: how many words of a question lie in such stretches. ``phrases``: questions that are
    found whole, by their length and number, which ``known`` has in order; ``lines``: those that must stand alone.
    """

    settings: Decontamination
    questions: list[_Question] = field(default_factory=list)
    stretches: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    countable: dict[int, int] = field(default_factory=dict)
    phrases: dict[int, dict[int, int]] = field(default_factory=lambda: defaultdict(dict))
    known: dict[int, UInt64[np.ndarray, " K"]] = field(default_factory=dict)
    lines: dict[int, int] = field(default_factory=dict)
    sorted: UInt64[np.ndarray, " K"] = field(default_factory=lambda: np.zeros(0, np.uint64))

    def find(self, reading: Reading) -> tuple[int, float] | None:
        """A question that a document holds, by number, and how much of it; None where it holds none."""
        hashes_N = reading.hashes
        return self._by_stretches(hashes_N) or self._whole(hashes_N) or self._alone(reading.document)

    def _by_stretches(self, hashes_N: UInt64[np.ndarray, " N"]) -> tuple[int, float] | None:
        length = self.settings.words
        numbers_M = stretch_hashes(hashes_N, length)
        places = np.flatnonzero(_among(numbers_M, self.sorted))
        covered: dict[int, set[int]] = defaultdict(set)
        for number in numbers_M[places].tolist():
            for question, start in self.stretches[number]:
                covered[question].update(range(start, start + length))
        shares = [(len(words) / self.countable[question], -question) for question, words in covered.items()]
        share, question = max(shares, default=(0.0, 0))
        return (-question, share) if shares and share >= self.settings.share else None

    def _whole(self, hashes_N: UInt64[np.ndarray, " N"]) -> tuple[int, float] | None:
        for length, questions in self.phrases.items():
            numbers_M = stretch_hashes(hashes_N, length)
            for place in np.flatnonzero(_among(numbers_M, self.known[length])).tolist():
                if not _goes_on(hashes_N, place, length):
                    return questions[int(numbers_M[place])], 1.0
        return None

    def _alone(self, document: Document) -> tuple[int, float] | None:
        if self.lines:
            for piece in document.pieces:
                for line in _ENDS_OF_LINES.split(piece.text):
                    words = plain_words(line) if line else []
                    if 0 < len(words) < self.settings.line and (number := stretch_hash(words)) in self.lines:
                        return self.lines[number], 1.0
        return None


def _asked(settings: Decontamination) -> _Asked:
    """All the exams' questions, ready to be found."""
    asked = _Asked(settings)
    owners: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for number, question in enumerate(_questions(settings)):
        asked.questions.append(question)
        if len(question.hashes) >= settings.whole:
            for start, stretch in enumerate(stretch_hashes(question.hashes, settings.words).tolist()):
                owners[stretch].append((number, start))
    # What is common is told when all are known.
    asked.stretches = {
        stretch: places for stretch, places in owners.items() if len({number for number, _ in places}) < _COMMON
    }
    asked.sorted = _in_order(asked.stretches)
    told: dict[int, set[int]] = defaultdict(set)
    for places in asked.stretches.values():
        for number, start in places:
            told[number].update(range(start, start + settings.words))
    asked.countable = {number: len(words) for number, words in told.items()}
    for number, question in enumerate(asked.questions):
        length = len(question.hashes)
        if number not in asked.countable:
            found = asked.lines if length < settings.line else asked.phrases[length]
            found.setdefault(int(stretch_hashes(question.hashes, length)[0]), number)
    asked.known = {length: _in_order(found) for length, found in asked.phrases.items()}
    return asked


def _in_order(numbers: Collection[int]) -> UInt64[np.ndarray, " K"]:
    return np.sort(np.fromiter(numbers, np.uint64, len(numbers)))


def _questions(settings: Decontamination) -> Iterator[_Question]:
    """Every question and every long answer of the exams, each once; a text without words is none."""
    seen: set[tuple[int, int]] = set()
    for exam in settings.exams:
        for problem in exam.problems.problems():
            for text, least in ((problem.question, 1), (problem.answer, settings.whole)):
                hashes = word_hashes(plain_words(text))
                if len(hashes) >= least:
                    place = len(hashes), int(stretch_hashes(hashes, len(hashes))[0])
                    if place not in seen:
                        seen.add(place)
                        yield _Question(exam.name, text, hashes)


def _among(numbers_M: UInt64[np.ndarray, " M"], known: UInt64[np.ndarray, " K"]) -> Bool[np.ndarray, " M"]:
    """Which of the numbers are known; ``known`` is sorted."""
    if not len(known):
        return np.zeros(len(numbers_M), bool)
    places: Int[np.ndarray, " M"] = np.searchsorted(known, numbers_M)
    return known[np.minimum(places, len(known) - 1)] == numbers_M


def _goes_on(hashes_N: UInt64[np.ndarray, " N"], place: int, length: int) -> bool:
    """Whether an operator stands right before or after a stretch, so that it is a part of a longer term."""
    around = [at for at in (place - 1, place + length) if 0 <= at < len(hashes_N)]
    return any(int(hashes_N[at]) in _OPERATORS for at in around)


_OPERATORS = frozenset(word_hash(operator) for operator in OPERATORS if operator not in "=<>")
"""What goes on with a term; what compares it tells its value."""
