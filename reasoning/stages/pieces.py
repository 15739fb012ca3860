"""A large corpus cleaned and packed in pieces on disk: processes share them, and a killed run goes on with them.

What a piece holds depends on its number alone, so the rows are the same for any number of processes and interruptions.
"""

import io
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np

from reasoning.core.errors import InputError
from reasoning.core.files import read_json, write_atomic, write_json
from reasoning.core.hashes import hash_file, hash_json
from reasoning.core.progress import Progress
from reasoning.data.documents import Document, Documents
from reasoning.data.packing import Packer, PackingCounts, check_learnt, pack_some, row_features, token_counts
from reasoning.data.records import join_parts, write_part
from reasoning.data.tokenizers.tokenizer import Tokenizer

_COUNTED = 1 << 14
"""Documents whose tokens are counted in one piece."""

_TALLY = ".json"
"""Ends the name of what is written after a block's rows, and says that they are whole."""

_TOLD = 1 << 10
"""Documents between two reports."""

_SHA256, _OWN_HASH = "sha256", "hash"


@dataclass(frozen=True)
class Pieces:
    """A folder of pieces, and which of them are this process's: ``index``, ``index + count``, …

    ``wait(what)`` returns when every process has come so far.
    """

    folder: Path
    index: int
    count: int
    wait: Callable[[str], None]

    def mine(self, total: int) -> range:
        """The numbers of this process's pieces."""
        return range(self.index, total, self.count)


@dataclass
class Meter:
    """Counts the documents that pass through, and reports how many and how fast."""

    report: Callable[[Progress], None]
    stage: str
    total: int
    clock: Callable[[], float] = time.monotonic
    documents: int = 0
    size: int = 0  # bytes of text
    tokens: int = 0  # of blocks that are done
    begun: float | None = None

    def passing(self, documents: Iterable[Document], tally: PackingCounts) -> Iterator[Document]:
        """The same documents; ``tally`` counts the tokens that are being made of them."""
        self.begun = self.clock() if self.begun is None else self.begun
        for document in documents:
            yield document
            self.documents += 1
            self.size += sum(len(piece.text.encode()) for piece in document.pieces)
            if self.documents % _TOLD == 0:
                seconds = max(self.clock() - self.begun, 1e-9)
                shown = {"documents": self.documents, "megabytes_per_second": self.size / 1e6 / seconds}
                done = min(self.documents, self.total)
                self.report(Progress(self.stage, done, self.total, shown, self.tokens + tally.tokens))


def count_tokens(parts: Sequence[Documents], tokenizer: Tokenizer, pieces: Pieces, meter: Meter) -> list[np.ndarray]:
    """How many tokens each document of each part has, int32[N]; some thousand documents are a piece."""
    units = [(part, start) for part, documents in enumerate(parts) for start in range(0, len(documents), _COUNTED)]
    files = [pieces.folder / f"tokens-{part}-{start}.npy" for part, start in units]
    for number in pieces.mine(len(units)):
        (part, start), file = units[number], files[number]
        if not is_whole(file):
            documents = stretch_of(parts[part], start, _COUNTED)
            counts = token_counts(meter.passing(documents, PackingCounts()), tokenizer)
            content = io.BytesIO()
            np.save(content, np.fromiter(counts, np.int32))
            write_atomic(file, content.getvalue())
            seal(file, {})
    pieces.wait("token counts")
    counted: list[list[np.ndarray]] = [[] for _ in parts]
    for (part, _), file in zip(units, files, strict=True):
        counted[part].append(np.load(file))
    return [np.concatenate(each) for each in counted]


def pack_blocks(
    folder: Path,
    documents: Documents,
    tokenizer: Tokenizer,
    length: int,
    packer: Packer,
    block: int,
    pieces: Pieces,
    meter: Meter,
) -> PackingCounts:
    """Pack each ``block`` documents by themselves; process 0 makes the dataset ``folder`` of the rows of all.

    Gives what became of all documents, on every process. Errors as ``packing.pack``.
    """
    starts = range(0, len(documents), block)
    files = [pieces.folder / f"rows-{start}.array_record" for start in starts]
    for number in pieces.mine(len(starts)):
        if not is_whole(files[number]):
            tally = PackingCounts()
            stretch = meter.passing(stretch_of(documents, starts[number], block), tally)
            rows = pack_some(stretch, tokenizer, length, packer, tally)
            count, size = write_part(files[number], rows, row_features(length))
            seal(files[number], {"counts": asdict(tally), "rows": count, "bytes": size})
            meter.tokens += tally.tokens
    pieces.wait("blocks of rows")
    told = [read_json(file.with_suffix(_TALLY)) for file in files]
    total = PackingCounts(
        **{field.name: sum(each["counts"][field.name] for each in told) for field in fields(PackingCounts)}
    )
    check_learnt(total, length)
    if pieces.index == 0:
        parts = [(file, each["rows"], each["bytes"]) for file, each in zip(files, told, strict=True)]
        join_parts(folder, parts, row_features(length))
    return total


def seal(file: Path, told: dict[str, object]) -> None:
    """Says that a piece is whole, and what is told of it, with the hashes of both."""
    told = {**told, _SHA256: hash_file(file)}
    write_json(file.with_suffix(_TALLY), {**told, _OWN_HASH: hash_json(told)})


def is_whole(file: Path) -> bool:
    """Whether a piece and what is told of it are what was written; else it is made again."""
    try:
        told = read_json(file.with_suffix(_TALLY))
        own = told.pop(_OWN_HASH, None) if isinstance(told, dict) else None
        return own == hash_json(told) and told[_SHA256] == hash_file(file)
    except (InputError, OSError, KeyError):
        return False


def stretch_of(documents: Documents, start: int, count: int) -> Iterator[Document]:
    """``count`` documents from ``start`` on, or as many as there are."""
    return (documents[index] for index in range(start, min(start + count, len(documents))))
