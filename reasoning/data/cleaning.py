"""What is left out of files before they are learnt from: documents that were there already, questions of exams.

Cleaning comes before sources are mixed, so that a document which a weight repeats is no duplicate of itself. Only what
was read from files is looked at: a program that writes documents repeats itself as often as its author meant to.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate
from pathlib import Path
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
from reasoning.data.ngrams import word_hashes
from reasoning.data.sources import DocumentSource

_EXAMPLES = 100
"""Removed documents that are shown of each reason."""

_CHARACTERS = 300

_REPORT_EVERY = 2000


@dataclass(frozen=True)
class Reading:
    """A document while cleaners look at it, in the order of their files; what several of them need is made once."""

    document: Document
    number: int

    @cached_property
    def text(self) -> str:
        """The whole text."""
        return self.document.text()

    @cached_property
    def hashes(self) -> UInt64[np.ndarray, " N"]:
        """The numbers of the text's plain words."""
        return word_hashes(plain_words(self.text))


@dataclass(frozen=True)
class Removal:
    """Why a document is left out: the ``reason`` by which removals are counted, and what it is ``like``.

    That is an earlier document's number, or a text. ``similarity`` is from 0 to 1, in the reason's own measure.
    """

    reason: str
    like: int | str
    similarity: float


Sieve = Callable[[Reading], Removal | None]
"""Sees each document once, in order, unless an earlier sieve has removed it; None keeps it."""


@runtime_checkable
class Cleaner(Protocol):
    """Settings of one kind of cleaning."""

    def sieve(self, scratch: Path) -> AbstractContextManager[Sieve]:
        """A new sieve, which has seen nothing; it may keep files without a name in the folder ``scratch``."""
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

    def add(self, reading: Reading, removal: Removal, place: Callable[[int], str]) -> None:
        """Counts a removed document, and lists it while there are few of its kind; ``place`` tells where one stands."""
        self.counts[removal.reason] += 1
        if self.counts[removal.reason] <= _EXAMPLES:
            told = {
                "reason": removal.reason,
                "document": place(reading.number),
                "like": removal.like if isinstance(removal.like, str) else place(removal.like),
                "similarity": round(removal.similarity, 4),
                "text": shortened(reading.text, _CHARACTERS),
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


def find_kept(
    sources: Sequence[Opened],
    cleaners: Sequence[Cleaner],
    scratch: Path,
    removed: Removed,
    report: Callable[[int, int], None],
    limit: int | None = None,
) -> Bool[np.ndarray, " D"]:
    """Which of all documents of the sources, one source after the other, are kept; the first of equals always is.

    Counts into ``removed``. Of each source only the first ``limit`` are looked at, the rest counts as removed.
    ``report(done, of)`` is called now and then.
    """
    starts = [0, *accumulate(len(each.documents) for each in sources)]
    kept = np.zeros(starts[-1], bool)

    def place(number: int) -> str:
        position = bisect_right(starts, number) - 1
        return f"document {number - starts[position]} of {sources[position].name}"

    with ExitStack() as open_ones:
        sieves = [open_ones.enter_context(cleaner.sieve(scratch)) for cleaner in cleaners]
        for number, document in _numbered(sources, limit):
            if number % _REPORT_EVERY == 0:
                report(number, starts[-1])
            reading = Reading(document, number)
            removal = next((found for sieve in sieves if (found := sieve(reading))), None)
            kept[number] = removal is None
            removed.looked_at += 1
            if removal:
                removed.add(reading, removal, place)
    return kept


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


def _numbered(sources: Sequence[Opened], limit: int | None) -> Iterator[tuple[int, Document]]:
    start = 0
    for each in sources:
        count = len(each.documents)
        for index in range(count if limit is None else min(count, limit)):
            yield start + index, each.documents[index]
        start += count
