"""The lines of a large text file by number, without reading the file into memory."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from reasoning.core.errors import InputError

_BLOCK = 1 << 24
_NEWLINE = ord("\n")


@dataclass(frozen=True)
class Lines:
    """A file's lines: ``data`` its bytes (mapped, not read), ``ends`` where each line ends, the newline left out."""

    path: Path
    data: np.ndarray
    ends: np.ndarray

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, index: int, /) -> str:
        """A line without its newline. Raises InputError naming file and line where it is not UTF-8."""
        start = self.ends[index - 1] + 1 if index else 0
        try:
            return self.data[start : self.ends[index]].tobytes().decode()
        except UnicodeDecodeError as error:
            place = f"{self.path}:{index + 1}"
            raise InputError(f"{place}: not UTF-8 text (byte {error.start} of the line); write it as UTF-8") from None


def open_lines(path: Path) -> Lines:
    """Find where the lines of a file are: they end at ``\\n`` alone, since JSON texts may hold other separators.

    The last line may lack its newline. Raises InputError where there is no such file.
    """
    if not path.is_file():
        raise InputError(f"there is no file {path}")
    if not path.stat().st_size:
        return Lines(path, np.zeros(0, np.uint8), np.zeros(0, np.int64))
    data = np.memmap(path, dtype=np.uint8, mode="r")
    blocks = range(0, len(data), _BLOCK)
    ends = [np.flatnonzero(data[start : start + _BLOCK] == _NEWLINE) + start for start in blocks]
    if data[-1] != _NEWLINE:
        ends.append(np.array([len(data)]))
    return Lines(path, data, np.concatenate(ends))
