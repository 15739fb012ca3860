"""Which rows of somebody's files become documents, and what of a row a document keeps beside its text."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from reasoning.core.errors import BadRow, InputError, of_a_row
from reasoning.core.ranges import Index
from reasoning.data.chat.format import ChatFormat
from reasoning.data.columns import read_row
from reasoning.data.documents import Document, Documents

Row = Mapping[str, Any]


def _every_row(row: Row) -> bool:
    """Accepts any row."""
    return True


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Which rows become documents: those that pass all of these; by default every row does.

    ``accept`` is a function of the row: its text columns, ``column`` and ``keep_columns``; of a Parquet file no other
    column is read.
    """

    accept: Callable[[Row], bool] = _every_row
    column: str = ""  # only rows whose value in this column …
    values: tuple[str, ...] = ()  # … written as a text is one of these
    minimum_characters: Index = 0  # of a row's texts together
    maximum_characters: Index = 0  # 0: any number
    keep_columns: tuple[str, ...] = ()  # read too; kept in ``Document.columns``

    def __post_init__(self) -> None:
        if bool(self.column) != bool(self.values):
            raise InputError(f"column = {self.column!r} and values = {self.values} go together; give both or neither")
        if 0 < self.maximum_characters < self.minimum_characters:
            raise InputError(
                f"no text has at least {self.minimum_characters} and at most {self.maximum_characters} characters"
            )


@dataclass(frozen=True)
class Found:
    """A row, the columns of its text, and where it stands."""

    row: Row
    layout: tuple[str, ...]
    where: str


def columns_read(selection: Selection, layout: Sequence[str]) -> tuple[str, ...]:
    """The columns that are needed of a row, each once."""
    further = (selection.column,) if selection.column else ()
    return tuple(dict.fromkeys((*layout, *further, *selection.keep_columns)))


def selected(selection: Selection, count: int, read: Callable[[int], Found], chat: ChatFormat, where: str) -> Documents:
    """The documents of those of ``count`` rows that are selected, each read when it is asked for.

    To know which, all rows are read once, unless every row is. Raises InputError, beginning with ``where``, where there
    is no row, or none is selected, and, with the row's place, where a row lacks a column.
    """
    if not count:
        raise InputError(f"{where} has no documents; take the source out, or fill it")

    def make(index: int) -> Document:
        found = read(index)
        with of_a_row():
            document = read_row(found.row, found.layout, chat, found.where)
            if not selection.keep_columns and not selection.column:
                return document
            row = _needed(selection, found)
        return replace(document, columns=tuple((name, row[name]) for name in selection.keep_columns))

    if not _selects(selection):
        return Documents(count, make)
    good = 0

    def passes(index: int) -> bool:
        nonlocal good
        try:
            passed = _passes(selection, read(index))
        except BadRow:  # raised again when it is asked for, and passed over where that is allowed
            return True
        good += passed
        return passed

    numbers = np.fromiter(filter(passes, range(count)), np.int64)
    if len(numbers) and not good:
        make(int(numbers[0]))  # none but bad rows: the first says why
    if not len(numbers):
        raise InputError(f"{where}: none of its {count:,} rows is selected; loosen what selects them")
    return Documents(len(numbers), lambda index: make(int(numbers[index])))


def _selects(selection: Selection) -> bool:
    limits = selection.minimum_characters or selection.maximum_characters
    return bool(selection.column or limits) or selection.accept is not _every_row


def _passes(selection: Selection, found: Found) -> bool:
    with of_a_row():
        row = _needed(selection, found)
    if selection.column and str(row[selection.column]) not in selection.values:
        return False
    if selection.minimum_characters or selection.maximum_characters:
        characters = sum(_characters(row[name]) for name in found.layout)
        if not selection.minimum_characters <= characters <= (selection.maximum_characters or characters):
            return False
    return selection.accept(row)


def _needed(selection: Selection, found: Found) -> Row:
    """The columns that a selection may read. Raises InputError where the row lacks one."""
    names = columns_read(selection, found.layout)
    missing = [name for name in names if name not in found.row]
    if missing:
        listed = ", ".join(sorted(found.row)) or "none"
        raise InputError(f"{found.where}: there is no column {missing[0]!r}; columns found: {listed}")
    return {name: found.row[name] for name in names}


def _characters(value: Any) -> int:
    """Of a text, or of a conversation's contents, in whichever form ``read_row`` takes them; 0 for what it refuses."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, bytes):
        return len(value.decode(errors="replace"))
    if isinstance(value, Mapping):
        return _characters(value.get("content"))
    return sum(map(_characters, value)) if isinstance(value, Sequence | np.ndarray) else 0
