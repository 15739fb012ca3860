"""The lines of a large text file by number, compressed or not, without reading the file into memory."""

import gzip
import io
import mmap
import zlib
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import pyarrow as pa

from reasoning.core.errors import BadRow, InputError, of_a_row
from reasoning.core.files import parse_json
from reasoning.core.pointers import refuse_pointer
from reasoning.data.file_kinds import check_file, check_text_file
from reasoning.data.forward import Forward

_BLOCK = 1 << 24
_HELD = 1 << 26
"""Bytes of a mapped file that are read before its pages are given back, since they count as this process's."""

_NEWLINE = ord("\n")
_SPACE = b" \t\r\n"
"""What JSON allows between values."""

_MARK = "\ufeff".encode()
"""The byte order mark, with which some programs begin a file."""

_LINE_BYTES = 1 << 24
"""A longer line is no row of anybody's data: no more of it is read, so that memory stays bounded."""


@dataclass(frozen=True)
class Lines:
    """A file's lines that aren't blank: of its ``count`` lines ``read`` gives the bytes of one, without its newline.

    ``kept`` are the positions of the lines that aren't blank, None for all of them. Reading in order is fast; of a
    compressed file, a line before the last one read is found by beginning anew.
    """

    path: Path
    count: int
    read: Callable[[int], bytes]
    kept: np.ndarray | None = None

    def __len__(self) -> int:
        return self.count if self.kept is None else len(self.kept)

    def number(self, index: int) -> int:
        """As which line of the file, counted from 1, a line stands there."""
        return (index if self.kept is None else int(self.kept[index])) + 1

    def __getitem__(self, index: int, /) -> str:
        """A line without its newline. Raises BadRow naming file and line where it is too long or not UTF-8."""
        line = self.number(index) - 1
        place, data = f"{self.path}:{line + 1}", _unmarked(self.read(line), line)
        if len(data) > _LINE_BYTES:
            raise BadRow(f"{place}: a line of more than {_LINE_BYTES:,} bytes; is it one row a line?")
        try:
            text = data.decode()
        except UnicodeDecodeError as error:
            raise BadRow(f"{place}: not UTF-8 text (byte {error.start} of the line); write it as UTF-8") from None
        if "\0" in text:
            raise BadRow(f"{place}: a NUL character, which no text holds; is it a file of text, in UTF-8?")
        return text

    def record(self, index: int) -> dict[str, Any]:
        """The JSON object on a line. Raises BadRow with file and line where there is none, or as ``parse_json``."""
        number, text = self.number(index), self[index]
        with of_a_row():
            try:
                row = parse_json(text, str(self.path), number)
            except InputError as error:
                raise InputError(f"{error}{self._hint(text, index)}") from None
            if not isinstance(row, dict):
                kind, hint = type(row).__name__, self._hint(text, index)
                raise InputError(f"{self.path}:{number}: expected a JSON object, got {kind}{hint}")
        return row

    def _hint(self, text: str, index: int) -> str:
        """What may be wrong with a line that isn't an object."""
        if text.startswith("["):
            return "; of a list, write each object on a line of its own (jq -c '.[]')"
        last = index == len(self) - 1 and text.startswith("{")
        return "; it is the file's last line: fetch the file again if it was cut short" if last else ""


def open_lines(path: Path) -> Lines:
    """Find where the lines of a file are: they end at ``\\n`` alone, since JSON texts may hold other separators.

    A file whose name ends in ``.gz`` or ``.zst`` is decompressed as it is read, once to count its lines and again from
    its beginning for each pass over them. Files of other systems are read as they are meant: a byte order mark at the
    beginning is left out, so are lines of white space, and the last line may lack its newline. Raises InputError where
    there is no such file, and for a compressed one that is damaged or cut short, with the line where it ends.
    """
    compressed = path.suffix in _DECOMPRESSED
    check_file(path) if compressed else check_text_file(path)
    if not path.stat().st_size:
        return Lines(path, 0, lambda line: b"")
    refuse_pointer(path)
    return _compressed(path) if compressed else _plain(path)


def _plain(path: Path) -> Lines:
    size, lines, last = path.stat().st_size, 0, _NEWLINE
    found: list[np.ndarray] = []
    maybe: set[int] = {0}  # blank is what begins with white space, and perhaps the first line, which may be a mark
    with open(path, "rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        while data := file.read(_BLOCK):
            block = np.frombuffer(data, np.uint8)
            firsts = block[np.append(last, block[:-1]) == _NEWLINE]
            maybe.update((lines + np.flatnonzero(np.isin(firsts, list(_SPACE)))).tolist())
            found.append(np.flatnonzero(block == _NEWLINE) + file.tell() - len(block))
            lines, last = lines + len(firsts), int(block[-1])
    if last != _NEWLINE:
        found.append(np.array([size]))
    ends = np.concatenate(found)
    read = _Mapped(mapped, ends)
    blank = sorted(line for line in maybe if _is_blank(read(line), line))
    return Lines(path, len(ends), read, np.delete(np.arange(len(ends)), blank) if blank else None)


@dataclass
class _Mapped:
    """Reads lines of a mapped file, and gives back the memory of those that were read."""

    data: mmap.mmap
    ends: np.ndarray
    held: int = 0

    def __call__(self, line: int) -> bytes:
        start, end = int(self.ends[line - 1]) + 1 if line else 0, int(self.ends[line])
        end = min(end, start + _LINE_BYTES + 1)
        self.held += end - start
        if self.held > _HELD:
            self.data.madvise(mmap.MADV_DONTNEED)  # they stay in the file system's cache
            self.held = 0
        return self.data[start:end]


def _compressed(path: Path) -> Lines:
    count, kept = 0, array("q")
    for line in _decompressed_lines(path):
        if not _is_blank(line, count):
            kept.append(count)
        count += 1
    numbers = None if len(kept) == count else np.frombuffer(kept, np.int64)
    return Lines(path, count, Forward(lambda: _decompressed_lines(path)), numbers)


def _decompressed_lines(path: Path) -> Iterator[bytes]:
    number = 0
    try:
        with _DECOMPRESSED[path.suffix](path) as file:
            while line := file.readline(_LINE_BYTES + 1):
                rest = line
                while len(rest) > _LINE_BYTES and not rest.endswith(b"\n"):
                    rest = file.readline(_LINE_BYTES + 1)
                number += 1
                yield line.removesuffix(b"\n")
    except (OSError, EOFError, zlib.error, pa.ArrowException) as error:
        told = str(error).strip().split("\n", 1)[0]
        raise InputError(f"{path}:{number + 1}: the compressed file can't be read on: {told}; fetch it again") from None


def _open_gzip(path: Path) -> BinaryIO:
    return cast(BinaryIO, gzip.open(path, "rb"))


def _open_zstandard(path: Path) -> BinaryIO:
    return io.BufferedReader(cast(io.RawIOBase, pa.CompressedInputStream(pa.OSFile(str(path)), "zstd")), _BLOCK >> 4)


_DECOMPRESSED: dict[str, Callable[[Path], BinaryIO]] = {".gz": _open_gzip, ".zst": _open_zstandard}


def _unmarked(data: bytes, line: int) -> bytes:
    return data.removeprefix(_MARK) if line == 0 else data


def _is_blank(data: bytes, line: int) -> bool:
    return not _unmarked(data, line).strip(_SPACE)
