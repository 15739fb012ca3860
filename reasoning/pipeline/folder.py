"""A run's folder on disk: which artifact each stage of its present configuration has, and the names of everything.

OUT/run.json            the stages of the present configuration, each with its folder, hash and whether it's finished
OUT/resolved.gin        the present configuration, every default spelled out; earlier ones stay as resolved.1.gin, …
OUT/artifacts/<stage>-<hash>/          a finished stage
OUT/artifacts/.<stage>-<hash>.partial/ an unfinished one, from which the same configuration goes on
OUT/artifacts/earlier/                 what ``--from`` has set aside

A run of a sweep has no artifacts of its own: its run.json leads to those that all runs of the sweep share.
"""

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, fields
from itertools import count
from pathlib import Path
from typing import Any

from reasoning.core.errors import InputError
from reasoning.core.files import PARTIAL_SUFFIX, sync, write_atomic
from reasoning.core.sealed import check_sealed_text, read_sealed, sealed_text, write_sealed

RUN = "run.json"
RESOLVED = "resolved.gin"
ARTIFACTS = "artifacts"
SWEEP = "sweep.gin"
_HASH_DIGITS = 12

_LONGEST, _LONGEST_PATH = {"stage": 233, "folder": 255, "hash": 233, "finished": 0}, 2000
"""Bytes of a name and of a path: a file's name has 255 at most, and an unfinished stage's 22 beside its own."""


@dataclass(frozen=True)
class Entry:
    """One stage in ``run.json``: its folder once finished, relative to OUT, the whole hash, and whether it is."""

    stage: str
    folder: str
    hash: str
    finished: bool


def read_run(path: Path) -> tuple[Entry, ...]:
    """The stages of the configuration that a folder holds, parents first; empty for a folder without a run.

    Raises InputError where ``run.json`` is damaged.
    """
    file = path / RUN
    if not file.exists():
        return ()
    try:
        content = read_sealed(file)
        stages = content.get("stages") if isinstance(content, dict) else None
        if not isinstance(stages, list) or len(content) > 1:
            raise InputError(f"{file} doesn't list stages, and nothing else")
        return tuple(_entry(item, f"{file}: stages[{place}]") for place, item in enumerate(stages))
    except InputError as error:
        raise InputError(f"{error}; remove it and run the experiment again, what is done stays") from None


def _entry(item: Any, where: str) -> Entry:
    """One stage as it is written. Raises InputError with the key that has another type, or isn't there."""
    if not isinstance(item, dict) or set(item) != {each.name for each in fields(Entry)}:
        raise InputError(f"{where} must hold {', '.join(each.name for each in fields(Entry))}, and nothing else")
    for key, value in item.items():
        wanted, words = (bool, "true or false") if key == "finished" else (str, "a text")
        if not isinstance(value, wanted):
            raise InputError(f"{where}.{key} must be {words}, not {value!r:.60}")
        lengths = [len(part.encode()) for part in value.split("/")] if isinstance(value, str) else [0]
        if max(lengths) > _LONGEST[key] or sum(lengths) > _LONGEST_PATH:
            raise InputError(f"{where}.{key} is {value!r:.60}…, too long for what it says")
    return Entry(**item)


def write_run(path: Path, entries: Iterable[Entry]) -> None:
    """Replaces ``run.json`` in one move; the entries' order, parents first, is kept."""
    write_sealed(path / RUN, {"stages": [asdict(entry) for entry in entries]})


def write_keeping_earlier(path: Path, text: str, warn: Callable[[str], None], name: str = RESOLVED) -> None:
    """Writes ``resolved.gin``; another text that stands there moves to the next free ``resolved.<n>.gin``.

    ``warn`` hears of one that isn't as it was written.
    """
    current, sealed = path / name, sealed_text(text)
    if not is_text(current, sealed):
        if current.exists():
            try:
                check_sealed_text(current, text)
            except InputError as error:
                warn(f"damaged: {error}; it is written anew")
        keep_earlier(current)
        write_atomic(current, sealed)


def is_text(file: Path, text: str) -> bool:
    """Whether a file is there and holds exactly this text."""
    return file.exists() and file.read_bytes() == text.encode()


def keep_earlier(file: Path) -> None:
    """Renames a file, if there is one, to the next free ``<stem>.<n><suffix>`` beside it."""
    if file.exists():
        names = (file.with_name(f"{file.stem}.{n}{file.suffix}") for n in count(1))
        file.rename(next(name for name in names if not name.exists()))


def finished_folder(artifacts: Path, stage: str, digest: str) -> Path:
    """Where a finished stage lies."""
    return artifacts / f"{stage}-{digest[:_HASH_DIGITS]}"


def unfinished_folder(artifacts: Path, stage: str, digest: str) -> Path:
    """Where an unfinished stage lies."""
    return artifacts / f".{stage}-{digest[:_HASH_DIGITS]}{PARTIAL_SUFFIX}"


def present_folder(run: Path, entry: Entry) -> Path:
    """Where the stage of an entry lies as it stands, finished or at work."""
    finished = run / entry.folder
    return finished if entry.finished else unfinished_folder(finished.parent, entry.stage, entry.hash)


def set_aside(path: Path) -> Path | None:
    """Moves a stage's folder to ``earlier/``, where nothing is looked for; returns its path there, None if absent."""
    if not path.exists():
        return None
    earlier = path.parent / "earlier"
    earlier.mkdir(exist_ok=True)
    target = next(free for n in count(1) if not (free := earlier / f"{path.name.lstrip('.')}.{n}").exists())
    path.rename(target)
    sync(earlier)
    sync(path.parent)
    return target
