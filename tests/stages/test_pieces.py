"""Packing in pieces: the same bytes for any number of processes and after any interruption."""

import os
import shutil
import time
from pathlib import Path

import forked
import numpy as np
import pytest
from tiny_stages import CORPUS

from reasoning.core.errors import InputError
from reasoning.core.progress import Progress
from reasoning.data.chat.format import ChatFormat
from reasoning.data.documents import Document, Documents, Piece
from reasoning.data.packing import PackingCounts, first_fit, pack
from reasoning.data.records import read_records, take_rows
from reasoning.stages import pieces as pieces_module
from reasoning.stages.pieces import Meter, Pieces, count_tokens, pack_blocks

LENGTH, BLOCK = 16, 20


@pytest.fixture(scope="module")
def tokenizer():
    return CORPUS.tokenizer_at_hand()


@pytest.fixture(scope="module")
def documents():
    found = CORPUS.sources[0].documents(ChatFormat(), 0)
    return Documents(70, found.make)


def meter():
    return Meter(lambda progress: None, "corpus", 1)


def pack_all(folder: Path, documents, tokenizer, count: int) -> PackingCounts:
    """As so many processes would, the first of them last, since it waits for the others."""
    (folder / "pieces").mkdir(parents=True, exist_ok=True)
    for index in reversed(range(count)):
        own = Pieces(folder / "pieces", index, count, lambda what: None)
        if index:
            with pytest.raises(InputError):  # it would wait for the others' blocks here
                pack_blocks(folder / "rows", documents, tokenizer, LENGTH, first_fit, BLOCK, own, meter())
        else:
            return pack_blocks(folder / "rows", documents, tokenizer, LENGTH, first_fit, BLOCK, own, meter())
    raise AssertionError


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def alone(tmp_path_factory, documents, tokenizer):
    folder = tmp_path_factory.mktemp("alone")
    return folder, pack_all(folder, documents, tokenizer, 1)


def test_rows_of_blocks_are_those_of_packing_each_by_itself(alone, documents, tokenizer):
    folder, tally = alone
    expected, counts = [], PackingCounts()
    for start in range(0, 70, BLOCK):
        some = [documents[index] for index in range(start, min(start + BLOCK, 70))]
        expected += pack(some, tokenizer, LENGTH, first_fit, counts)
    records = read_records(folder / "rows")
    found = take_rows(records, range(len(records)))
    assert len(found) == len(expected) and tally == counts
    for row, other in zip(found, expected, strict=True):
        assert all(np.array_equal(row[name], other[name]) for name in other)


@pytest.mark.parametrize("count", [2, 3])
def test_any_number_of_processes_writes_the_same_bytes(tmp_path: Path, alone, documents, tokenizer, count):
    assert pack_all(tmp_path, documents, tokenizer, count) == alone[1]
    assert content(tmp_path / "rows") == content(alone[0] / "rows")


