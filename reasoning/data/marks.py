"""What cleaners mark of documents, in files: written by any process in any order, read in the documents' order.

A file holds the marks of consecutive documents, one document's after the other's and of each one cleaner's after the
other's, as 64-bit numbers, and behind them where each of these ends (N documents of C cleaners: N * C numbers).
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from reasoning.data.cleaning import Cleaner, Marker, Marks, Opened, Reading, Removed
from reasoning.data.documents import Document

_REPORT_EVERY = 2000

_NUMBER = 8
"""Bytes."""


def written_marks(documents: Iterable[Document], markers: Sequence[Marker]) -> Iterator[bytes]:
    """The content of a file of marks; one document is held at a time."""
    ends, end = [], 0
    for document in documents:
        reading = Reading(document)
        for marker in markers:
            marks = np.asarray(marker(reading), np.uint64)
            end += len(marks)
            ends.append(end)
            yield marks.tobytes()
    yield np.array(ends, np.int64).tobytes()


@dataclass(frozen=True)
class MarkFiles:
    """The marks of ``total`` documents by ``cleaners`` cleaners, ``block`` documents a file, the last file's fewer."""

    files: Sequence[Path]
    block: int
    total: int
    cleaners: int

    def of(self, cleaner: int, number: int) -> Marks:
        """What one cleaner marked of one document."""
        file, place = self.files[number // self.block], number % self.block * self.cleaners + cleaner
        ends = file.stat().st_size - _NUMBER * self.cleaners * self._documents(number // self.block)
        # The first has nothing before it.
        before = 1 if place else 0
        around = np.fromfile(file, np.int64, 1 + before, offset=ends + _NUMBER * (place - before))
        start = int(around[0]) if before else 0
        return np.fromfile(file, np.uint64, int(around[-1]) - start, offset=_NUMBER * start)

    def __iter__(self) -> Iterator[list[Marks]]:
        """Of each document what each cleaner marked of it."""
        for number, file in enumerate(self.files):
            count = self.cleaners * self._documents(number)
            ends = np.fromfile(file, np.int64, count, offset=file.stat().st_size - _NUMBER * count)
            with open(file, "rb") as opened:
                before = 0
                for own in ends.reshape(-1, self.cleaners).tolist():
                    marks = np.frombuffer(opened.read(_NUMBER * (own[-1] - before)), np.uint64)
                    yield [
                        marks[start - before : end - before] for start, end in zip([before, *own], own, strict=False)
                    ]
                    before = own[-1]

    def _documents(self, file: int) -> int:
        return min(self.block, self.total - file * self.block)


def find_kept(
    opened: Sequence[Opened],
    cleaners: Sequence[Cleaner],
    marks: MarkFiles,
    removed: Removed,
    report: Callable[[int], None],
) -> Bool[np.ndarray, " D"]:
    """Which of all documents of the sources, one source after the other, are kept; the first of equals always is.

    Counts into ``removed``. ``report(done)`` is called now and then.
    """
    sieves = [cleaner.sieve(partial(marks.of, place)) for place, cleaner in enumerate(cleaners)]
    kept = np.zeros(marks.total, bool)
    for number, each in enumerate(marks):
        if number % _REPORT_EVERY == 0:
            report(number)
        found = (sieve(number, own) for sieve, own in zip(sieves, each, strict=True))
        removal = next((removal for removal in found if removal), None)
        kept[number] = removal is None
        removed.looked_at += 1
        if removal:
            removed.add(number, removal, opened)
    return kept
