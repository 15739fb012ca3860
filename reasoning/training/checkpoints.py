"""Checkpoints that are whole or absent, and that are never believed without a check: every Orbax call is in this file.

A checkpoint is a folder: what Orbax writes (so that ``ocp.load(folder)`` reads it too), ``cursor.json`` for training
state, and ``manifest.json`` with size and SHA-256 of every file and path, dtype and shape of every leaf. Orbax itself
gives back flipped bits without a word. The folder has the suffix ``.partial`` until the manifest, written last, is on
disk. In a run of several processes all of them call every function here; the folder is on storage that all can see.
"""

import errno
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from orbax.checkpoint import v1 as ocp

from reasoning.core.artifact import MANIFEST
from reasoning.core.errors import InputError, remedy
from reasoning.core.files import PARTIAL_SUFFIX, json_text, read_json, sync, sync_tree, write_atomic, write_json
from reasoning.core.fingerprints import difference, fingerprints
from reasoning.core.hashes import hash_json
from reasoning.core.text import printable
from reasoning.training.first_process import on_first_process
from reasoning.training.storage_errors import plain_errors

CURSOR = "cursor.json"
"""The file of a checkpoint that holds what isn't an array: where the data stands."""

_STEP_NAME = re.compile(r"step_(\d{8,})")
_COMPLAINTS_SHOWN = 5
_NO_STEP = -1
_TEN_YEARS = 10 * 365 * 24 * 3600
_SLICE = 2**20
"""Bytes of an array that are worth a replica's own program to slice them off."""


def _to_stderr(message: str) -> None:
    print(printable(f"warning: {message}"), file=sys.stderr, flush=True)


@dataclass(frozen=True)
class Checkpointer:
    """The checkpoints of one stage in training, ``folder/step_00000100/`` and so on.

    The newest ``keep`` are kept, and for good every one whose step is a multiple of ``keep_every`` (0: none is).
    ``warn`` gets one line for each damaged checkpoint that was passed over.
    """

    folder: Path
    keep: int = 2
    keep_every: int = 0
    warn: Callable[[str], None] = _to_stderr

    def __post_init__(self) -> None:
        if self.keep < 1:
            raise InputError(f"{self.keep} checkpoints are to be kept in {self.folder}; keep at least 1")

    def save(self, step: int, state: Any, cursor: Any, beside: Mapping[str, bytes] | None = None) -> None:
        """Save everything that a resumed run needs, and return when it is safely on disk.

        ``state`` is a pytree of arrays, typed PRNG keys included; ``cursor`` is JSON-able (where the data stands), and
        ``beside`` are further files by their names; process 0's are kept. Raises InputError where it can't be written;
        what was saved before is then still there.
        """
        _wait(self.begin(step, state, cursor, beside))

    def begin(
        self, step: int, state: Any, cursor: Any, beside: Mapping[str, bytes] | None = None
    ) -> Callable[[], None]:
        """Begins a ``save``: ``state`` may change, and be donated, as soon as this returns.

        What it gives is to be called once by every process, in any thread, and returns when the checkpoint is on disk,
        or raises. Until then no other save of this folder may begin.
        """
        where = json_text(cursor)
        intact = self.latest_step()
        with self._refusing(step, intact):
            # First what a kill left, last what is older: between the two the newest whole checkpoint stays.
            on_first_process(lambda: _remove_partials(self.folder, _STEP_NAME.pattern))
            complete = _begin(self.path(step), state, {CURSOR: where.encode(), **(beside or {})})

        def rest() -> None:
            with self._refusing(step, intact):
                complete()
                if jax.process_index() == 0:
                    self._remove_surplus(step)

        return rest

    def restore(self, abstract_state: Any) -> tuple[int, Any, Any] | None:
        """Give back step, state and cursor of the newest checkpoint whose every file is as it was written.

        ``abstract_state`` has the structure of ``state`` with a ShapeDtypeStruct and a sharding for each leaf; the
        arrays come back on those devices, which need not be those they were saved from. None where there is no valid
        checkpoint. Raises InputError where the checkpoint holds other leaves, shapes or dtypes than asked for.
        """
        step = on_first_process(self._newest_valid)
        if step == _NO_STEP:
            return None
        return step, _load(self.path(step), abstract_state), read_json(self.path(step) / CURSOR)

    def steps(self) -> list[int]:
        """The saved steps in rising order, damaged ones included, unfinished ones not."""
        if not self.folder.is_dir():
            return []
        return sorted(int(name[1]) for path in self.folder.iterdir() if (name := _STEP_NAME.fullmatch(path.name)))

    def latest_step(self) -> int | None:
        """The newest step that has a manifest; only ``restore`` checks whether its files agree with it."""
        return max((step for step in self.steps() if (self.path(step) / MANIFEST).is_file()), default=None)

    def path(self, step: int) -> Path:
        """The folder of a step's checkpoint, which ``load_params`` reads too."""
        return self.folder / f"step_{step:08d}"

    @contextmanager
    def _refusing(self, step: int, intact: int | None) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            kept = "no earlier checkpoint exists" if intact is None else f"the checkpoint of step {intact} is intact"
            raise InputError(
                f"could not save step {step} to {self.folder}: {error}; {kept}; "
                f"{remedy(error)} and run the same command again"
            ) from error

    def _newest_valid(self) -> int:
        damaged: list[str] = []
        valid = _NO_STEP
        for step in reversed(self.steps()):
            damage = _damage(self.path(step))
            if damage is None:
                valid = step
                break
            damaged.append(damage)
        used = "no valid one is left, starting over" if valid == _NO_STEP else f"using step {valid} instead"
        for damage in damaged:
            self.warn(f"damaged checkpoint: {damage}; {used}")
        return valid

    def _remove_surplus(self, saved: int) -> None:
        for step in self.steps():
            if step > saved:
                self.warn(f"removing {self.path(step)}: it belongs to an abandoned course of this run, now at {saved}")
                shutil.rmtree(_set_aside(self.path(step)))
        newest = self.steps()[-self.keep :]
        for step in self.steps():
            if step not in newest and not (self.keep_every and step % self.keep_every == 0):
                shutil.rmtree(_set_aside(self.path(step)))


