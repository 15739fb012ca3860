"""What lies at the paths that settings name, told by SHA-256, because a path alone doesn't say what was read."""

import glob
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol, runtime_checkable

from reasoning.core.addresses import fetched
from reasoning.core.errors import InputError
from reasoning.core.fingerprints import is_settled, stamp_of
from reasoning.core.hashes import hash_file, hash_json

Memory = dict[str, dict[str, str]]
"""By absolute path or pattern: ``stamp`` of the files there and the ``content`` that was found under it."""

_TOLD_BYTES = 1 << 28
"""Reading this much takes long enough to be announced."""

ABSENT = "absent"
"""The content of a path where nothing lies, or nothing that is a file or a folder."""


@runtime_checkable
class ReadsFiles(Protocol):
    """Settings that name files: what lies there is part of the identity of the stage that uses them."""

    def reads(self) -> tuple[str, ...]:
        """Paths of files and folders, or glob patterns (``**`` too) of files."""
        ...


def content_of(pattern: str, memory: Memory, note: Callable[[str], None]) -> str:
    """SHA-256 of what lies at a path or matches a pattern, in hex; ``ABSENT`` where nothing does.

    A file counts by its bytes, a folder by the names, sizes and hashes of all files under it, those in hidden folders
    left out, and a pattern likewise. All bytes
    are read unless ``memory``, which is brought up to date, knows them by name, size, times, inode and device, none of
    them changed within the last two seconds; ``note`` hears of long readings. Raises InputError for what can't be read.
    """
    pattern = fetched(pattern)
    try:
        files = sorted(_files(pattern))
        stamps = {name: stamp_of(path) for name, path in files}
    except ValueError:  # NUL in a path; whoever opens it says so
        return ABSENT
    except OSError as error:
        raise InputError(f"{error.filename or pattern} can't be read: {error.strerror}") from None
    if not stamps:
        return ABSENT
    place, stamp = os.path.abspath(pattern), hash_json(stamps)
    now = time.time_ns()
    known = memory.get(place, {})
    if known.get("stamp") == stamp and "content" in known:
        return known["content"]
    size = sum(each[0] for each in stamps.values())
    if size >= _TOLD_BYTES:
        note(f"reads the {size / 1e9:,.1f} GB at {pattern} once, to know them again")
    try:
        hashes = [[name, stamps[name][0], hash_file(path)] for name, path in files]
    except OSError as error:
        raise InputError(f"{error.filename or pattern} can't be read: {error.strerror}") from None
    content = hashes[0][2] if os.path.isfile(pattern) else hash_json(hashes)
    if all(is_settled(each, now) for each in stamps.values()):
        memory[place] = {"stamp": stamp, "content": content}
    return content


def matches(pattern: str) -> list[str]:
    """The paths that a glob pattern (``**`` too) matches; folders that exist as they are written are meant so.

    Brackets in the name of a folder, as in ``run[1]/*.jsonl``, then stand for themselves.
    """
    for folder in map(str, Path(pattern).parents):
        if glob.escape(folder) != folder and pattern.startswith(folder) and os.path.isdir(folder):
            return glob.glob(glob.escape(folder) + pattern[len(folder) :], recursive=True)
    return glob.glob(pattern, recursive=True)


def _files(pattern: str) -> Iterator[tuple[str, Path]]:
    """The regular files that a path or pattern leads to, each with its name from there."""
    path = Path(pattern)
    if path.is_file():
        yield "", path
    elif path.is_dir():
        yield from _files_under(path)
    else:
        for name in matches(pattern):
            if Path(name).is_file():
                yield name, Path(name)


def _files_under(folder: Path) -> Iterator[tuple[str, Path]]:
    seen: set[str] = set()
    for place, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        # Links may lead in a ring; hidden folders hold what git and the Hub's downloader note down.
        folders[:] = [] if real in seen else [name for name in folders if not name.startswith(".")]
        if real not in seen:
            seen.add(real)
            paths = (Path(place, name) for name in names)
            yield from ((str(path.relative_to(folder)), path) for path in paths if path.is_file())
