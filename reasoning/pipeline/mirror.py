"""A run's copy in an object store, from which the same command goes on where this machine is gone for good.

STORE/artifacts/<stage>-<hash>/…      the files of a finished stage
STORE/artifacts/<stage>-<hash>.json   its list of files with sizes and SHA-256, put last: without it there is no copy
STORE/begun/<stage>-<hash>.json       the same of an unfinished stage at one moment; each file is an object
STORE/begun/<stage>-<hash>/<sha256>   that is called by its content, so that one put of the list replaces the moment
STORE/owners/<machine>.…              renewed while a run holds the store

A store renames nothing, so what is whole says so by its list. The copy is made by a thread beside the work: a moment of
an unfinished stage is held by hard links, which take no room and no time, and copied at leisure.
"""

import os
import secrets
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from reasoning.core.artifact import MANIFEST
from reasoning.core.errors import InputError
from reasoning.core.files import PARTIAL_SUFFIX, is_alive, json_text, parse_json
from reasoning.core.folders import folder_in_making
from reasoning.core.hashes import hash_json
from reasoning.core.object_store import ObjectStore, open_store
from reasoning.pipeline.folder import set_aside
from reasoning.pipeline.held_files import hash_start, hold, sizes_of
from reasoning.pipeline.processes import is_main
from reasoning.pipeline.run import Watcher
from reasoning.stages.checkpoint import CHECKPOINTS, ON_THE_WAY

_ARTIFACTS, _BEGUN, _OWNERS = "artifacts", "begun", "owners"
_SECONDS = 30.0
_MISSED = 3
"""Renewals that an owner may miss before it counts as gone."""

Files = dict[str, dict[str, int | str]]
"""Path in a folder -> ``bytes`` and ``sha256``."""


@dataclass
class _Followed:
    """What of a stage at work is in the store: its files as they were ``seen`` last, and the ``digests`` of these."""

    seen: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    digests: Mapping[tuple[str, tuple[int, ...]], str] = field(default_factory=dict)