def save_params(folder: Path, params: Any) -> None:
    """Save the parameters of a finished model as ``folder``, replacing what is there once the new one is whole.

    ``params`` is a nested dict of arrays. Raises InputError where it can't be written.
    """
    try:
        on_first_process(lambda: _remove_partials(folder.parent, re.escape(folder.name)))
        _wait(_begin(folder, params, {}))
    except OSError as error:
        raise InputError(
            f"could not save parameters to {folder}: {error}; {remedy(error)} and run the same command again"
        ) from error


def load_params(folder: Path, abstract_params: Any, inside: str = "") -> Any:
    """Read back what ``save_params`` wrote, onto the devices that the leaves of ``abstract_params`` name.

    Of a larger tree, such as a training state, only what lies ``inside`` one entry is read. Raises InputError that
    names the file where anything is missing or damaged, and the leaves where paths, shapes or dtypes are not those
    asked for (``params_shapes`` tells what is there).
    """

    def check() -> None:
        damage = _damage(folder)
        if damage is not None:
            raise InputError(f"damaged checkpoint: {damage}; make it again, or copy it again from where it came")

    on_first_process(check)
    return _load(folder, {inside: abstract_params}, inside)[inside] if inside else _load(folder, abstract_params)


def params_shapes(folder: Path) -> dict[str, Any]:
    """The nested dict of ShapeDtypeStructs (no shardings) of saved parameters, from the manifest alone."""
    shapes: dict[str, Any] = {}
    for leaf in _read_manifest(folder)["leaves"]:
        *outer, name = leaf["path"]
        place = shapes
        for key in outer:
            place = place.setdefault(key, {})
        place[name] = jax.ShapeDtypeStruct(tuple(leaf["shape"]), jnp.dtype(leaf["dtype"]))
    return shapes


def _begin(final: Path, tree: Any, records: Mapping[str, bytes]) -> Callable[[], None]:
    """All processes have their arrays written; what this gives waits for all, and process 0 adds records and manifest.

    The folder then gets its name. No other collective work is done there, so that it may go on beside a step's.
    """
    leaves = _leaves(tree)
    partial = final.with_name(final.name + PARTIAL_SUFFIX)
    on_first_process(lambda: _check_room(final.parent, tree))
    with plain_errors():
        wait_for_arrays = _orbax_save(partial, tree)

    def complete() -> None:
        with plain_errors():
            wait_for_arrays()
        if jax.process_index() != 0:
            return
        for name, content in records.items():
            write_atomic(partial / name, content)
        manifest = {"files": _fingerprints(partial), "leaves": leaves}
        # On disk before the manifest is written, so that a manifest never vouches for files that a power cut can lose.
        sync_tree(partial)
        write_json(partial / MANIFEST, manifest | {"hash": hash_json(manifest)})
        # A rename can't replace a folder that isn't empty.
        replaced = _set_aside(final) if final.exists() else None
        os.rename(partial, final)
        sync(final.parent)
        if replaced is not None:
            shutil.rmtree(replaced)

    return complete


