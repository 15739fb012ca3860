"""What a stage leaves out of files is the same for every process and after a kill, and written down."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import tiny_stages
from tiny_stages import CORPUS, Surroundings, work

from reasoning.core.errors import InputError
from reasoning.core.files import read_jsonl
from reasoning.data.chat.format import ChatFormat
from reasoning.data.documents import Document, Documents
from reasoning.data.duplicates import Duplicates
from reasoning.data.sources import DocumentSource, Jsonl
from reasoning.stages.clean import COUNTS, REMOVED, clean, clean_beginning, mark_all
from reasoning.stages.pieces import Pieces

CHAT = ChatFormat()
CLEANERS = (Duplicates(),)


@pytest.fixture
def source(tmp_path: Path) -> Jsonl:
    lines = (json.dumps({"text": f"3+{number % 4}"}) + "\n" for number in range(10))
    (tmp_path / "a.jsonl").write_text("".join(lines))
    return Jsonl(str(tmp_path / "a.jsonl"))


def texts(sources: tuple[DocumentSource, ...]) -> list[str]:
    return [document.text() for source in sources for document in source.documents(CHAT, 0)]


def pieces_of(out: Path, index: int = 0, count: int = 1) -> Pieces:
    return Pieces(out / "pieces", index, count, lambda what: None)


def cleaned(source: Jsonl, out: Path, index: int = 0, count: int = 1, around: Surroundings | None = None):
    """As this one of so many processes would."""
    context = (around or Surroundings()).context()
    return clean((source,), CLEANERS, CHAT, 0, out, pieces_of(out, index, count), "corpus", context)


def test_cleaning_is_done_once_and_read_by_every_process(
    source: Jsonl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    around = Surroundings()
    first, counts = cleaned(source, tmp_path, around=around)
    assert counts == {"looked_at": 10, "removed": 6, "removed/exact duplicates": 6}
    [warning] = around.warnings
    assert warning.startswith("stage corpus left out 6 of 10 documents read from files: 6 exact duplicates; ")
    assert [row["document"] for row in read_jsonl(tmp_path / REMOVED)] == [
        f"document {number} of {source.path}" for number in range(4, 10)
    ]
    beginning = texts(clean_beginning((source,), CLEANERS, CHAT, 0))
    monkeypatch.setattr("reasoning.stages.clean.find_kept", None)
    again, recounted = cleaned(source, tmp_path, around=around)
    elsewhere, _ = cleaned(source, tmp_path, 1, 2)
    assert texts(first) == texts(again) == texts(elsewhere) == beginning
    assert recounted == counts and len(around.warnings) == 1


def test_any_number_of_processes_and_a_run_that_died_anywhere_leave_out_the_same(
    source: Jsonl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("reasoning.stages.clean._MARKED", 3)
    read: list[int] = []
    whole = Jsonl.documents

    def counted(self: Jsonl, chat: ChatFormat, seed: int) -> Documents:
        documents = whole(self, chat, seed)

        def make(index: int) -> Document:
            if len(read) == dying:
                raise KeyboardInterrupt
            read.append(index)
            return documents[index]

        return Documents(len(documents), make)

    def written(out: Path) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()}

    monkeypatch.setattr(Jsonl, "documents", counted)
    dying = -1
    for name in ("alone", "shared", *(f"died at {place}" for place in range(11))):
        (tmp_path / name).mkdir()
    cleaned(source, tmp_path / "alone")
    with pytest.raises(InputError, match="removed.json does not exist"):  # it would wait for process 0 here
        cleaned(source, tmp_path / "shared", 1, 2)
    cleaned(source, tmp_path / "shared", 0, 2)
    expected = written(tmp_path / "alone")
    assert set(expected) == {REMOVED, COUNTS, "kept.npy"} and written(tmp_path / "shared") == expected
    for place in range(11):
        out, dying = tmp_path / f"died at {place}", place
        read.clear()
        with pytest.raises(KeyboardInterrupt):
            cleaned(source, out)
        dying = -1
        read.clear()
        cleaned(source, out)
        assert written(out) == expected and not list((out / "pieces").iterdir())
        # Then the first of the removed are read once more, to be shown.
        assert read == [*range(place // 3 * 3 if place < 10 else 10, 10), *range(4, 10)]


def test_marks_that_have_changed_are_made_again(source: Jsonl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("reasoning.stages.clean._MARKED", 3)
    documents = source.documents(CHAT, 0)

    def made() -> list[bytes]:
        marks = mark_all(documents, CLEANERS, replace(pieces_of(tmp_path), folder=tmp_path), lambda done, of: None)
        return [file.read_bytes() for file in marks.files]

    expected = made()
    for name in ("marks-3.bin", "marks-3.json"):
        bits = bytearray((tmp_path / name).read_bytes())
        bits[len(bits) // 2] ^= 1
        (tmp_path / name).write_bytes(bits)
        assert made() == expected


@pytest.mark.parametrize("name", [COUNTS, REMOVED, "kept.npy"])
def test_what_changed_of_a_decision_is_told_and_made_again(source: Jsonl, tmp_path: Path, name: str):
    cleaned(source, tmp_path)
    expected = (tmp_path / name).read_bytes()
    content = bytearray(expected)
    content[-4] ^= 1
    (tmp_path / name).write_bytes(content)
    around = Surroundings()
    cleaned(source, tmp_path, around=around)
    assert (tmp_path / name).read_bytes() == expected
    assert any("damaged" in told and name in told for told in around.warnings)


def test_a_stage_says_what_it_left_out_and_peeks_at_the_same_rows(source: Jsonl, tmp_path: Path):
    stage = replace(CORPUS, sources=(*CORPUS.sources, source))
    made = work(stage, tmp_path)
    assert made.results["removed"] == made.results["removed/exact duplicates"] == 6 and made.results["documents"] == 304
    assert (made.path / REMOVED).exists()
    tokenizer, rows = stage.peek(1000)
    assert len(rows) == made.results["rows"]
    everything = work(replace(stage, name="all", cleaning=()), tmp_path)
    assert everything.results["documents"] == 310 and "removed" not in everything.results


def test_where_no_file_is_read_nothing_is_cleaned(tmp_path: Path):
    arguments = CORPUS.sources, CORPUS.cleaning, CHAT, 0, tmp_path, pieces_of(tmp_path), "corpus"
    sources, counts = clean(*arguments, Surroundings().context())
    assert sources == CORPUS.sources and counts == {} and not list(tmp_path.iterdir())
    assert "removed" not in work(tiny_stages.CORPUS, tmp_path).results
