"""The lines of a large text file by number, without reading the file into memory."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from reasoning.core.errors import InputError
from reasoning.core.files import parse_json
from reasoning.core.pointers import refuse_pointer

_BLOCK = 1 << 24
_NEWLINE = ord("\n")
_SPACE = b" \t\r\n"
"""What JSON allows between values."""

_MARK = "\ufeff".encode()
"""The byte order mark, with which some programs begin a file."""


@dataclass(frozen=True)
class Lines:
    """A file's lines that aren't blank: ``data`` its bytes (mapped, not read), ``ends`` where each of all lines ends.

    The newline is left out; ``kept`` are the positions of the lines that aren't blank, None for all of them.
    """

    path: Path
    data: np.ndarray
    ends: np.ndarray
    kept: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.ends if self.kept is None else self.kept)

    def number(self, index: int) -> int:
        """As which line of the file, counted from 1, a line stands there."""
        return (index if self.kept is None else int(self.kept[index])) + 1

    def __getitem__(self, index: int, /) -> str:
        """A line without its newline. Raises InputError naming file and line where it is not UTF-8."""
        line = self.number(index) - 1
        try:
            return _line(self.data, self.ends, line).decode()
        except UnicodeDecodeError as error:
            place = f"{self.path}:{line + 1}"
            raise InputError(f"{place}: not UTF-8 text (byte {error.start} of the line); write it as UTF-8") from None

    def record(self, index: int) -> dict[str, Any]:
        """The JSON object on a line. Raises InputError with file and line where there is none, or as ``parse_json``."""
        number = self.number(index)
        row = parse_json(self[index], str(self.path), number)
        if not isinstance(row, dict):
            raise InputError(f"{self.path}:{number}: expected a JSON object, got {type(row).__name__}")
        return row

    def records(self) -> Iterator[dict[str, Any]]:
        """All objects in order; errors as ``record``."""
        return (self.record(index) for index in range(len(self)))


def open_lines(path: Path) -> Lines:
    """Find where the lines of a file are: they end at ``\\n`` alone, since JSON texts may hold other separators.

    Files of other systems are read as they are meant: a byte order mark at the beginning is left out, so are lines of
    white space, and the last line may lack its newline. Raises InputError where there is no such file.
    """
    if not path.is_file():
        raise InputError(f"there is no file {path}")
    if not path.stat().st_size:
        return Lines(path, np.zeros(0, np.uint8), np.zeros(0, np.int64))
    refuse_pointer(path)
    data = np.memmap(path, dtype=np.uint8, mode="r")
    blocks = range(0, len(data), _BLOCK)
    found = [np.flatnonzero(data[start : start + _BLOCK] == _NEWLINE) + start for start in blocks]
    if data[-1] != _NEWLINE:
        found.append(np.array([len(data)]))
    ends = np.concatenate(found)
    # A line may be blank where it begins with white space; the first also where it is a mark alone.
    firsts = data[np.append(0, ends[:-1] + 1)]
    maybe = {0, *np.flatnonzero(np.isin(firsts, list(_SPACE))).tolist()}
    blank = sorted(line for line in maybe if not _line(data, ends, line).strip(_SPACE))
    return Lines(path, data, ends, np.delete(np.arange(len(ends)), blank) if blank else None)


def _line(data: np.ndarray, ends: np.ndarray, line: int) -> bytes:
    """The bytes of a line, newline and mark left out."""
    if line == 0:
        return data[: ends[0]].tobytes().removeprefix(_MARK)
    return data[ends[line - 1] + 1 : ends[line]].tobytes()