def _wait(complete: Callable[[], None]) -> None:
    """Lets all processes complete what they have begun; where process 0 can't, all fail."""
    if jax.process_index() != 0:
        complete()
    on_first_process(complete)


def _orbax_save(folder: Path, tree: Any) -> Callable[[], None]:
    """Begins to write arrays, none of which JAX donates while it is read; what this gives waits for all processes."""
    context = ocp.Context()
    # Made in the background, a folder that can't be made shows up as a time-out of whoever waits for it.
    context.async_options.create_directories_asynchronously = False
    # Counted by the clock of the day, which jumps; and a slow disk is none that has failed.
    context.async_options.timeout_secs = _TEN_YEARS
    # Replicas share the writing of an array by slices, each of which is a program of its own to compile.
    context.array_options.saving.min_slice_bytes_for_replica_parallel = _SLICE
    with context:
        return ocp.save_async(str(folder.absolute()), tree).result


def _load(folder: Path, abstract_tree: Any, inside: str = "") -> Any:
    leaves = [leaf for leaf in _read_manifest(folder)["leaves"] if not inside or leaf["path"][0] == inside]
    saved = {_name(leaf): _describe(leaf) for leaf in leaves}
    wanted = {_name(leaf): _describe(leaf) for leaf in _leaves(abstract_tree)}
    differences = [
        f"{name}: saved {saved.get(name, 'nothing')}, asked for {wanted.get(name, 'nothing')}"
        for name in sorted(saved.keys() | wanted.keys())
        if saved.get(name) != wanted.get(name)
    ]
    if differences:
        more = len(differences) - _COMPLAINTS_SHOWN
        shown = "; ".join(differences[:_COMPLAINTS_SHOWN]) + (f"; and {more} more" if more > 0 else "")
        raise InputError(
            f"{folder} does not fit this model: {shown}; use the settings that it was made with, or another folder"
        )
    context = ocp.Context()
    context.pytree_options.loading.partial_load = bool(inside)
    with context:
        return ocp.load(str(folder.absolute()), abstract_tree)


def _leaves(tree: Any) -> list[dict[str, Any]]:
    leaves = []
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        keys = [getattr(key, "key", getattr(key, "idx", getattr(key, "name", str(key)))) for key in path]
        if not hasattr(leaf, "dtype"):
            raise TypeError(f"{jax.tree_util.keystr(path)} is a {type(leaf).__name__}; checkpoints hold arrays only")
        leaves.append({"path": keys, "dtype": str(leaf.dtype), "shape": list(leaf.shape)})
    return leaves


def _name(leaf: dict[str, Any]) -> str:
    return "/".join(map(str, leaf["path"]))


def _describe(leaf: dict[str, Any]) -> str:
    return f"{leaf['dtype']}{leaf['shape']}"


def _fingerprints(folder: Path) -> dict[str, dict[str, Any]]:
    return fingerprints(folder, (path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST))


def _read_manifest(folder: Path) -> dict[str, Any]:
    manifest = read_json(folder / MANIFEST)
    if not isinstance(manifest, dict) or manifest.pop("hash", None) != hash_json(manifest):
        raise InputError(f"{folder / MANIFEST} is not as it was written")
    return manifest


def _damage(folder: Path) -> str | None:
    """The first file that is not as it was written, in words, or None where all are."""
    try:
        expected = _read_manifest(folder)["files"]
    except (InputError, OSError) as error:
        return str(error)
    with ThreadPoolExecutor() as pool:  # hashlib lets go of the interpreter lock
        damages = pool.map(lambda name: difference(folder / name, expected[name], None), expected)
        return next(filter(None, damages), None)


def _remove_partials(folder: Path, name: str) -> None:
    """Make the folder, and clear what killed saves of these names left: Orbax adds a suffix of its own on top."""
    folder.mkdir(parents=True, exist_ok=True)
    left = re.compile(rf"{name}(\.old)?{re.escape(PARTIAL_SUFFIX)}(\..*)?")
    for path in folder.iterdir():
        if left.fullmatch(path.name):
            shutil.rmtree(path)


def _check_room(folder: Path, tree: Any) -> None:
    """Refuse in time, and leave the last of a disk to others. Some network storage has no size to tell (0)."""
    needed = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))
    room = shutil.disk_usage(folder)
    if room.total and room.free < needed:
        raise OSError(errno.ENOSPC, f"{os.strerror(errno.ENOSPC)}: {needed:,} bytes needed, {room.free:,} free")


def _set_aside(folder: Path) -> Path:
    """Take a checkpoint's name away, so that a kill while it is deleted leaves nothing that looks damaged."""
    doomed = folder.with_name(f"{folder.name}.old{PARTIAL_SUFFIX}")
    os.rename(folder, doomed)
    return doomed
