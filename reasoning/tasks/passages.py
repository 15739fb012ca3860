"""Texts to look things up in, from a file; what a question is answered from where a model needn't know it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from reasoning.core.addresses import fetched
from reasoning.core.errors import InputError
from reasoning.data.lines import open_lines


@dataclass(frozen=True)
class Passage:
    """One text; ``name`` is what problems call it by, empty for none. Several may share a name: parts of one page."""

    text: str
    name: str = ""


@runtime_checkable
class Corpus(Protocol):
    """A source of passages; a frozen dataclass of settings."""

    def passages(self) -> Sequence[Passage]:
        """All passages, in the same order every time. Raises InputError where they can't be read."""
        ...


@dataclass(frozen=True, kw_only=True)
class PassageFile:
    """Passages of a file of JSON objects, one a line."""

    path: str
    text: str = "text"  # the column of the text
    name: str = ""  # the column of the name; empty: passages have none

    def reads(self) -> tuple[str, ...]:
        """The path, whose content counts (``core.contents``)."""
        return (self.path,)

    def passages(self) -> tuple[Passage, ...]:
        """One passage a line. Raises InputError, with file and line, where a column is missing or no text."""
        path = Path(fetched(self.path))
        if not path.exists():
            raise InputError(f"there is no file {path} with passages; name one in path")
        lines = open_lines(path)
        if not len(lines):
            raise InputError(f"{path} holds no passages; name a file with some in path")
        columns = (self.text, self.name) if self.name else (self.text,)
        return tuple(
            Passage(*(_text(row.get(column), column, f"{path}:{lines.number(at)}") for column in columns))
            for at, row in enumerate(map(lines.record, range(len(lines))))
        )


def _text(value: object, column: str, where: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise InputError(f"{where}: column {column!r} is {value!r:.60}; it must be a text, and not empty")
    return value.strip()
