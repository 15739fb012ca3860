"""Cleaning takes documents out of sources before they are mixed, and says which, where and why."""

from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from reasoning.core.errors import InputError
from reasoning.data import cleaning
from reasoning.data.bad_rows import Readable
from reasoning.data.chat.format import ChatFormat
from reasoning.data.cleaning import (
    Cleaner,
    Reading,
    Removal,
    Removed,
    Sieve,
    find_kept,
    open_cleaned,
    without_removed,
)
from reasoning.data.documents import Document
from reasoning.data.sources import DocumentSource, Generated, Jsonl, TextFolder, mix

CHAT = ChatFormat(begin="", end="")


@dataclass(frozen=True)
class Containing:
    """Removes what holds a text."""

    text: str

    def sieve(self, scratch: Path) -> nullcontext[Sieve]:
        def look(reading: Reading) -> Removal | None:
            return Removal(f"with {self.text}", self.text, 0.5) if self.text in reading.text else None

        return nullcontext(look)


def written(seed: int, index: int, chat: ChatFormat) -> Document:
    return chat.plain(f"bad {index}")


@pytest.fixture
def sources(tmp_path: Path) -> tuple[DocumentSource, ...]:
    (tmp_path / "a.jsonl").write_text("".join(f'{{"text": "{word}"}}\n' for word in ("good", "bad", "fine", "worse")))
    (tmp_path / "b").mkdir()
    for name in ("bad", "new"):
        (tmp_path / "b" / f"{name}.txt").write_text(name)
    return Jsonl(str(tmp_path / "a.jsonl"), weight=2.0), Generated(written, 3), TextFolder(str(tmp_path / "b"))


def texts(source: DocumentSource) -> list[str]:
    return [document.text() for document in source.documents(CHAT, 0)]


def test_what_is_read_from_files_is_cleaned_and_what_a_program_writes_is_not(
    sources: tuple[DocumentSource, ...], tmp_path: Path
):
    opened, removed = open_cleaned(sources, CHAT, 0), Removed()
    cleaners: tuple[Cleaner, ...] = (Containing("bad"), Containing("worse"))
    kept = find_kept(opened, cleaners, tmp_path, removed, lambda done, of: None)
    left = without_removed(sources, opened, kept)
    assert [texts(source) for source in left] == [["good", "fine"], ["bad 0", "bad 1", "bad 2"], ["new"]]
    assert (
        isinstance(left[0], Readable)
        and left[0].weight == 2.0
        and left[0].reads() == (f"{tmp_path}/a.jsonl",)
        and left[1] is sources[1]
    )
    assert removed.told() == "left out 3 of 6 documents read from files: 2 with bad, 1 with worse"
    assert removed.examples[-1] == {
        "reason": "with bad",
        "document": f"document 0 of {tmp_path}/b/*.txt",
        "like": "bad",
        "similarity": 0.5,
        "text": "bad",
    }
    # Weights are of what is left: 2 × 2 documents, 3 and 1.
    assert len(mix(left, CHAT, 0)) == 8


def test_a_limit_leaves_the_rest_out_and_progress_is_told(
    sources: tuple[DocumentSource, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(cleaning, "_REPORT_EVERY", 2)
    told: list[tuple[int, int]] = []
    removed = Removed()
    kept = find_kept(open_cleaned(sources, CHAT, 0), (), tmp_path, removed, lambda *each: told.append(each), limit=1)
    assert kept.tolist() == [True, False, False, False, True, False]
    assert told == [(0, 6), (4, 6)] and removed.looked_at == 2 and removed.told() == ""


def test_of_each_reason_a_few_are_listed_and_all_are_counted(
    sources: tuple[DocumentSource, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(cleaning, "_EXAMPLES", 1)
    removed = Removed()
    find_kept(open_cleaned(sources, CHAT, 0), (Containing("bad"),), tmp_path, removed, lambda done, of: None)
    assert removed.counts == {"with bad": 2} and len(removed.examples) == 1


def test_a_source_of_which_nothing_is_left_and_other_files_than_were_cleaned_are_refused(
    sources: tuple[DocumentSource, ...],
):
    opened = open_cleaned(sources, CHAT, 0)
    with pytest.raises(InputError, match=r"nothing is left of the 2 documents of .*b/\*.txt"):
        without_removed(sources, opened, np.array([True] * 4 + [False] * 2))
    with pytest.raises(InputError, match="5 documents were looked at, and now there are 6"):
        without_removed(sources, opened, np.ones(5, bool))
