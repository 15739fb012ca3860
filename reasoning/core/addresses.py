"""Inputs in object stores, brought here once: whole or absent, and known again by what the store says of them."""

import fcntl
import fnmatch
import os
import re
import shutil
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from reasoning.core.artifact import damage_of, write_files
from reasoning.core.errors import InputError
from reasoning.core.folders import folder_in_making, user_cache
from reasoning.core.hashes import hash_json
from reasoning.core.object_store import ObjectStore, is_address, open_store

_WILD = re.compile(r"[*?\[]")
_KEY = 32
"""Hex digits of a name in the cache."""


def fetched(path: str) -> str:
    """A path as it is, or that of the copy of what lies at an address, ``s3://BUCKET/FILE`` or ``gs://BUCKET/FOLDER``.

    An address may end in a glob pattern. What it names is listed once in a process, and fetched into
    ``XDG_CACHE_HOME/reasoning/objects`` unless it lies there with the names, sizes and times of the list. Copies that
    no process uses go, those used longest ago first, where all would take more than half of the room that their disk
    has for them. Raises InputError where nothing is there, and where the store stays away.
    """
    return _fetched(path) if is_address(path) else path


@cache
def _fetched(address: str) -> str:
    folder, pattern = _split(address)
    store = open_store(folder)
    found = store.objects()
    found = {name: told for name, told in found.items() if not pattern or fnmatch.fnmatchcase(name, pattern)}
    if not found:
        raise InputError(f"nothing lies at {address}; check the address and the rights there")
    place = _cache() / hash_json([address, found])[:_KEY]
    while not (_is_whole(place) and _held(place)):
        _make_room(place.parent, sum(size for size, _ in found.values()))
        try:
            with folder_in_making(place) as partial:
                _download(store, found, partial, Path(folder).name)
        except InputError:
            if not place.exists():  # Else another process has been faster.
                raise
    here = place / Path(folder).name
    return str(here / pattern if pattern else here)


def _split(address: str) -> tuple[str, str]:
    """The folder or object that an address names, and the pattern behind it."""
    address = address.rstrip("/")
    wild = _WILD.search(address)
    if wild is None:
        return address, ""
    folder = address[: wild.start()].rpartition("/")[0]
    return folder, address[len(folder) + 1 :]


def _cache() -> Path:
    try:
        return user_cache() / "objects"
    except RuntimeError:
        raise InputError("there is no home to fetch objects into; name a folder in XDG_CACHE_HOME") from None


def _is_whole(place: Path) -> bool:
    """Whether a copy is there and is what was fetched; one that isn't is removed."""
    if not place.exists():
        return False
    try:
        damaged = bool(damage_of(place))
    except InputError:
        damaged = True
    if damaged:
        shutil.rmtree(place)
    return not damaged


def _held(place: Path) -> bool:
    """Keeps a copy from being removed as long as this process lives, and marks it as used now; whether it is there."""
    try:
        descriptor = os.open(place, os.O_RDONLY)  # Open until the process ends, and with it the lock.
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        os.utime(place)
        return os.path.samestat(os.fstat(descriptor), os.stat(place))
    except FileNotFoundError:  # Removed since it was looked at.
        return False


def _make_room(cache: Path, wanted: int) -> None:
    """Removes copies that nobody holds, until with ``wanted`` more bytes they leave as much room as they take."""
    cache.mkdir(parents=True, exist_ok=True)
    copies = [path for path in cache.glob("*") if path.is_dir() and not path.name.startswith(".")]
    sizes = {copy: sum(file.stat().st_size for file in copy.rglob("*") if file.is_file()) for copy in copies}
    allowed = (sum(sizes.values()) + shutil.disk_usage(cache).free) // 2
    for copy in sorted(sizes, key=lambda copy: copy.stat().st_mtime):
        if sum(sizes.values()) + wanted <= allowed:
            return
        descriptor = os.open(copy, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(copy)
            del sizes[copy]
        except BlockingIOError:  # A process works with it.
            continue
        finally:
            os.close(descriptor)


def _download(store: ObjectStore, found: Mapping[str, tuple[int, str]], place: Path, name: str) -> None:
    for inner, (size, _) in found.items():
        target = place / name / inner if inner else place / name
        if not target.resolve().is_relative_to(place.resolve()):
            raise InputError(f"{store.url}: the object {inner} leads out of its folder; rename it")
        target.parent.mkdir(parents=True, exist_ok=True)
        if store.download(inner, target) is None or target.stat().st_size != size:
            raise InputError(f"{store.url}: {inner or name} changed while it was fetched; run the same command again")
    write_files(place)
