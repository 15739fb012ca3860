"""What a stage leaves behind: a folder that is whole or absent, and says where it came from."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast, get_args

from reasoning.core.errors import InputError
from reasoning.core.files import read_json, read_jsonl

ArtifactKind = Literal["checkpoint", "records", "results"]

RECORD = "artifact.json"
"""The file that describes an artifact; written by the pipeline, last, so no stage may write one itself."""

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


def read_artifact(path: Path) -> Artifact:
    """Opens a finished artifact, because later stages must refuse one that is missing, unfinished or damaged.

    Raises InputError that names the file and the fault.
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
    content = {"checkpoint": "checkpoint", "records": "records", "results": RECORD}[kind]
    if not (path / content).exists():
        raise InputError(f"{path} has lost its {content}; move the folder away and run stage {stage!r} again")
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


def _read_rows(file: Path) -> list[dict[str, Any]]:
    return read_jsonl(file) if file.exists() else []
