"""What is left out of files before they are learnt from: documents that were there already, questions of exams.

Cleaning comes before sources are mixed, so that a document which a weight repeats is no duplicate of itself. Only what
was read from files is looked at: a program that writes documents repeats itself as often as its author meant to.

It has two parts. What a cleaner marks of a document depends on that document alone, so any process may do it, in any
order, and put it down (``data.marks``). What is left out is then decided from the marks, in the documents' order.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, UInt64

from reasoning.core.contents import ReadsFiles
from reasoning.core.errors import InputError
from reasoning.core.text import shortened
from reasoning.core.words import plain_words
from reasoning.data.bad_rows import Readable
from reasoning.data.chat.format import ChatFormat
from reasoning.data.documents import Document, Documents
from reasoning.data.ngrams import stretch_hashes, word_hashes
from reasoning.data.sources import DocumentSource

_EXAMPLES = 100
"""Removed documents that are shown of each reason."""

_CHARACTERS = 300


@dataclass(frozen=True)
class Reading:
    """A document while cleaners mark it; what several of them need is made once."""

    document: Document
    _stretches: dict[int, UInt64[np.ndarray, " M"]] = field(default_factory=dict, init=False)

    @cached_property
    def text(self) -> str:
        """The whole text."""
        return self.document.text()

    @cached_property
    def hashes(self) -> UInt64[np.ndarray, " N"]:
        """The numbers of the text's plain words."""
        return word_hashes(plain_words(self.text))

    def stretches(self, length: int) -> UInt64[np.ndarray, " M"]:
        """The numbers of the text's stretches of so many plain words (``data.ngrams.stretch_hashes``)."""
        if length not in self._stretches:
            self._stretches[length] = stretch_hashes(self.hashes, length)
        return self._stretches[length]


@dataclass(frozen=True)
class Removal:
    """Why a document is left out: the ``reason`` by which removals are counted, and what it is ``like``.

    That is an earlier document's number, or a text. ``similarity`` is from 0 to 1, in the reason's own measure.
    """

    reason: str
    like: int | str
    similarity: float


Marks = UInt64[np.ndarray, " M"]
"""All that a cleaner wants to know of a document later on, as numbers of its own choice; often none."""

Marker = Callable[[Reading], Marks]
"""Gives the marks of a document, whatever other documents there are."""

Recall = Callable[[int], Marks]
"""The marks of a document by its number, as the same cleaner's marker gave them."""

Sieve = Callable[[int, Marks], Removal | None]
"""Gets each document's number and marks once, in order, unless an earlier sieve has removed it; None keeps it."""


@runtime_checkable
class Cleaner(Protocol):
    """Settings of one kind of cleaning."""

    def marker(self) -> Marker:
        """What marks documents; every process has its own."""
        ...

    def sieve(self, recall: Recall) -> Sieve:
        """A new sieve, which has seen nothing; it may ask for the marks of documents that it has seen."""
        ...


@dataclass(frozen=True)
class Opened:
    """A source whose documents are open, and what it is called where they are listed."""

    source: DocumentSource
    name: str
    documents: Documents


@dataclass
class Removed:
    """What was removed: how many documents by reason, and the first of each."""

    looked_at: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    examples: list[dict[str, Any]] = field(default_factory=list)

    def add(self, number: int, removal: Removal, opened: Sequence[Opened]) -> None:
        """Counts a removed document, and lists it while there are few of its kind."""
        self.counts[removal.reason] += 1
        if self.counts[removal.reason] <= _EXAMPLES:
            told = {
                "reason": removal.reason,
                "document": _place(opened, number),
                "like": removal.like if isinstance(removal.like, str) else _place(opened, removal.like),
                "similarity": round(removal.similarity, 4),
                "text": shortened(joined(opened)[number].text(), _CHARACTERS),
            }
            self.examples.append(told)

    def told(self) -> str:
        """The counts in words, empty where nothing was removed."""
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in self.counts.items())
        total = f"{self.counts.total():,} of {self.looked_at:,} documents read from files"
        return f"left out {total}: {reasons}" if reasons else ""


def open_cleaned(sources: Sequence[DocumentSource], chat: ChatFormat, seed: int) -> list[Opened]:
    """Those of the sources that cleaners look at, which are all that read files."""
    return [
        Opened(source, next(iter(source.reads()), type(source).__name__), source.documents(chat, seed))
        for source in sources
        if isinstance(source, ReadsFiles)
    ]


def joined(opened: Sequence[Opened]) -> Documents:
    """All documents of the sources, one source after the other."""
    starts = _starts(opened)

    def make(number: int) -> Document:
        position, index = _located(starts, number)
        return opened[position].documents[index]

    return Documents(starts[-1], make)


def without_removed(
    sources: Sequence[DocumentSource], opened: Sequence[Opened], kept: Bool[np.ndarray, " D"]
) -> tuple[DocumentSource, ...]:
    """All sources, of the ``opened`` ones only what is kept.

    Raises InputError for a source of which nothing is left, and where other documents were looked at.
    """
    count = sum(len(each.documents) for each in opened)
    if len(kept) != count:
        raise InputError(
            f"{len(kept):,} documents were looked at, and now there are {count:,}; leave files as they are during a "
            "run, and run the same command again"
        )
    parts: dict[int, DocumentSource] = {}
    start = 0
    for each in opened:
        numbers = np.flatnonzero(kept[start : start + len(each.documents)])
        start += len(each.documents)
        if not len(numbers):
            raise InputError(
                f"nothing is left of the {len(each.documents):,} documents of {each.name}: what earlier sources have "
                "too, or an exam asks, is left out; take the source out, or set the stage's 'cleaning'"
            )
        parts[id(each.source)] = Readable(each.source, numbers, each.documents)
    return tuple(parts.get(id(source), source) for source in sources)


def _place(opened: Sequence[Opened], number: int) -> str:
    position, index = _located(_starts(opened), number)
    return f"document {index} of {opened[position].name}"


def _located(starts: Sequence[int], number: int) -> tuple[int, int]:
    """Which source a document is of, and its number there."""
    position = bisect_right(starts, number) - 1
    return position, number - starts[position]


def _starts(opened: Sequence[Opened]) -> list[int]:
    return [0, *accumulate(len(each.documents) for each in opened)]
