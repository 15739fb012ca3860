"""What a stage leaves behind: a folder that is whole or absent, and says where it came from."""

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast, get_args

from reasoning.core.errors import InputError
from reasoning.core.files import read_json, read_jsonl, write_json
from reasoning.core.text import shortened

ArtifactKind = Literal["checkpoint", "records", "results"]

RECORD = "artifact.json"
"""The file that describes an artifact; written by the pipeline, last, so no stage may write one itself."""

MANIFEST = "manifest.json"
"""The file of a saved tree of arrays (``training.checkpoints``) that lists all others there, with their sizes."""

_FILES = "files"
"""The record's list of the files that were published with it."""

_SHOWN, _SHOWN_CHARACTERS = 3, 500

NOT_HASHED: Mapping[str, bool] = {"hashed": False}
"""Metadata of a settings field that can't change a stage's result: ``field(default=10, metadata=NOT_HASHED)``.

Intervals of logging and checkpoints are such fields: another value must neither rerun nor rename a stage.
"""


@dataclass(frozen=True)
class Outcome:
    """What ``Stage.run`` returns when its folder is complete.

    ``results`` is a small table of final numbers by name. ``array_hash`` is the ``hash_tree`` of the parameters that a
    ``checkpoint`` holds: Orbax's bytes differ between equal saves, this hash doesn't.
    """

    kind: ArtifactKind
    results: Mapping[str, float] = field(default_factory=dict)
    array_hash: str = ""


@dataclass(frozen=True)
class Artifact:
    """A finished stage's folder ``OUT/artifacts/<stage>-<hash>/``, as later stages and readers know it.

    ``kind`` says what it holds: ``checkpoint/`` (parameters), ``records/`` (an ArrayRecord data set) or results
    (``results.json``, ``samples.jsonl``). ``results`` is the small table of final numbers.
    """

    path: Path
    kind: ArtifactKind
    stage: str
    hash: str
    results: Mapping[str, float]

    @property
    def checkpoint(self) -> Path:
        """The folder of the saved parameters; there only if ``kind`` is ``checkpoint``."""
        return self.path / "checkpoint"

    @property
    def records_folder(self) -> Path:
        """The folder of the data set; there only if ``kind`` is ``records``."""
        return self.path / "records"

    def record(self) -> dict[str, Any]:
        """All of ``artifact.json``: parents, resolved settings, seed, mesh, device, code and library versions.

        Raises InputError where the file is missing or damaged.
        """
        return _read_record(self.path)

    def metrics(self) -> list[dict[str, Any]]:
        """The rows of ``metrics.jsonl`` in order; empty if the stage wrote none. InputError names a damaged line."""
        return _read_rows(self.path / "metrics.jsonl")

    def samples(self) -> list[dict[str, Any]]:
        """The rows of ``samples.jsonl`` in order; empty if the stage wrote none. InputError names a damaged line."""
        return _read_rows(self.path / "samples.jsonl")


def sizes_under(folder: Path, left_out: Collection[str] = ()) -> dict[str, dict[str, int | None]]:
    """What a record tells of the files that are published with it: ``files``, path in the folder -> bytes.

    The record itself isn't among them, nor is what lies in, or is, one of the names ``left_out``. Of a saved tree of
    arrays only the manifest is, without a size: it lists the others, whose sizes differ between equal saves.
    """
    paths = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    saved = {path.parent for path in paths if path.name == MANIFEST and len(path.parts) > 1}
    sizes: dict[str, int | None] = {}
    for path in paths:
        if path.parts[0] in (RECORD, *left_out):
            continue
        if path.name == MANIFEST and path.parent in saved:
            sizes[str(path)] = None
        elif saved.isdisjoint(path.parents):
            sizes[str(path)] = (folder / path).stat().st_size
    return {_FILES: sizes}


def write_sizes(folder: Path, left_out: Collection[str] = ()) -> None:
    """Writes a record that holds ``sizes_under`` alone, for a folder that belongs to no run."""
    write_json(folder / RECORD, sizes_under(folder, left_out))


