"""Cleaning as a stage does it: documents are marked in pieces, by all processes; process 0 then decides, once.

A run that was killed goes on after the last whole piece. Deciding takes a small part of the time of marking
(docs/data.md says how small), so one process does it in one go, and anew where it was killed.
"""

import io
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from reasoning.core.errors import InputError
from reasoning.core.files import read_file, write_atomic
from reasoning.core.fingerprints import difference, fingerprints
from reasoning.core.progress import Progress
from reasoning.core.sealed import read_sealed, write_sealed
from reasoning.data.chat.format import ChatFormat
from reasoning.data.cleaning import Cleaner, Opened, Removed, joined, open_cleaned, without_removed
from reasoning.data.documents import Document, Documents
from reasoning.data.marks import MarkFiles, find_kept, written_marks
from reasoning.data.sources import DocumentSource
from reasoning.stages.pieces import Pieces, is_whole, seal, stretch_of
from reasoning.stages.stage import Context

REMOVED = "removed.jsonl"
"""The first documents that each reason removed."""

COUNTS = "removed.json"
"""How many each reason removed; written last, so where it lies cleaning is done."""

_KEPT = "kept.npy"

_FILES = "files"
"""Says among the counts what the other two files were when they were written."""

_MARKS = "marks"
"""The folder of marks among the pieces."""

_MARKED = 1 << 13
"""Documents that are marked in one piece."""

_PEEKED = 20_000

_REPORT_EVERY = 1000


def clean(
    sources: Sequence[DocumentSource],
    cleaners: Sequence[Cleaner],
    chat: ChatFormat,
    seed: int,
    out: Path,
    pieces: Pieces,
    name: str,
    context: Context,
) -> tuple[tuple[DocumentSource, ...], Mapping[str, float]]:
    """The sources without what the cleaners remove, and how many documents of files they looked at and removed.

    Empty counts where no source reads files, or nothing is to be cleaned. What was removed is warned of and listed in
    ``out``. Every process calls this alike, each with its own ``pieces``.
    """
    opened = open_cleaned(sources, chat, seed) if cleaners else []
    if not opened:
        return tuple(sources), {}
    # Process 0 writes the counts after all have marked, so all of them find the same here.
    if not _is_decided(out, context):
        folder = pieces.folder / _MARKS
        folder.mkdir(parents=True, exist_ok=True)
        marks = mark_all(joined(opened), cleaners, replace(pieces, folder=folder), _reporting(name, "marked", context))
        if pieces.index == 0:
            _decide(opened, cleaners, marks, out, name, context)
            shutil.rmtree(folder)
    pieces.wait("cleaned")
    told = read_sealed(out / COUNTS)
    bits = np.load(io.BytesIO(read_file(out / _KEPT)))
    kept = np.unpackbits(bits, count=told["looked_at"]).astype(bool)
    by_reason = {f"removed/{reason}": count for reason, count in told["removed"].items()}
    counts = {"looked_at": told["looked_at"], "removed": sum(by_reason.values()), **by_reason}
    return without_removed(sources, opened, kept), counts


def mark_all(
    documents: Documents, cleaners: Sequence[Cleaner], pieces: Pieces, report: Callable[[int, int], None]
) -> MarkFiles:
    """The marks of all documents, of which this process makes its own and waits for the others'.

    What is whole of an earlier start is kept. ``report(done, of)`` is called now and then.
    """
    starts = range(0, len(documents), _MARKED)
    files = [pieces.folder / f"marks-{start}.bin" for start in starts]
    markers = [cleaner.marker() for cleaner in cleaners]
    mine, done = pieces.mine(len(starts)), 0
    total = sum(min(_MARKED, len(documents) - starts[each]) for each in mine)

    def passing(some: Iterator[Document]) -> Iterator[Document]:
        for number, document in enumerate(some):
            if number % _REPORT_EVERY == 0:
                report(done + number, total)
            yield document

    for number in mine:
        if not is_whole(files[number]):
            write_atomic(files[number], written_marks(passing(stretch_of(documents, starts[number], _MARKED)), markers))
            seal(files[number], {})
        done += _MARKED
    pieces.wait("marked")
    return MarkFiles(files, _MARKED, len(documents), len(cleaners))


def clean_beginning(
    sources: Sequence[DocumentSource], cleaners: Sequence[Cleaner], chat: ChatFormat, seed: int
) -> tuple[DocumentSource, ...]:
    """As ``clean`` without a folder, for whoever looks at the beginning: of each source the first 20,000 documents."""
    opened = open_cleaned(sources, chat, seed) if cleaners else []
    if not opened:
        return tuple(sources)
    first = [
        replace(each, documents=Documents(min(len(each.documents), _PEEKED), each.documents.make)) for each in opened
    ]
    with tempfile.TemporaryDirectory() as scratch:
        alone = Pieces(Path(scratch), 0, 1, lambda what: None)
        marks = mark_all(joined(first), cleaners, alone, lambda done, of: None)
        kept = find_kept(first, cleaners, marks, Removed(), lambda done: None)
    return without_removed(sources, first, kept)


def _is_decided(out: Path, context: Context) -> bool:
    """Whether an earlier start has decided, and what it wrote is as it was written; damage is told."""
    if not (out / COUNTS).exists():
        return False
    try:
        files = read_sealed(out / COUNTS).get(_FILES, {})
        told = next(filter(None, (difference(out / name, each, None) for name, each in files.items())), "")
    except InputError as error:
        told = str(error)
    if told:
        context.warn(f"damaged: {told}; it is made again")
    return not told


def _decide(
    opened: Sequence[Opened], cleaners: Sequence[Cleaner], marks: MarkFiles, out: Path, name: str, context: Context
) -> None:
    """Writes what is kept, what was removed, and then the counts."""
    removed, report = Removed(), _reporting(name, "compared", context)
    kept = find_kept(opened, cleaners, marks, removed, lambda done: report(done, marks.total))
    file = io.BytesIO()
    np.save(file, np.packbits(kept))
    write_atomic(out / _KEPT, file.getvalue())
    listed = (json.dumps(each, ensure_ascii=False, allow_nan=False) + "\n" for each in removed.examples)
    write_atomic(out / REMOVED, "".join(listed))
    files = fingerprints(out, [out / _KEPT, out / REMOVED])
    write_sealed(out / COUNTS, {"looked_at": removed.looked_at, "removed": removed.counts, _FILES: files})
    if told := removed.told():
        context.warn(f"stage {name} {told}; {REMOVED} lists the first of each kind")


def _reporting(name: str, done_to_them: str, context: Context) -> Callable[[int, int], None]:
    def report(done: int, of: int) -> None:
        context.report(Progress(name, 0, 1, {f"documents {done_to_them}": done, "of": of}))

    return report
