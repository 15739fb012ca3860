"""The files of a stage at work as they stand at one moment, held by hard links while they are copied."""

import hashlib
import os
import shutil
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from reasoning.core.files import PARTIAL_SUFFIX
from reasoning.stages.checkpoint import ON_THE_WAY

_PIECE = 8 << 20


def sizes_of(folder: Path) -> dict[str, tuple[int, ...]]:
    """Path -> size, time and inode of every file that isn't unfinished; folders may go meanwhile."""
    found = {}
    for place, folders, names in os.walk(folder):  # It passes over a folder that is no longer there.
        folders[:] = [name for name in folders if _is_finished(name)]
        for file in (Path(place, name) for name in names if _is_finished(name)):
            with suppress(FileNotFoundError):
                found[str(file.relative_to(folder))] = _stamp(file)
    return dict(sorted(found.items()))


def _is_finished(name: str) -> bool:
    return not name.startswith(".") and PARTIAL_SUFFIX not in name


def hold(partial: Path, held: Path, known: Collection[tuple[str, tuple[int, ...]]]) -> dict[str, tuple[int, ...]]:
    """Hard links to a stage's files, checkpoints first: what is written beside them is then of their step or later.

    Those that are ``known``, and so lie in the store, are only noted: a link would change the times of their inodes,
    by which others know that they needn't be read again.
    """
    stamps = {}
    for on_the_way in (True, False):
        for path, stamp in sizes_of(partial).items():
            if (path.split("/")[0] in ON_THE_WAY) is not on_the_way:
                continue
            if (path, stamp) in known:
                stamps[path] = stamp
                continue
            target = held / path
            target.parent.mkdir(parents=True, exist_ok=True)
            with suppress(FileNotFoundError):
                _link(partial / path, target)
                stamps[path] = _stamp(target)
    # A checkpoint that was removed meanwhile may have been caught in part.
    present = sizes_of(partial).keys()
    return {path: stamp for path, stamp in stamps.items() if path in present}


def _link(file: Path, target: Path) -> None:
    try:
        os.link(file, target)
    except FileNotFoundError:
        raise
    except OSError:  # Not every filesystem has hard links.
        shutil.copyfile(file, target)


def _stamp(file: Path) -> tuple[int, ...]:
    status = file.stat()
    return status.st_size, status.st_mtime_ns, status.st_ino


def hash_start(file: Path, size: int) -> str:
    """SHA-256, as hex, of the first bytes of a file, which may have grown since they were counted."""
    digest = hashlib.sha256()
    with open(file, "rb") as source:
        while size and (piece := source.read(min(_PIECE, size))):
            digest.update(piece)
            size -= len(piece)
    return digest.hexdigest()
