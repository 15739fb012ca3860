"""What a training text is before it becomes tokens: pieces, each of which is learnt or only read."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

WHOLE = 1 << 28
"""In packed rows weights below 1 are whole numbers of this many parts, and at least two of them."""


@dataclass(frozen=True)
class Piece:
    """A stretch of text; ``learn`` says whether its tokens carry loss (a reply) or are context only (a prompt).

    What is learnt weighs ``weight`` of what other tokens do, above 0 and at most 1.
    """

    text: str
    learn: bool
    weight: float = 1.0


@dataclass(frozen=True)
class Document:
    """One training text, a sequence of pieces; special symbols stand in the text and become single ids.

    ``columns`` are what a source was asked to keep of its row, names with values: an address, a licence, a score.
    """

    pieces: tuple[Piece, ...]
    columns: tuple[tuple[str, Any], ...] = ()

    def text(self) -> str:
        """The whole text, for people and for training tokenizers."""
        return "".join(piece.text for piece in self.pieces)


def merged(pieces: Iterable[Piece]) -> tuple[Piece, ...]:
    """Neighbours that are only read become one piece, so that they are tokenised as the prompt would be."""
    joined: list[Piece] = []
    for learn, group in groupby((piece for piece in pieces if piece.text), key=lambda piece: piece.learn):
        neighbours = list(group)
        joined += neighbours if learn else [Piece("".join(piece.text for piece in neighbours), learn=False)]
    return tuple(joined)


def weighed(document: Document, weight: float) -> Document:
    """What is learnt of a document at a ``weight`` of what it was before."""
    if weight == 1:
        return document
    pieces = (replace(piece, weight=piece.weight * weight) if piece.learn else piece for piece in document.pieces)
    return replace(document, pieces=tuple(pieces))


def every_reply(document: Document) -> Document:
    """Learns all that a document says is to be learnt."""
    return document


def last_reply(document: Document) -> Document:
    """Learns the last reply of a conversation alone and reads those before it; running text is learnt as ever."""
    learnt = [number for number, piece in enumerate(document.pieces) if piece.learn]
    if len(learnt) == len(document.pieces):
        return document
    pieces = [replace(piece, learn=number == learnt[-1]) for number, piece in enumerate(document.pieces)]
    return replace(document, pieces=merged(pieces))


@dataclass(frozen=True)
class Documents:
    """Documents by number, each made when it is asked for, so that a corpus need not fit into memory.

    Suits ``grain.MapDataset.source``; ``make`` must give the same document for the same number, from 0 to count - 1.
    """

    count: int
    make: Callable[[int], Document]

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Document:
        if not 0 <= index < self.count:
            raise IndexError(f"document {index} of {self.count}")
        return self.make(index)

    def __iter__(self) -> Iterator[Document]:
        return map(self.make, range(self.count))
