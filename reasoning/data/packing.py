"""Documents become rows of equal length, once, before training: tokenised, packed by grain, and written as records.

Shapes: T tokens of a row, N tokens of a document.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import grain
import numpy as np
import tensorflow_datasets as tfds
from jaxtyping import Int

from reasoning.core.errors import InputError, without_notes
from reasoning.data.documents import WHOLE, Document
from reasoning.data.records import write_records
from reasoning.data.tokenizers.tokenizer import Tokenizer

_DOCUMENTS_A_BATCH = 1024
"""Documents tokenised by one call of sentencepiece."""

_OPEN_CELLS = 1 << 20
OPEN_ROWS = (16, 256)
"""First fit keeps this many rows open at a time, as many as ``_OPEN_CELLS`` tokens allow: more rows waste less."""

_LEARN = 1
_MAY_BEGIN = 2
_WEIGHT = 4
"""Flags of a token that travel with its id through the packer; _MAY_BEGIN: a segment may begin with it. Above them is
what its loss weighs, in parts of ``WHOLE``; nothing where that is all of it."""

COLUMNS = ("tokens", "positions", "segments", "loss_mask")

PackedRow = dict[str, Int[np.ndarray, " T"]]
Packer = Callable[[grain.IterDataset, int], grain.IterDataset]


@dataclass
class PackingCounts:
    """What became of the documents, counted while they are packed: nothing is lost without being counted here."""

    documents: int = 0  # read from the source
    split: int = 0  # plain documents longer than a row, cut into several
    dropped: int = 0  # prompts with completions longer than a row, left out
    rows: int = 0
    tokens: int = 0  # in rows, padding left out
    learnt: int = 0  # of these, the ones that carry loss

    def fill(self, length: int) -> float:
        """The share of all places that hold a token, 0 to 1."""
        return self.tokens / max(1, self.rows * length)


def first_fit(documents: grain.IterDataset, length: int) -> grain.IterDataset:
    """Put each document whole into the first open row with room for it; rows end in padding.

    Once a document fits nowhere, all open rows are given. Rows and their order are those of grain's
    ``FirstFitPackIterDataset``, whose steps for each document cost more than all else that short documents go through.
    The right packer where a document must be seen whole: prompts with completions, and short texts. Only documents
    longer than a row are cut, into row-long parts.
    """
    rows = int(np.clip(_OPEN_CELLS // length, *OPEN_ROWS))
    return _Stream(lambda: _fitted(_cut(documents, length), rows, length))


def concat_then_split(documents: grain.IterDataset, length: int) -> grain.IterDataset:
    """Put documents end to end and cut at every row's end (grain's packer): no padding, but cut documents.

    For pretraining on plain text alone: what follows a cut is read without what came before it.
    """
    return grain.experimental.ConcatThenSplitIterDataset(documents, length_struct={"tokens": length})


def row_features(length: int) -> dict[str, tfds.features.Tensor]:
    """The TFDS features of packed rows: each column int32[T]."""
    return {name: tfds.features.Tensor(shape=(length,), dtype=np.int32) for name in COLUMNS}


def pack_into(
    folder: Path,
    documents: Iterable[Document],
    tokenizer: Tokenizer,
    length: int,
    packer: Packer,
    counts: PackingCounts,
) -> None:
    """Pack documents and write the rows as a dataset, which ``records.read_records`` opens. Errors as ``pack``."""
    write_records(folder, pack(documents, tokenizer, length, packer, counts), row_features(length))


def pack(
    documents: Iterable[Document], tokenizer: Tokenizer, length: int, packer: Packer, counts: PackingCounts
) -> Iterator[PackedRow]:
    """Make rows of ``length`` tokens, and count into ``counts``; the same documents give the same rows.

    A row has ``tokens``; ``positions``, from 0 in each document; ``segments``, from 1 in each row and 0 on padding;
    ``loss_mask``, 1 where this token is to be predicted: tokens of pieces with ``learn``, but never the first one of a
    segment, which has nothing before it; of pieces that weigh less than 1, how many parts of ``WHOLE`` they do. Each is
    int32[T].

    Plain documents (all of it learnt) longer than a row are cut by the packer. A longer one with a prompt is dropped
    and counted, because a cut reply teaches never to end, or to answer an unseen question. Raises InputError for a
    document without tokens, where the packer cuts a document with a prompt (``concat_then_split`` does), and where no
    token is left to learn.
    """
    yield from pack_some(documents, tokenizer, length, packer, counts)
    check_learnt(counts, length)


def pack_some(
    documents: Iterable[Document], tokenizer: Tokenizer, length: int, packer: Packer, counts: PackingCounts
) -> Iterator[PackedRow]:
    """As ``pack``, for a part of the documents, in which there may be nothing to learn."""
    with without_notes():
        for packed in packer(_documents(lambda: _tokenise(documents, tokenizer, length, counts)), length):
            row = _row(packed, counts)
            counts.rows += 1
            counts.tokens += int(np.count_nonzero(row["segments"]))
            counts.learnt += int(np.count_nonzero(row["loss_mask"]))
            yield row


def pack_pairs(pairs: Iterable[Int[np.ndarray, "N 2"]], length: int) -> Iterator[dict[str, np.ndarray]]:
    """Rows of documents, each a token's id and a number of its own [N, 2], whole (``first_fit``).

    Each has ``tokens``, ``numbers``, ``positions`` and ``segments`` [T], int32, 0 on padding. No document may be longer
    than a row.
    """
    with without_notes():
        for packed in first_fit(_documents(lambda: iter(pairs)), length):
            tokens_T, numbers_T = packed["tokens"].T
            places = {"positions": packed["tokens_positions"], "segments": packed["tokens_segment_ids"]}
            columns = {"tokens": tokens_T, "numbers": numbers_T, **places}
            yield {name: np.ascontiguousarray(column, np.int32) for name, column in columns.items()}


def check_learnt(counts: PackingCounts, length: int) -> None:
    """Raises InputError where no token is left to learn."""
    if not counts.learnt:
        raise InputError(
            f"of {counts.documents} documents ({counts.dropped} longer than {length} tokens and dropped) no token is "
            "left to learn; give more documents, or longer rows"
        )


def token_counts(documents: Iterable[Document], tokenizer: Tokenizer) -> Iterator[int]:
    """How many tokens each document has, symbols included."""
    remaining = iter(documents)
    while batch := list(islice(remaining, _DOCUMENTS_A_BATCH)):
        encoded = iter(tokenizer.encode_batch([piece.text for document in batch for piece in document.pieces]))
        for document in batch:
            yield sum(len(ids) for ids in islice(encoded, len(document.pieces)))


def _row(packed: dict[str, np.ndarray], counts: PackingCounts) -> PackedRow:
    tokens_T, flags_T = packed["tokens"].T
    positions_T, segments_T = packed["tokens_positions"], packed["tokens_segment_ids"]
    if np.any((positions_T == 0) & (segments_T > 0) & (flags_T & _MAY_BEGIN == 0)):
        raise InputError(
            f"the packer cut a document with a prompt (one of the {counts.documents} read so far), so its completion "
            "would be learnt without it; pack such documents with first_fit"
        )
    learnt_T = (flags_T & _LEARN) * np.maximum(flags_T // _WEIGHT, 1) * (positions_T > 0)
    columns = (tokens_T, positions_T, segments_T, learnt_T)
    return {name: np.ascontiguousarray(column, np.int32) for name, column in zip(COLUMNS, columns, strict=True)}


def _tokenise(
    documents: Iterable[Document], tokenizer: Tokenizer, length: int, counts: PackingCounts
) -> Iterator[Int[np.ndarray, "N 2"]]:
    """Each document's token ids and flags; documents with a prompt that are longer than a row are left out."""
    remaining = iter(documents)
    while batch := list(islice(remaining, _DOCUMENTS_A_BATCH)):
        encoded = iter(tokenizer.encode_batch([piece.text for document in batch for piece in document.pieces]))
        for document in batch:
            plain = all(piece.learn for piece in document.pieces)
            tokens_N2 = _join(document, plain, encoded)
            if not len(tokens_N2):
                raise InputError(f"document {counts.documents} has no tokens; every document needs some text")
            counts.documents += 1
            too_long = len(tokens_N2) > length
            counts.split += plain and too_long
            counts.dropped += too_long and not plain
            if plain or not too_long:
                yield tokens_N2