def damage_of(path: Path) -> str:
    """Which files of a folder aren't as its record lists them, in words; empty for none, and without such a list.

    Files count by their sizes, since a sum over gigabytes would make every use slow. Raises InputError for a list that
    isn't one.
    """
    listed = _read_record(path).get(_FILES, {}) if (path / RECORD).exists() else {}
    if not isinstance(listed, dict) or not all(
        isinstance(size, int) or (size is None and name.endswith(MANIFEST)) for name, size in listed.items()
    ):
        raise InputError(f"{path / RECORD}: {_FILES!r} is no list of files and sizes; move the folder away")
    damaged = [
        told
        for name, size in listed.items()
        for told in (_lost(path / name) if size is None else [_difference(path / name, size)])
        if told
    ]
    if not damaged:
        return ""
    more = len(damaged) - _SHOWN
    return f"{'; '.join(damaged[:_SHOWN])}" + (f"; and {more} more" if more > 0 else "")


def check_whole(path: Path, what: str, remedy: str) -> None:
    """Raises InputError about a damaged ``what`` where a folder has lost some of the files that its record lists."""
    if damage := damage_of(path):
        raise InputError(f"damaged {what}: {damage}; {remedy}")


def read_artifact(path: Path, remedy: str = "") -> Artifact:
    """Opens a finished artifact, because later stages must refuse one that is missing, unfinished or damaged.

    Raises InputError that names the files and the fault, and ends with ``remedy`` where files have been lost.
    """
    artifact = recorded_artifact(path)
    content = {"checkpoint": "checkpoint", "records": "records", "results": RECORD}[artifact.kind]
    anew = f"move the folder away and run stage {artifact.stage!r} again"
    if not (path / content).exists():
        raise InputError(f"{path} has lost its {content}; {anew}")
    check_whole(path, artifact.kind, remedy or anew)
    return artifact


def recorded_artifact(path: Path) -> Artifact:
    """A finished artifact as its record tells, for readers that show what is left of a damaged one.

    Raises InputError where the record is missing or damaged, and for an unfinished stage.
    """
    record = _read_record(path)
    kind, stage, digest, results = (record.get(name) for name in ("kind", "stage", "hash", "results"))
    if kind is None:
        raise InputError(f"{path} is unfinished; run its experiment again to complete it")
    whole = isinstance(stage, str) and isinstance(digest, str) and isinstance(results, dict)
    if kind not in get_args(ArtifactKind) or not whole:
        raise InputError(
            f"{path / RECORD} is not an artifact's record: 'kind' is {kind!r}, and it needs 'stage', 'hash' and "
            "'results'; move the folder away and run its stage again"
        )
    return Artifact(
        path, cast(ArtifactKind, kind), cast(str, stage), cast(str, digest), cast(dict[str, float], results)
    )


def _read_record(path: Path) -> dict[str, Any]:
    file = path / RECORD
    if not file.exists():
        raise InputError(f"there is no artifact at {path} (no {RECORD}); run the stage that makes it")
    record = read_json(file)
    if not isinstance(record, dict):
        raise InputError(f"{file} is not a JSON object; move the folder away and run its stage again")
    return record


def _lost(manifest: Path) -> list[str]:
    """How the files of a saved tree of arrays differ from their manifest, in words; empty where they don't."""
    if not manifest.exists():
        return [f"{shortened(str(manifest), _SHOWN_CHARACTERS)} does not exist"]
    try:
        content = read_json(manifest)
        files = {name: int(told["bytes"]) for name, told in content[_FILES].items()}
    except (InputError, KeyError, TypeError, ValueError, AttributeError):
        return [f"{shortened(str(manifest), _SHOWN_CHARACTERS)} is not as it was written"]
    return [_difference(manifest.parent / name, size) for name, size in files.items()]


def _difference(file: Path, size: int) -> str:
    """How a file differs from one of ``size`` bytes, in words; empty where it doesn't."""
    name = shortened(str(file), _SHOWN_CHARACTERS)
    try:
        there = os.stat(file).st_size
    except OSError:
        return f"{name} does not exist"
    return "" if there == size else f"{name} has {there} bytes, {size} were written"


def _read_rows(file: Path) -> list[dict[str, Any]]:
    return read_jsonl(file) if file.exists() else []
