"""Pointers of Git LFS, which lie in the place of large files that were never fetched."""

import os
from pathlib import Path

from reasoning.core.errors import InputError

_BEGINNING = b"version https://git-lfs.github.com/spec/"


def refuse_pointer(path: Path) -> None:
    """Raises InputError where only a pointer lies in a file's place; OSError as ``open`` does.

    For readers that don't go through ``core.files.read_file``, which refuses pointers itself.
    """
    with open(path, "rb") as file:
        refuse_pointer_text(path, file.read(len(_BEGINNING)))


def refuse_pointer_text(path: str | os.PathLike[str], content: bytes) -> None:
    """Raises InputError where a file's content, or its beginning, is a pointer."""
    if content.startswith(_BEGINNING):
        raise InputError(f"{path} is only a pointer of Git LFS to the file; fetch the file itself with 'git lfs pull'")
