"""Folders that are whole or absent: made under a name of their own, and renamed when all is on disk."""

import contextlib
import errno
import glob
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from reasoning.core.errors import InputError, remedy
from reasoning.core.files import PARTIAL_SUFFIX, SETTLED_SECONDS, lock, sync, sync_tree

_TRIES, _AGAIN_SECONDS = 40, 0.05


def user_cache() -> Path:
    """What this project keeps between commands, in ``XDG_CACHE_HOME`` or ``~/.cache``. RuntimeError without a home."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "reasoning"


def publish_folder(temporary: Path, final: Path) -> None:
    """Give a finished folder its final name, so that whoever sees that name sees all of the content.

    Both must lie on one file system. Raises InputError where ``final`` exists already, and OSError as ``os.rename``
    does; in both cases ``temporary`` stays.
    """
    taken = _taken(final)
    if final.exists():
        raise taken
    sync_tree(temporary)
    try:
        os.rename(temporary, final)
    except OSError as error:
        raise taken if error.errno in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR) else error from None
    sync(final.parent)


def _taken(final: Path) -> InputError:
    return InputError(f"{final} exists already; move it away, or write to another folder")


def check_free(final: Path) -> None:
    """Raises InputError where a folder that is to be made exists; what killed makers of it left is removed first."""
    _remove_unfinished(final)
    if final.exists():
        raise _taken(final)


@contextlib.contextmanager
def folder_in_making(final: Path) -> Iterator[Path]:
    """Give a name to write a folder under; it becomes ``final`` at the end, or is removed.

    Nothing lies there yet, not even the folder, and nobody else is given this name: of several that make one folder the
    first to end gives it, and the others find it there. What killed ones left is removed. Raises InputError where
    ``final`` exists by then, and, instead of any OSError, where it can't be written.
    """
    own = final.with_name(f".{final.name}.{secrets.token_hex(4)}{PARTIAL_SUFFIX}")
    try:
        _remove_unfinished(final)
        with lock(own):
            try:
                yield own / final.name
                publish_folder(own / final.name, final)
            finally:
                _remove(own)
    except OSError as error:
        raise InputError(f"could not write {final}: {error}; {remedy(error)} and run the same command again") from error


def _remove(folder: Path) -> None:
    """Removes a folder, into which threads of a library may still write that were cut off."""
    for _ in range(_TRIES):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(_AGAIN_SECONDS)


def _remove_unfinished(final: Path) -> None:
    for left in final.parent.glob(f".{glob.escape(final.name)}.*{PARTIAL_SUFFIX}"):
        _remove_left(left)


def _remove_left(folder: Path) -> None:
    """Removes a folder in the making unless a process holds it; one that was made just now may be about to be held."""
    try:
        rest = folder.stat().st_mtime + SETTLED_SECONDS - time.time()
    except OSError:  # Another one was faster.
        return
    time.sleep(min(max(rest, 0.0), SETTLED_SECONDS))
    if folder.exists():
        with contextlib.suppress(InputError), lock(folder):
            shutil.rmtree(folder, ignore_errors=True)