def _join(document: Document, plain: bool, encoded: Iterator[list[int]]) -> Int[np.ndarray, "N 2"]:
    ids: list[int] = []
    flags: list[int] = []
    for piece in document.pieces:
        piece_ids = next(encoded)
        ids += piece_ids
        flags += [_LEARN * piece.learn + _MAY_BEGIN * plain + _WEIGHT * _parts(piece.weight)] * len(piece_ids)
    tokens_N2 = np.array((ids, flags), np.int32).T
    tokens_N2[:1, 1] |= _MAY_BEGIN
    return tokens_N2


def _parts(weight: float) -> int:
    """A weight in parts of ``WHOLE``; 0 for all of it, which is what tokens weigh where nothing is said."""
    return 0 if weight == 1 else min(max(round(weight * WHOLE), 2), WHOLE - 1)


def _cut(documents: Iterable[dict[str, np.ndarray]], length: int) -> Iterator[np.ndarray]:
    """Documents in parts no longer than a row."""
    for document in documents:
        tokens = document["tokens"]
        for start in range(0, len(tokens), length):
            yield tokens[start : start + length]


def _fitted(parts: Iterable[np.ndarray], rows: int, length: int) -> Iterator[dict[str, np.ndarray]]:
    """Rows of parts of documents, in the columns that grain's packers give; ``rows`` are open at a time."""
    opened: list[list[np.ndarray]] = []
    room_R = np.full(rows, length)
    for part in parts:
        row = int(np.argmax(room_R >= len(part)))
        if room_R[row] < len(part):
            yield from (_filled(row_parts, length) for row_parts in opened)
            opened, room_R[:], row = [], length, 0
        if row == len(opened):
            opened.append([])
        opened[row].append(part)
        room_R[row] -= len(part)
    yield from (_filled(row_parts, length) for row_parts in opened)


