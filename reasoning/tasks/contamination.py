"""Keeps the questions of exams out of the documents that models learn from.

Shapes: N words of a document, M of its stretches.
"""

import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Protocol, Self, runtime_checkable

import numpy as np
from jaxtyping import Bool, Int, UInt64

from reasoning.core.artifact import NOT_HASHED
from reasoning.core.ranges import Fraction, Size
from reasoning.core.text import shortened
from reasoning.core.words import OPERATORS, plain_words
from reasoning.data.cleaning import Marker, Marks, Reading, Recall, Removal, Sieve
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

    def marker(self) -> Marker:
        """Marks a document by the question that it holds and how much of it, the bits of a float; else by nothing.

        Raises InputError where an exam's problems can't be drawn.
        """
        asked = _asked(self)

        def mark(reading: Reading) -> Marks:
            found = asked.find(reading)
            return np.zeros(0, np.uint64) if found is None else np.array([found[0], _bits(found[1])], np.uint64)

        return mark

    def sieve(self, recall: Recall) -> Sieve:
        """A sieve that removes what is marked."""
        del recall  # No document is compared with another.
        questions = cache(lambda: tuple(_questions(self)))

        def look(number: int, marks: Marks) -> Removal | None:
            if not len(marks):
                return None
            question = questions()[int(marks[0])]
            share = float(marks[1:].view(np.float64)[0])
            return Removal(f"with questions of {question.exam}", shortened(question.text, _SHOWN), share)

        return look


@dataclass(frozen=True)
class _Question:
    exam: str
    text: str
    hashes: UInt64[np.ndarray, " N"]


@dataclass(frozen=True)
class _Stretches:
    """Where stretches of words that tell of a question stand in it: ``keys`` in order, for each its question and word.

    ``countable`` is how many words of each question lie in such stretches.
    """

    keys: UInt64[np.ndarray, " E"]
    questions: Int[np.ndarray, " E"]
    starts: Int[np.ndarray, " E"]
    countable: Int[np.ndarray, " Q"]


@dataclass(frozen=True)
class _Asked:
    """All questions, by what they are found by.

    ``phrases``: those that are found whole, by the number of their first words; ``leads``: these numbers, in order;
    ``lines``: those that must stand alone, by their number.
    """

    settings: Decontamination
    questions: tuple[_Question, ...]
    stretches: _Stretches
    phrases: Mapping[int, Sequence[int]]
    leads: UInt64[np.ndarray, " K"]
    lines: Mapping[int, int]

    def find(self, reading: Reading) -> tuple[int, float] | None:
        """A question that a document holds, by number, and how much of it; None where it holds none."""
        return self._by_stretches(reading) or self._whole(reading) or self._alone(reading.document)

    def _by_stretches(self, reading: Reading) -> tuple[int, float] | None:
        length, found = self.settings.words, self.stretches
        numbers_M = reading.stretches(length)
        numbers_M = numbers_M[_among(numbers_M, found.keys)]
        covered: dict[int, set[int]] = defaultdict(set)
        lefts, rights = (np.searchsorted(found.keys, numbers_M, side).tolist() for side in ("left", "right"))
        for place in (place for left, right in zip(lefts, rights, strict=True) for place in range(left, right)):
            start = int(found.starts[place])
            covered[int(found.questions[place])].update(range(start, start + length))
        shares = {question: len(words) / int(found.countable[question]) for question, words in covered.items()}
        best = max(shares, key=lambda question: (shares[question], -question), default=None)
        return None if best is None or shares[best] < self.settings.share else (best, shares[best])

    def _whole(self, reading: Reading) -> tuple[int, float] | None:
        hashes_N, numbers_M = reading.hashes, reading.stretches(self.settings.line)
        for place in np.flatnonzero(_among(numbers_M, self.leads)).tolist():
            for number in self.phrases[int(numbers_M[place])]:
                phrase = self.questions[number].hashes
                here = hashes_N[place : place + len(phrase)]
                if np.array_equal(here, phrase) and not _goes_on(hashes_N, place, len(phrase)):
                    return number, 1.0
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
    questions = tuple(_questions(settings))
    stretches = _stretches(questions, settings)
    phrases: dict[int, list[int]] = defaultdict(list)
    lines: dict[int, int] = {}
    for number, question in enumerate(questions):
        if stretches.countable[number]:
            continue
        length = len(question.hashes)
        if length < settings.line:
            lines[int(stretch_hashes(question.hashes, length)[0])] = number
        else:
            phrases[int(stretch_hashes(question.hashes[: settings.line], settings.line)[0])].append(number)
    return _Asked(settings, questions, stretches, phrases, _in_order(phrases), lines)


def _stretches(questions: Sequence[_Question], settings: Decontamination) -> _Stretches:
    """The stretches of all long questions, but for those that several have in common."""
    length = settings.words
    parts = [
        stretch_hashes(question.hashes, length) if len(question.hashes) >= settings.whole else np.zeros(0, np.uint64)
        for question in questions
    ]
    keys = np.concatenate([np.zeros(0, np.uint64), *parts])
    counts = [len(part) for part in parts]
    owners = np.repeat(np.arange(len(parts)), counts)
    starts = np.concatenate([np.zeros(0, np.int64), *map(np.arange, counts)])
    order = np.lexsort((owners, keys))
    keys, owners, starts = keys[order], owners[order], starts[order]
    # A stretch that one question has twice is still of one question.
    new_key, new_owner = np.diff(keys, prepend=~keys[:1]) != 0, np.diff(owners, prepend=-1) != 0
    key = np.cumsum(new_key) - 1
    telling = np.bincount(key, weights=new_key | new_owner)[key] < _COMMON
    keys, owners, starts = keys[telling], owners[telling], starts[telling]
    # Of each question, in order: a stretch adds the words up to the next one's beginning, at most its own.
    order = np.lexsort((starts, owners))
    gaps = np.diff(starts[order], append=0)
    last = np.diff(owners[order], append=-1) != 0
    added = np.where(last, length, np.minimum(gaps, length))
    countable = np.bincount(owners[order], weights=added, minlength=len(parts)).astype(np.int64)
    return _Stretches(keys, owners, starts, countable)


def _bits(share: float) -> int:
    return int(np.array([share]).view(np.uint64)[0])


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
