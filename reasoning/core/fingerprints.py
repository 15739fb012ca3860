"""What files were when they were written, by size and SHA-256, and in which way one isn't that any more."""

import os
import stat
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Any

from reasoning.core.errors import InputError
from reasoning.core.files import read_json, write_json
from reasoning.core.hashes import hash_file
from reasoning.core.text import shortened

_SETTLED_SECONDS = 2
"""How old a change must be before a file system's clock tells it from the next one."""

_SHOWN_CHARACTERS = 500

_VOUCHER = ".sha256"
"""Ends the name of what ``vouch`` writes beside a file."""


def fingerprints(folder: Path, files: Iterable[Path]) -> dict[str, dict[str, Any]]:
    """Size and SHA-256 of files under a folder, by their paths in it; all bytes are read, several files at a time."""
    paths = sorted(files)
    with ThreadPoolExecutor() as pool:  # hashlib lets go of the interpreter lock
        hashes = list(pool.map(hash_once, paths))
    return {
        path.relative_to(folder).as_posix(): {"bytes": path.stat().st_size, "sha256": digest}
        for path, digest in zip(paths, hashes, strict=True)
    }


Stamp = tuple[int, int, int, int, int]


def stamp_of(path: Path) -> Stamp:
    """Size, times of change of content and inode, inode and device of a file. Raises OSError as ``os.stat``."""
    status = os.stat(path)
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_dev


def is_settled(stamp: Stamp, now: int) -> bool:
    """Whether a file's last change is so old at ``now``, in nanoseconds, that a further one would change its stamp."""
    return max(stamp[1:3]) < now - _SETTLED_SECONDS * 10**9


def hash_once(path: Path) -> str:
    """SHA-256 of a file, read once in a process for as long as size, times and inode stay. OSError as ``open`` does."""
    stamp = stamp_of(path)
    return _remembered(path, stamp) if is_settled(stamp, time.time_ns()) else hash_file(path)


@lru_cache(maxsize=1 << 16)
def _remembered(path: Path, stamp: Stamp) -> str:
    return hash_file(path)


def difference(file: Path, expected: Mapping[str, Any], largest: int | None) -> str:
    """How a file differs from its fingerprint, in words; empty where it doesn't.

    Of one with more than ``largest`` bytes (None: any number) only the size is compared, and of one whose fingerprint
    has no ``sha256``.
    """
    name = shortened(str(file), _SHOWN_CHARACTERS)
    size = expected["bytes"]
    try:
        status = os.stat(file)
    except OSError:
        return f"{name} does not exist"
    if not stat.S_ISREG(status.st_mode):
        return f"{name} is no file"
    if status.st_size != size:
        return f"{name} has {status.st_size} bytes, {size} were written"
    if "sha256" not in expected or (largest is not None and size > largest):
        return ""
    try:
        same = hash_once(file) == expected["sha256"]
    except OSError as error:
        return f"{name} can't be read: {error.strerror}"
    return "" if same else f"{name} has other content than was written (SHA-256 differs)"


def vouch(file: Path) -> None:
    """Says, beside a file of unfinished work, that it is whole and what it holds, for whoever goes on with the work."""
    write_json(_voucher(file), fingerprints(file.parent, [file]))


def vouched(file: Path, warn: Callable[[str], None]) -> bool:
    """Whether a file is there as ``vouch`` found it; ``warn`` hears of one that has changed, so it is made again."""
    if not _voucher(file).exists():
        return False
    try:
        told = difference(file, read_json(_voucher(file))[file.name], None)
    except (InputError, KeyError, TypeError):
        told = f"{shortened(str(_voucher(file)), _SHOWN_CHARACTERS)} is not as it was written"
    if told:
        warn(f"damaged: {told}; it is made again")
    return not told


def _voucher(file: Path) -> Path:
    return file.with_name(file.name + _VOUCHER)