def _filled(parts: list[np.ndarray], length: int) -> dict[str, np.ndarray]:
    """A row of these parts, and padding behind them."""
    tokens = np.zeros((length, *parts[0].shape[1:]), parts[0].dtype)
    positions_T, segments_T = np.zeros(length, np.int32), np.zeros(length, np.int32)
    start = 0
    for segment, part in enumerate(parts, 1):
        end = start + len(part)
        tokens[start:end], segments_T[start:end] = part, segment
        positions_T[start:end] = np.arange(len(part))
        start = end
    return {"tokens": tokens, "tokens_positions": positions_T, "tokens_segment_ids": segments_T}


def _documents(read: Callable[[], Iterator[np.ndarray]]) -> "_Stream":
    """Tokenised documents as packers want them."""
    return _Stream(lambda: ({"tokens": tokens} for tokens in read()))


class _Stream(grain.IterDataset):
    """A stream, of tokenised documents or of rows of them, as a data set of grain's."""

    def __init__(self, read: Callable[[], Iterator[dict[str, np.ndarray]]]):
        super().__init__()
        self._read = read

    def __iter__(self) -> "_StreamIterator":
        return _StreamIterator(self._read())


class _StreamIterator(grain.DatasetIterator):
    """Counts its position, since packers ask for it; packing runs once from end to end and is never resumed."""

    def __init__(self, elements: Iterator[dict[str, np.ndarray]]):
        super().__init__()
        self._elements = elements
        self._count = 0

    def __next__(self) -> dict[str, np.ndarray]:
        element = next(self._elements)
        self._count += 1
        return element

    def get_state(self) -> dict[str, Any]:
        return {"count": self._count}

    def set_state(self, state: dict[str, Any]) -> None:
        raise NotImplementedError("packing starts anew; its result is what is kept")
