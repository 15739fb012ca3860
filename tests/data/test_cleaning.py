"""Cleaning takes documents out of sources before they are mixed, and says which, where and why."""

from pathlib import Path

import numpy as np
import pytest

from reasoning.core.errors import InputError
from reasoning.data import cleaning
from reasoning.data.bad_rows import Readable
from reasoning.data.chat.format import ChatFormat
from reasoning.data.cleaning import Reading, Removal, Removed, joined, open_cleaned, without_removed
from reasoning.data.documents import Document
from reasoning.data.ngrams import stretch_hashes
from reasoning.data.sources import DocumentSource, Generated, Jsonl, TextFolder, mix

CHAT = ChatFormat(begin="", end="")


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
    opened = open_cleaned(sources, CHAT, 0)
    assert [document.text() for document in joined(opened)] == ["good", "bad", "fine", "worse", "bad", "new"]
    left = without_removed(sources, opened, np.array([True, False, True, False, False, True]))
    assert [texts(source) for source in left] == [["good", "fine"], ["bad 0", "bad 1", "bad 2"], ["new"]]
    assert (
        isinstance(left[0], Readable)
        and left[0].weight == 2.0
        and left[0].reads() == (f"{tmp_path}/a.jsonl",)
        and left[1] is sources[1]
    )
    # Weights are of what is left: 2 × 2 documents, 3 and 1.
    assert len(mix(left, CHAT, 0)) == 8


def test_of_each_reason_a_few_are_listed_with_their_places_and_all_are_counted(
    sources: tuple[DocumentSource, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(cleaning, "_EXAMPLES", 1)
    removed, opened = Removed(looked_at=6), open_cleaned(sources, CHAT, 0)
    assert removed.told() == ""
    for number, removal in (
        (3, Removal("bad", "a text", 0.5)),
        (4, Removal("copies", 1, 1)),
        (5, Removal("bad", 1, 1)),
    ):
        removed.add(number, removal, opened)
    assert removed.told() == "left out 3 of 6 documents read from files: 2 bad, 1 copies"
    folder = f"{tmp_path}/b/*.txt"
    assert removed.examples == [
        {
            "reason": "bad",
            "document": f"document 3 of {tmp_path}/a.jsonl",
            "like": "a text",
            "similarity": 0.5,
            "text": "worse",
        },
        {
            "reason": "copies",
            "document": f"document 0 of {folder}",
            "like": f"document 1 of {tmp_path}/a.jsonl",
            "similarity": 1,
            "text": "bad",
        },
    ]


def test_a_readings_stretches_are_those_of_its_plain_words():
    reading = Reading(CHAT.plain("One, two three: ONE two"))
    pairs = reading.stretches(2)
    assert pairs is reading.stretches(2) and pairs[0] == pairs[3] != pairs[1]
    assert np.array_equal(reading.stretches(3), stretch_hashes(reading.hashes, 3))


def test_a_source_of_which_nothing_is_left_and_other_files_than_were_cleaned_are_refused(
    sources: tuple[DocumentSource, ...],
):
    opened = open_cleaned(sources, CHAT, 0)
    with pytest.raises(InputError, match=r"nothing is left of the 2 documents of .*b/\*.txt"):
        without_removed(sources, opened, np.array([True] * 4 + [False] * 2))
    with pytest.raises(InputError, match="5 documents were looked at, and now there are 6"):
        without_removed(sources, opened, np.ones(5, bool))
