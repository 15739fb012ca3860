"""Rows that can't be used are passed over, as many as a setting allows, and never in silence."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar, runtime_checkable

import numpy as np
from jaxtyping import Int

from reasoning.core.contents import ReadsFiles
from reasoning.core.errors import BadRow, InputError
from reasoning.core.files import read_text, write_atomic
from reasoning.data.chat.format import ChatFormat
from reasoning.data.documents import Documents
from reasoning.data.sources import DocumentSource

BAD_ROWS = "bad_rows.txt"
"""The file of an artifact with place and reason of each row that was passed over, one a line."""

_Row = TypeVar("_Row")


@runtime_checkable
class PassesOver(Protocol):
    """Settings that read rows, and pass over bad ones if they are told to."""

    def bad_rows(self) -> tuple[str, ...]:
        """Place and reason of each row that is passed over. Raises InputError as reading does."""
        ...


@dataclass
class BadRows:
    """The rows that were passed over, at most ``limit`` of them; ``told`` has place and reason of each, in order.

    A row that is read several times counts once.
    """

    where: str
    limit: int
    told: dict[str, None] = field(default_factory=dict)

    def pass_over(self, error: BadRow) -> None:
        """Notes a row. Raises InputError for one too many, with the list of all; of none allowed, the row's own."""
        if not self.limit:
            raise error
        self.told[str(error)] = None
        if len(self.told) > self.limit:
            raise InputError(
                f"{self.where}: more than {self.limit} bad rows, as many as skip_bad allows; mend the data, or raise "
                f"skip_bad:{listed(self.told)}"
            )

    def readable(self, count: int, read: Callable[[int], _Row]) -> Iterator[_Row]:
        """The rows from 0 to ``count`` that can be read, in order.

        Raises InputError as ``pass_over``, and what ``read`` raises that isn't about one row (``BadRow``).
        """
        for index in range(count):
            try:
                row = read(index)
            except BadRow as error:
                self.pass_over(error)
            else:
                yield row


@dataclass(frozen=True)
class Readable:
    """A source without what is passed over: ``numbers`` of the others, and all documents, which are open."""

    source: DocumentSource
    numbers: Int[np.ndarray, " K"]
    whole: Documents

    @property
    def weight(self) -> float:
        """How often each document is seen."""
        return self.source.weight

    def reads(self) -> tuple[str, ...]:
        """What the source reads."""
        return self.source.reads() if isinstance(self.source, ReadsFiles) else ()

    def documents(self, chat: ChatFormat, seed: int) -> Documents:
        """The documents that can be read, in their order."""
        del chat, seed
        return Documents(len(self.numbers), lambda index: self.whole[int(self.numbers[index])])


def without_bad_rows(
    sources: Sequence[DocumentSource], bad: BadRows, chat: ChatFormat, seed: int
) -> tuple[DocumentSource, ...]:
    """The sources without the rows of files that ``bad`` passes over; nothing is read where it allows none.

    Every process that calls this finds the same. Raises InputError as ``BadRows`` and the sources do, and for a source
    of which nothing is left.
    """
    return tuple(
        _readable(source, bad, chat, seed) if bad.limit and isinstance(source, ReadsFiles) else source
        for source in sources
    )


def _readable(source: DocumentSource, bad: BadRows, chat: ChatFormat, seed: int) -> DocumentSource:
    whole = source.documents(chat, seed)

    def number(index: int) -> int:
        whole[index]
        return index

    numbers = np.fromiter(bad.readable(len(whole), number), np.int64)
    if not len(numbers):
        raise InputError(f"{bad.where}: none of the {len(whole):,} rows of a source can be used:{listed(bad.told)}")
    return source if len(numbers) == len(whole) else Readable(source, numbers, whole)


def listed(told: Iterable[str]) -> str:
    """A new line for each row that was passed over."""
    return "".join(f"\n  {row}" for row in told)


def keep_bad_rows(folder: Path, told: Iterable[str]) -> None:
    """Adds rows that were passed over to the list in a stage's folder; those that stand there stay, each once."""
    path = folder / BAD_ROWS
    before = read_text(path).splitlines() if path.exists() else []
    rows = dict.fromkeys((*before, *told))
    if rows:
        write_atomic(path, "".join(f"{row}\n" for row in rows))
