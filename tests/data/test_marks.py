"""Marks lie in files as they were given, whatever the size of a file, and sieves see them in the documents' order."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from reasoning.data import marks as marks_module
from reasoning.data.cleaning import Marker, Marks, Opened, Reading, Recall, Removal, Removed, Sieve
from reasoning.data.documents import Document, Documents, Piece
from reasoning.data.marks import MarkFiles, find_kept, written_marks
from reasoning.data.sources import TextFolder

TEXTS = ("", "abc", "b", "cab", "", "ba", "b")


@dataclass(frozen=True)
class Letters:
    """Marks a document by its letters and removes what an earlier one with these letters and ``also`` has."""

    also: str

    def marker(self) -> Marker:
        def mark(reading: Reading) -> Marks:
            return np.array([ord(letter) for letter in reading.text if letter >= self.also], np.uint64)

        return mark

    def sieve(self, recall: Recall) -> Sieve:
        seen: list[int] = []

        def look(number: int, marks: Marks) -> Removal | None:
            for earlier in seen:
                if sorted(recall(earlier)) == sorted(marks):
                    return Removal(f"letters from {self.also}", earlier, 1.0)
            seen.append(number)
            return None

        return look


CLEANERS = (Letters("a"), Letters("b"))


def files_of(folder: Path, block: int) -> MarkFiles:
    starts = range(0, len(TEXTS), block)
    files = [folder / f"{start}" for start in starts]
    for start, file in zip(starts, files, strict=True):
        some = [Document((Piece(text, True),)) for text in TEXTS[start : start + block]]
        file.write_bytes(b"".join(written_marks(some, [cleaner.marker() for cleaner in CLEANERS])))
    return MarkFiles(files, block, len(TEXTS), len(CLEANERS))


@pytest.mark.parametrize("block", [1, 3, 7, 50])
def test_marks_are_read_as_they_were_given_in_order_and_by_number(tmp_path: Path, block: int):
    marks = files_of(tmp_path, block)
    expected = [[text, text.replace("a", "")] for text in TEXTS]
    assert [["".join(map(chr, own.tolist())) for own in each] for each in marks] == expected
    for number in reversed(range(len(TEXTS))):
        own = ["".join(map(chr, marks.of(cleaner, number).tolist())) for cleaner in (0, 1)]
        assert own == expected[number]


def test_what_an_earlier_cleaner_removes_no_later_one_sees(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(marks_module, "_REPORT_EVERY", 3)
    documents = Documents(len(TEXTS), lambda number: Document((Piece(TEXTS[number], True),)))
    opened, removed, told = [Opened(TextFolder("texts"), "texts", documents)], Removed(), []
    kept = find_kept(opened, CLEANERS, files_of(tmp_path, 3), removed, told.append)
    # "cab" has the letters of "abc"; of "ba" only b counts to the second cleaner, which saw "b" before.
    assert kept.tolist() == [True, True, True, False, False, False, False]
    assert removed.counts == {"letters from a": 3, "letters from b": 1} and removed.looked_at == len(TEXTS)
    assert [(each["document"], each["like"]) for each in removed.examples] == [
        (f"document {number} of texts", f"document {like} of texts")
        for number, like in ((3, 1), (4, 0), (5, 2), (6, 2))
    ]
    assert told == [0, 3, 6]