@dataclass
class Mirror:
    """The copy of a run's stages below one address; without an address, and on all processes but 0, nothing happens.

    ``seconds`` is how often a stage at work is looked at.
    """

    url: str
    watcher: Watcher
    seconds: float = _SECONDS
    _store: ObjectStore | None = None
    _owner: str = ""
    _following: dict[Path, _Followed] = field(default_factory=dict)
    _unpublished: list[Path] = field(default_factory=list)
    _complained: set[str] = field(default_factory=set)
    _round: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def open(self) -> Iterator[None]:
        """Holds the store while the run works; at the end, however it ends, all that is new is copied.

        Raises InputError where another run holds it, or where the end could not be copied; what is here is whole.
        """
        if not self.url or not is_main():
            yield
            return
        self._store = open_store(self.url)
        self._take()
        ended = threading.Event()
        thread = threading.Thread(target=self._beat, args=(ended,), daemon=True, name="mirror")
        thread.start()
        try:
            yield
        except BaseException:
            self._end(ended, thread, self.watcher.warn)
            raise
        self._end(ended, thread, _refuse)

    def _end(self, ended: threading.Event, thread: threading.Thread, tell: Callable[[str], None]) -> None:
        assert self._store is not None
        ended.set()
        thread.join()
        try:
            self._copy()
            self._store.remove(self._owner)
        except InputError as error:
            tell(f"what is here is whole, and its copy is not: {error}")

    def fetch(self, finished: Path, partial: Path) -> None:
        """Brings a stage here that the store has further than this folder: finished, or at a later checkpoint.

        One that is finished here alone is copied.
        """
        if self._store is None:
            return
        if finished.exists():
            if self._store.read(f"{_ARTIFACTS}/{finished.name}.json") is None:
                self.publish(finished)
            return
        files = self._listed(f"{_ARTIFACTS}/{finished.name}.json")
        if files is not None:
            wanted = {path: told for path, told in files.items() if path.split("/")[0] not in ON_THE_WAY}
            if self._bring(finished, {path: f"{_ARTIFACTS}/{finished.name}/{path}" for path in wanted}, wanted):
                self.watcher.note(f"{finished.name}: finished, from {self.url}")
                return
        files = self._listed(f"{_BEGUN}/{finished.name}.json")
        if files is None or (partial.exists() and _steps(files) <= _steps(sizes_of(partial))):
            return
        if partial.exists():
            self.watcher.note(f"{finished.name}: {self.url} is further; what was here is in {set_aside(partial)}")
        keys = {path: f"{_BEGUN}/{finished.name}/{told['sha256']}" for path, told in files.items()}
        if self._bring(partial, keys, files):
            self.watcher.note(f"{finished.name}: as far as it was copied to {self.url}")

    def follow(self, partial: Path) -> None:
        """From now on this stage at work is copied, whenever it has saved something new."""
        if self._store is not None:
            with self._round:
                self._following[partial] = _Followed()

    def publish(self, finished: Path) -> None:
        """Has a finished stage copied, while the work goes on."""
        if self._store is not None:
            with self._round:
                self._following = {at: told for at, told in self._following.items() if _name(at) != finished.name}
                self._unpublished.append(finished)

    def _take(self) -> None:
        """Becomes the owner. Another's mark that isn't renewed for a while belonged to a machine that is gone."""
        assert self._store is not None
        self._owner = f"{_OWNERS}/{socket.gethostname()}.{os.getpid()}.{secrets.token_hex(4)}"
        patience = timedelta(seconds=_MISSED * self.seconds)
        before: dict[str, bytes | None] = {}
        while True:
            self._renew()
            marks = self._store.changed(_OWNERS)
            now = marks.pop(self._owner)
            said = {name: self._store.read(name) for name in marks}
            for name, changed in marks.items():
                if said[name] != before.get(name, said[name]):
                    self._store.remove(self._owner)
                    raise InputError(f"{self.url} is in use by {name}; wait until it ends, or give another address")
                if now - changed > patience or _is_gone(name):
                    self._store.remove(name)
                    del said[name]
            if not said:
                return
            self.watcher.note(f"waits to see whether {', '.join(sorted(said))} is still at work in {self.url}")
            before = said
            time.sleep(self.seconds)

    def _renew(self) -> None:
        assert self._store is not None
        self._store.write(self._owner, secrets.token_bytes(8))

    def _beat(self, ended: threading.Event) -> None:
        while not ended.wait(self.seconds):
            with self._round:
                try:
                    self._renew()
                    self._copy()
                except InputError as error:
                    if str(error) not in self._complained:
                        self._complained.add(str(error))
                        self.watcher.warn(f"not copied yet, and tried again: {error}")

    def _copy(self) -> None:
        while self._unpublished:
            self._copy_finished(self._unpublished[0])
            del self._unpublished[0]
        for partial, followed in self._following.items():
            if partial.exists():
                self._copy_begun(partial, followed)

    def _copy_finished(self, folder: Path) -> None:
        assert self._store is not None
        listing = f"{_ARTIFACTS}/{folder.name}.json"
        self._store.remove(listing)
        files: Files = {}
        for path, stamp in sizes_of(folder).items():
            digest = self._store.upload(f"{_ARTIFACTS}/{folder.name}/{path}", folder / path, stamp[0])
            files[path] = {"bytes": stamp[0], "sha256": digest}
        self._list(listing, files)
        self._store.remove(f"{_BEGUN}/{folder.name}.json")
        for name in self._store.changed(f"{_BEGUN}/{folder.name}"):
            self._store.remove(name)

    def _copy_begun(self, partial: Path, followed: _Followed) -> None:
        assert self._store is not None
        if sizes_of(partial) == followed.seen:
            return
        name = _name(partial)
        there = self._store.changed(f"{_BEGUN}/{name}")
        known = {at: digest for at, digest in followed.digests.items() if f"{_BEGUN}/{name}/{digest}" in there}
        held = partial.with_name(f".{name}.mirror{PARTIAL_SUFFIX}")
        shutil.rmtree(held, ignore_errors=True)
        try:
            stamps, files = hold(partial, held, known), Files()
            for path, stamp in stamps.items():
                digest = known.get((path, stamp)) or hash_start(held / path, stamp[0])
                key = f"{_BEGUN}/{name}/{digest}"
                if key not in there and self._store.upload(key, held / path, stamp[0]) != digest:
                    return  # It was written to in place; the next moment may be a quiet one.
                files[path] = {"bytes": stamp[0], "sha256": digest}
            self._list(f"{_BEGUN}/{name}.json", files)
            for key in there.keys() - {f"{_BEGUN}/{name}/{told['sha256']}" for told in files.values()}:
                self._store.remove(key)
            followed.seen = stamps
            followed.digests = {(path, stamp): str(files[path]["sha256"]) for path, stamp in stamps.items()}
        finally:
            shutil.rmtree(held, ignore_errors=True)

    def _list(self, name: str, files: Files) -> None:
        assert self._store is not None
        self._store.write(name, json_text({"files": files, "hash": hash_json(files)}).encode())

    def _listed(self, name: str) -> Files | None:
        assert self._store is not None
        content = self._store.read(name)
        if content is None:
            return None
        with suppress(InputError, UnicodeDecodeError, KeyError, TypeError):
            told = parse_json(content.decode(), f"{self.url}/{name}")
            if told["hash"] == hash_json(told["files"]):
                return told["files"]
        self.watcher.warn(f"{self.url}/{name} is not as it was written; what it lists is not used")
        return None

    def _bring(self, folder: Path, keys: Mapping[str, str], files: Files) -> bool:
        """Whether all files came as they were listed; the folder is then here, else it isn't."""
        assert self._store is not None
        folder.parent.mkdir(parents=True, exist_ok=True)
        damage = ""
        with suppress(_Damaged), folder_in_making(folder) as place:
            place.mkdir()
            for path, key in keys.items():
                target = place / path
                if not target.resolve().is_relative_to(place.resolve()):
                    damage = f"{path} leads out of it"
                else:
                    target.parent.mkdir(parents=True, exist_ok=True)
                    digest = self._store.download(key, target)
                    if digest != files[path]["sha256"]:
                        damage = f"{key} {'is gone' if digest is None else 'is not as it was written'}"
                if damage:
                    raise _Damaged
        if damage:
            self.watcher.warn(f"damaged copy of {folder.name} in {self.url}: {damage}; it is not used")
        return not damage


def _name(partial: Path) -> str:
    """What a stage's folder is called once the stage has finished."""
    return partial.name.removeprefix(".").removesuffix(PARTIAL_SUFFIX)


def _is_gone(owner: str) -> bool:
    """Whether a mark is of this machine, and of a process that it no longer has."""
    *machine, process, _ = owner.removeprefix(f"{_OWNERS}/").split(".")
    return ".".join(machine) == socket.gethostname() and not is_alive(int(process))


class _Damaged(Exception):
    """Ends a folder that can't be completed."""


def copy_run_files(url: str, out: Path) -> None:
    """Puts what lies in a run's folder itself, its report among it, beside the stages in the store."""
    store = open_store(url)
    for file in sorted(out.iterdir()):
        if file.is_file() and not file.name.startswith("."):
            store.upload(file.name, file, file.stat().st_size)


def _steps(paths: Iterable[str]) -> list[str]:
    """The checkpoints among the files of a stage at work; of two lists that of the further stage is the greater."""
    whole = {path.split("/")[1] for path in paths if path.startswith(f"{CHECKPOINTS}/") and path.endswith(MANIFEST)}
    return sorted(whole, reverse=True)[:1]


def _refuse(complaint: str) -> None:
    raise InputError(complaint)
