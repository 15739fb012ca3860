"""Walks a GGUF file's header within bounds, before the library, which trusts the counts in it, sees the file.

A header is: magic, version, counts of tensors and of fields; fields (key, type, value); tensors (name, sizes, type,
place).
The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md.
"""

import mmap
from dataclasses import dataclass
from pathlib import Path

from reasoning.core.errors import InputError
from reasoning.core.pointers import refuse_pointer

_MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_MOST_ENTRIES = 1 << 22
"""Of all lists together, each of which the library holds as an array of its own; large vocabularies have a third."""
_MOST_TENSORS = 1 << 17
_MOST_SIZES = 4
"""Axes of a tensor in llama.cpp."""

_TEXT, _LIST = 8, 9
_SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
"""Bytes of the types that are numbers or truths."""


@dataclass
class _Walk:
    """The file's bytes, how far the walk is, and how many entries of lists it has seen."""

    data: mmap.mmap
    place: int = len(_MAGIC)
    entries: int = 0

    def number(self, size: int) -> int:
        """The next whole number of so many bytes."""
        self.skip(size)
        return int.from_bytes(self.data[self.place - size : self.place], "little")

    def skip(self, count: int) -> None:
        """Passes over bytes, all of which must be there."""
        if count > len(self.data) - self.place:
            raise ValueError(f"a value of {count:,} bytes at byte {self.place:,} of {len(self.data):,}")
        self.place += count

    def text(self) -> None:
        """Passes over a text."""
        self.skip(self.number(8))

    def value(self, kind: int) -> None:
        """Passes over a field's value."""
        if kind == _TEXT:
            self.text()
        elif kind in _SIZES:
            self.skip(_SIZES[kind])
        elif kind == _LIST:
            self.list()
        else:
            raise ValueError(f"a field of the unknown type {kind}")

    def list(self) -> None:
        """Passes over a list of texts or numbers."""
        kind, count = self.number(4), self.number(8)
        self.entries += count
        if self.entries > _MOST_ENTRIES:
            raise ValueError(f"lists of {self.entries:,} entries, where at most {_MOST_ENTRIES:,} can be")
        if kind == _TEXT:
            for _ in range(count):
                self.text()
        elif kind in _SIZES:
            self.skip(count * _SIZES[kind])
        else:
            raise ValueError(f"a list of the unknown type {kind}")


def check_header(path: Path) -> None:
    """Raises InputError where a file is no GGUF file, or its header claims more than the file or any model can hold."""
    try:
        refuse_pointer(path)
        with path.open("rb") as file:
            if file.read(len(_MAGIC)) != _MAGIC:
                raise InputError(f"{path} is no GGUF file; name one that llama.cpp reads")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                _walk(_Walk(data))
    except OSError as error:
        raise InputError(f"could not read {path}: {error}") from None
    except ValueError as error:
        raise InputError(f"{path} is cut off or damaged: {error}; fetch it again") from None


def _walk(walk: _Walk) -> None:
    version = walk.number(4)
    if version not in _VERSIONS:
        raise ValueError(f"version {version:,}, where {' and '.join(map(str, _VERSIONS))} can be read")
    tensors, fields = walk.number(8), walk.number(8)
    if tensors > _MOST_TENSORS:
        raise ValueError(f"{tensors:,} tensors, where at most {_MOST_TENSORS:,} can be")
    for _ in range(fields):
        walk.text()
        walk.value(walk.number(4))
    for _ in range(tensors):
        walk.text()
        sizes = walk.number(4)
        if sizes > _MOST_SIZES:
            raise ValueError(f"a tensor of {sizes:,} axes, where at most {_MOST_SIZES} can be")
        walk.skip(8 * sizes + 4 + 8)