@pytest.mark.parametrize("after", [0, 1, 25, 45, 69])
def test_a_run_that_died_at_any_document_goes_on_to_the_same_bytes(tmp_path: Path, alone, documents, tokenizer, after):
    read: list[int] = []

    def dying(index: int) -> Document:
        if len(read) == after:
            raise KeyboardInterrupt
        read.append(index)
        return documents[index]

    with pytest.raises(KeyboardInterrupt):
        pack_all(tmp_path, Documents(70, dying), tokenizer, 1)
    again: list[int] = []

    def counting(index: int) -> Document:
        again.append(index)
        return documents[index]

    assert pack_all(tmp_path, Documents(70, counting), tokenizer, 1) == alone[1]
    assert content(tmp_path / "rows") == content(alone[0] / "rows")
    assert again == list(range(after // BLOCK * BLOCK, 70))


@pytest.mark.parametrize("name", ["rows-20.json", "rows-20.array_record", "tokens-0-0.json", "tokens-0-0.npy"])
def test_a_piece_that_has_changed_is_made_again(tmp_path: Path, documents, tokenizer, name):
    def made() -> list[bytes]:
        own = Pieces(tmp_path / "pieces", 0, 1, lambda what: None)
        [counts] = count_tokens([documents], tokenizer, own, meter())
        shutil.rmtree(tmp_path / "rows", ignore_errors=True)
        tally = pack_blocks(tmp_path / "rows", documents, tokenizer, LENGTH, first_fit, BLOCK, own, meter())
        return [counts.tobytes(), str(tally).encode(), *content(tmp_path / "rows").values()]

    (tmp_path / "pieces").mkdir()
    expected, file = made(), tmp_path / "pieces" / name
    bits = bytearray(file.read_bytes() if file.exists() else b"")
    if bits:  # Rows are moved to where they are read from, and a tally without them counts for nothing.
        bits[len(bits) // 2] ^= 1
        file.write_bytes(bits)
    assert made() == expected


def test_tokens_are_counted_once_and_are_what_the_tokenizer_gives(tmp_path: Path, documents, tokenizer, monkeypatch):
    monkeypatch.setattr(pieces_module, "_COUNTED", 8)
    parts = (Documents(20, documents.make), Documents(11, lambda index: documents[index + 30]))
    own = [Pieces(tmp_path, index, 2, lambda what: None) for index in (1, 0)]
    with pytest.raises(FileNotFoundError):
        count_tokens(parts, tokenizer, own[0], meter())
    found = count_tokens(parts, tokenizer, own[1], meter())
    for part, counts in zip(parts, found, strict=True):
        assert counts.tolist() == [len(tokenizer.encode(document.text())) for document in part]

    def never(index: int) -> Document:
        raise AssertionError(index)

    again = count_tokens((Documents(20, never), Documents(11, never)), tokenizer, own[0], meter())
    assert [each.tolist() for each in again] == [each.tolist() for each in found]


def test_blocks_in_which_nothing_can_be_learnt_are_fine_as_long_as_others_have_something(tmp_path: Path, tokenizer):
    chat = ChatFormat()
    long = chat.exchange("+1" * 20, "+2")
    (tmp_path / "pieces").mkdir()
    own = Pieces(tmp_path / "pieces", 0, 1, lambda what: None)
    mixed = Documents(4, lambda index: chat.plain("+1+2") if index == 3 else long)
    tally = pack_blocks(tmp_path / "rows", mixed, tokenizer, LENGTH, first_fit, 1, own, meter())
    assert (tally.dropped, tally.rows) == (3, 1) and len(read_records(tmp_path / "rows")) == 1
    (tmp_path / "none").mkdir()
    nothing = Pieces(tmp_path / "none", 0, 1, lambda what: None)
    with pytest.raises(InputError, match="no token is left to learn"):
        pack_blocks(tmp_path / "other", Documents(2, lambda _: long), tokenizer, LENGTH, first_fit, 1, nothing, meter())


def test_progress_tells_documents_bytes_a_second_and_tokens(monkeypatch):
    monkeypatch.setattr(pieces_module, "_TOLD", 2)
    reports: list[Progress] = []
    times = iter([10.0, 12.0, 14.0])
    watched = Meter(reports.append, "corpus", 4, clock=lambda: next(times), tokens=7)
    given = [Document((Piece("é" * 500_000, learn=True),))] * 5
    tally = PackingCounts(tokens=3)
    assert list(watched.passing(given, tally)) == given
    assert [(each.step, each.steps, dict(each.values)) for each in reports] == [
        (2, 4, {"documents": 2, "megabytes_per_second": 1.0}),
        (4, 4, {"documents": 4, "megabytes_per_second": 1.0}),
    ]
    assert [each.tokens for each in reports] == [10, 10]


_PACKING = """
import sys, time
from pathlib import Path
from tiny_stages import CORPUS
from reasoning.data.chat.format import ChatFormat
from reasoning.data.documents import Documents
from reasoning.data.packing import first_fit
from reasoning.stages.pieces import Meter, Pieces, pack_blocks

def slowly(index):
    time.sleep(0.01)
    return found[index]

found = CORPUS.sources[0].documents(ChatFormat(), 0)
folder = Path(sys.argv[1])
own = Pieces(folder / "pieces", 0, 1, lambda what: None)
meter = Meter(lambda progress: None, "corpus", 1)
pack_blocks(
    folder / "rows", Documents(70, slowly), CORPUS.tokenizer_at_hand(), 16, first_fit, 20, own, meter
)
"""


@pytest.mark.slow
def test_a_killed_process_leaves_blocks_with_which_another_goes_on_to_the_same_bytes(
    tmp_path: Path, alone, documents, tokenizer
):
    (tmp_path / "pieces").mkdir()
    process = forked.start(["-c", _PACKING, str(tmp_path)], os.environ)
    while process.poll() is None and len(list((tmp_path / "pieces").glob("*.json"))) < 2:
        time.sleep(0.01)
    process.kill()
    assert process.wait(100)
    assert not (tmp_path / "rows").exists()
    assert pack_all(tmp_path, documents, tokenizer, 1) == alone[1]
    assert content(tmp_path / "rows") == content(alone[0] / "rows")
