"""Models that are written to object stores: there whole, or not there for whoever reads.

A store renames nothing, so the order says it: the config, without which nobody opens a model, comes when all else is
there, and last the list of files with their SHA-256. Until then an object of its own marks what lies there as ours.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from reasoning.core.artifact import RECORD, write_files
from reasoning.core.errors import InputError
from reasoning.core.object_store import ObjectStore, is_address, open_store
from reasoning.stages.checkpoint import CONFIG

_BEGUN = "begun"
"""The object that is there while a folder is being copied, and where that was cut off."""

_CONFIGS = (CONFIG, "config.json", "adapter_config.json")


@contextmanager
def written_to(out: str) -> Iterator[Path]:
    """The folder to make: ``out`` itself, or, for an address, one whose files are copied there at the end.

    Raises InputError where something else lies at the address, and where the store stays away: then the same command,
    given again, completes what is there.
    """
    if not is_address(out):
        yield Path(out)
        return
    store = open_store(out)
    there = store.objects()
    if RECORD in there or (there and _BEGUN not in there):
        raise InputError(f"{out} holds something already; give another address, or remove what is there")
    with tempfile.TemporaryDirectory(prefix="reasoning-") as room:
        folder = Path(room) / Path(out).name
        yield folder
        if not (folder / RECORD).exists():
            write_files(folder)
        _copy(store, folder, set(there))


def _copy(store: ObjectStore, folder: Path, there: set[str]) -> None:
    store.write(_BEGUN, b"")
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    for name in there - files.keys() - {_BEGUN}:  # Of an earlier command, cut off, that made other files.
        store.remove(name)
    for name in sorted(files, key=lambda name: (name == RECORD, name in _CONFIGS, name)):
        store.upload(name, files[name], files[name].stat().st_size)
    store.remove(_BEGUN)
