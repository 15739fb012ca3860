"""What a stage leaves behind: a folder that is whole or absent, and says where it came from."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast, get_args

from reasoning.core.errors import InputError
from reasoning.core.files import read_json, read_jsonl, write_json
from reasoning.core.fingerprints import difference, fingerprints
from reasoning.core.hashes import hash_json
from reasoning.core.text import shortened

ArtifactKind = Literal["checkpoint", "records", "results", "scorer"]

RECORD = "artifact.json"
"""The file that describes an artifact; written by the pipeline, last, so no stage may write one itself."""

MANIFEST = "manifest.json"
"""The file of a saved tree of arrays (``training.checkpoints``) that lists all others there, with their SHA-256."""

_FILES = "files"
"""The record's list of the files that were published with it."""

_OWN_HASH = "record_sha256"
"""The record's hash of itself, which leaves out ``_NOT_OWN``: under what it was made says nothing of the content."""

_NOT_OWN = (_OWN_HASH, "environments")

_CHECKSUMMED = ".array_record"
"""Part of the names of files with checksums of their own, so that whoever reads them is told (``data.records``)."""

_READ_AT_ONCE = 1 << 24
"""A larger file counts by its size alone to those who only look."""

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

    ``kind`` says what it holds: ``checkpoint/`` (parameters, also those of a scorer, a model with a head), ``records/``
    (an ArrayRecord data set) or results (``results.json``, ``samples.jsonl``). ``results`` is the small table of final
    numbers.
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


def files_under(folder: Path, left_out: Collection[str] = ()) -> dict[str, dict[str, dict[str, Any] | None]]:
    """What a record tells of the files that are published with it: ``files``, path in the folder -> size and SHA-256.

    The record itself isn't among them, nor is what lies in, or is, one of the names ``left_out``. Of a saved tree of
    arrays only the manifest is, with None: it lists the others, whose bytes differ between equal saves. Files that have
    checksums of their own count by their size.
    """
    paths = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    saved = {path.parent for path in paths if path.name == MANIFEST and len(path.parts) > 1}
    listed: dict[str, dict[str, Any] | None] = {}
    hashed: list[Path] = []
    for path in paths:
        if path.parts[0] in (RECORD, *left_out):
            continue
        if path.name == MANIFEST and path.parent in saved:
            listed[path.as_posix()] = None
        elif saved.isdisjoint(path.parents):
            if _CHECKSUMMED in path.name:
                listed[path.as_posix()] = {"bytes": (folder / path).stat().st_size}
            else:
                hashed.append(folder / path)
    return {_FILES: listed | fingerprints(folder, hashed)}


def write_files(folder: Path, left_out: Collection[str] = ()) -> None:
    """Writes a record that holds ``files_under`` alone, for a folder that belongs to no run."""
    write_json(folder / RECORD, files_under(folder, left_out))


def sealed(record: Mapping[str, Any]) -> dict[str, Any]:
    """A finished artifact's record with its own SHA-256, by which a reader sees that nothing in it has changed."""
    own = {name: value for name, value in record.items() if name not in _NOT_OWN}
    return {**record, _OWN_HASH: hash_json(own)}


def damage_of(path: Path) -> str:
    """Which files of a folder aren't as its record lists them, in words; empty for none, and without such a list.

    Large files count by their sizes, since a sum over gigabytes would make every look slow: ``check_content`` reads
    them. Raises InputError for a list that isn't one.
    """
    return _damage(path, _READ_AT_ONCE)


def check_content(path: Path, what: str, remedy: str) -> None:
    """Raises InputError about a damaged ``what`` where any file of a folder isn't what its record lists, byte by byte.

    For those who use the files. Each is read once in a process. Left to their readers, who verify what they read, are
    saved trees of arrays and files with checksums of their own.
    """
    if damage := _damage(path, None):
        raise InputError(f"damaged {what}: {damage}; {remedy}")


def check_whole(path: Path, what: str, remedy: str) -> None:
    """As ``check_content``, by ``damage_of``: quick, before any work."""
    if damage := damage_of(path):
        raise InputError(f"damaged {what}: {damage}; {remedy}")


def _damage(path: Path, largest: int | None) -> str:
    listed = _read_record(path).get(_FILES, {}) if (path / RECORD).exists() else {}
    if not isinstance(listed, dict) or not all(_is_entry(name, entry) for name, entry in listed.items()):
        raise InputError(f"{path / RECORD}: {_FILES!r} is no list of files and sizes; move the folder away")
    damaged = [
        told
        for name, entry in listed.items()
        for told in (_lost(path / name) if entry is None else [difference(path / name, _fingerprint(entry), largest)])
        if told
    ]
    if not damaged:
        return ""
    more = len(damaged) - _SHOWN
    return f"{'; '.join(damaged[:_SHOWN])}" + (f"; and {more} more" if more > 0 else "")


def _is_entry(name: str, entry: object) -> bool:
    """Whether a list of files says this of one: None, a size (as older records do), or a fingerprint."""
    if isinstance(entry, dict):
        return isinstance(entry.get("bytes"), int) and isinstance(entry.get("sha256", ""), str)
    return isinstance(entry, int) or (entry is None and name.endswith(MANIFEST))


def _fingerprint(entry: Any) -> Mapping[str, Any]:
    return {"bytes": entry} if isinstance(entry, int) else entry


def read_artifact(path: Path, remedy: str = "") -> Artifact:
    """Opens a finished artifact, because later stages must refuse one that is missing, unfinished or damaged.

    Raises InputError that names the files and the fault, and ends with ``remedy`` where files have been lost.
    """
    artifact = recorded_artifact(path)
    content = {"records": "records", "results": RECORD}.get(artifact.kind, "checkpoint")
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
    if _OWN_HASH in record and sealed(record) != record:
        raise InputError(f"{file} is not as it was written; move the folder away and run its stage again")
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
    return [difference(manifest.parent / name, {"bytes": size}, None) for name, size in files.items()]


def _read_rows(file: Path) -> list[dict[str, Any]]:
    return read_jsonl(file) if file.exists() else []
