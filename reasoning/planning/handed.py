"""Runs handed to other processes, which read the experiment's file again: only what was changed is sent to them.

So records may hold what can't be pickled, a lambda say, and modules that lie beside the file are found.
"""

import hashlib
import io
import json
import os
import pickle
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from glob import glob
from pathlib import Path
from typing import Any

from reasoning.core.errors import InputError
from reasoning.experiment.reader import Experiment, read_experiment
from reasoning.pipeline.environment import code_version, current_environment
from reasoning.pipeline.run import Run
from reasoning.pipeline.run_experiment import run_of

_PLAIN = (type(None), bool, int, float, str, bytes)
_LONGEST_PATH = 1000


@dataclass(frozen=True)
class Source:
    """What another process needs to read an experiment again, and ``text`` by which it knows that it is the same."""

    path: Path
    overrides: tuple[str, ...]
    text: str

    @classmethod
    def of(cls, experiment: Experiment, overrides: tuple[str, ...]) -> "Source":
        """An experiment that was read with these overrides."""
        return cls(experiment.path, overrides, _text(experiment))


class _Pickler(pickle.Pickler):
    def __init__(self, file: io.BytesIO, numbers: Mapping[int, int]):
        super().__init__(file)
        self.numbers = numbers

    def persistent_id(self, obj: Any) -> int | None:
        return self.numbers.get(id(obj))


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, pieces: list[Any]):
        super().__init__(file)
        self.pieces = pieces

    def persistent_load(self, pid: Any) -> Any:
        return self.pieces[pid]


def hand(own: Run, run: Run) -> bytes:
    """``run`` for ``take``: what it has of the experiment's ``own`` run is told by its number there.

    Raises InputError where a record that differs can't be pickled.
    """
    numbers = {id(piece): number for number, piece in reversed(list(enumerate(_pieces(own))))}
    file = io.BytesIO()
    try:
        _Pickler(file, numbers).dump(run)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise InputError(f"the run can't be handed to another process: {error}; plan without --quick") from error
    return file.getvalue()


def take(source: Source, handed: bytes) -> Run:
    """The run that was handed, made of the experiment as it is read here. Raises InputError where that has changed."""
    experiment = read_experiment(source.path, source.overrides)
    if _text(experiment) != source.text:
        raise InputError(f"{source.path}, or a module that it names, was changed while it was planned; plan again")
    return _Unpickler(io.BytesIO(handed), list(_pieces(run_of(experiment)))).load()


def fingerprint(source: Source, own: Run, run: Run) -> str:
    """Equal for runs of equal programs: by settings, code, libraries, and the files that settings name.

    Empty where a run differs from the experiment's ``own`` by what can't be pickled.
    """
    try:
        changed = hand(own, run)
    except InputError:
        return ""
    environment = {name: value for name, value in current_environment().items() if name in ("libraries", "flags")}
    made = [source.text, changed.hex(), _files(run), environment, code_version()["source"]]
    return hashlib.sha256(json.dumps(made).encode()).hexdigest()


def _files(run: Run) -> list[tuple[str, int, int]]:
    """Files, and those in folders, that texts of a run name, with their sizes and times."""
    texts = {str(each) for each in _values(run) if isinstance(each, str | Path)}
    named = [Path(path) for text in texts if 0 < len(text) < _LONGEST_PATH for path in glob(os.path.expanduser(text))]
    files = {file for path in named for file in (path.iterdir() if path.is_dir() else (path,)) if file.is_file()}
    return [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in sorted(files)]


def _pieces(run: Run) -> Iterator[Any]:
    """All that a run is made of, in an order that depends on the experiment alone, without plain values."""
    return (value for value in _values(run) if not isinstance(value, _PLAIN))


def _values(value: Any) -> Iterator[Any]:
    """A value and all that it is made of."""
    yield value
    inner: list[Any] = []
    if is_dataclass(value) and not isinstance(value, type):
        inner = [getattr(value, each.name) for each in fields(value)]
    elif isinstance(value, Mapping):
        inner = list(value.values())
    elif isinstance(value, tuple | list):
        inner = list(value)
    for each in inner:
        yield from _values(each)


def _text(experiment: Experiment) -> str:
    sources = "\n".join(f"{name} {digest}" for name, digest in sorted(experiment.user_sources.items()))
    return f"{experiment.resolved(('run',))}\n{sources}"
