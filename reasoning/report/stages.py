"""The stages of a run as their folders tell them, finished or not; what can't be read is said, never raised."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reasoning.core.artifact import Artifact
from reasoning.core.artifact import read_artifact as read_artifact
from reasoning.core.errors import InputError
from reasoning.core.files import parse_json
from reasoning.pipeline.folder import ARTIFACTS, Entry, read_run, unfinished_folder

Row = Mapping[str, Any]


@dataclass(frozen=True)
class StageFacts:
    """One stage: what it is, where it stands in the graph, its numbers and its rows.

    ``kind`` is the class of its settings (``GRPO``), empty where no record tells. ``artifact`` is None until the stage
    has finished. ``parents`` are stage names by field. ``metrics`` and ``probes`` hold what could be read.
    """

    name: str
    kind: str
    artifact: Artifact | None
    parents: Mapping[str, tuple[str, ...]]
    record: Mapping[str, Any] = field(default_factory=dict)
    metrics: tuple[Row, ...] = ()
    probes: tuple[Row, ...] = ()

    @property
    def results(self) -> Mapping[str, float]:
        """The final numbers that the stage recorded."""
        return {} if self.artifact is None else numbers(self.artifact.results)

    def parent_names(self) -> tuple[str, ...]:
        """All parents, each once, in the order of the fields."""
        return tuple(dict.fromkeys(name for names in self.parents.values() for name in names))


def numbers(values: Mapping[str, Any]) -> dict[str, float]:
    """Those of the values that are numbers."""
    return {name: value for name, value in values.items() if is_number(value)}


def is_number(value: object) -> bool:
    """Whether a value is a number that can be drawn; JSON's true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def read_stages(folder: Path, missing: list[str]) -> tuple[StageFacts, ...]:
    """All stages of a run, parents first; what is missing or damaged is added to ``missing`` in words.

    Raises InputError where ``run.json`` itself is damaged.
    """
    entries = read_run(folder)
    names = {entry.hash: entry.stage for entry in entries}
    complaints = Complaints(folder, missing)
    return tuple(_stage(folder, entry, names, complaints) for entry in entries)


@dataclass(frozen=True)
class Complaints:
    """Where complaints go; the run's own folder is left out of them, so that equal runs complain alike."""

    folder: Path
    found: list[str]

    def add(self, message: str) -> None:
        """Notes one complaint, once."""
        short = message.replace(f"{self.folder}/", "")
        if short not in self.found:
            self.found.append(short)


def rows(file: Path, complaints: Complaints) -> tuple[dict[str, Any], ...]:
    """The rows of a file of JSON lines up to the first that can't be read; none where there is no file."""
    try:
        lines = file.read_bytes().decode(errors="replace").split("\n")
    except FileNotFoundError:
        return ()
    except OSError as error:
        complaints.add(f"{file} can't be read: {error.strerror}")
        return ()
    found: list[dict[str, Any]] = []
    unfinished = lines.pop()
    for number, line in enumerate(lines, start=1):
        try:
            row = parse_json(line, str(file), number)
        except InputError as error:
            complaints.add(f"{error}; the rows from there on are left out")
            return tuple(found)
        if not isinstance(row, dict):
            complaints.add(f"{file}:{number}: not a JSON object; the rows from there on are left out")
            return tuple(found)
        found.append(row)
    if unfinished:
        complaints.add(f"{file}:{len(lines) + 1}: the last line is not finished; it is left out")
    return tuple(found)


def _stage(folder: Path, entry: Entry, names: Mapping[str, str], complaints: Complaints) -> StageFacts:
    artifact, record = None, {}
    place = folder / entry.folder
    if not entry.finished:
        artifacts = place.parent if entry.folder else folder / ARTIFACTS
        place = unfinished_folder(artifacts, entry.stage, entry.hash)
    try:
        if entry.finished:
            artifact = read_artifact(place)
        record = _record(place)
    except InputError as error:
        complaints.add(str(error))
    if not entry.finished:
        complaints.add(f"stage {entry.stage} has not finished; the same command goes on with it")
    return StageFacts(
        name=entry.stage,
        kind=_kind(record),
        artifact=artifact,
        parents=_parents(record, names),
        record=record,
        metrics=rows(place / "metrics.jsonl", complaints),
        probes=rows(place / "probes.jsonl", complaints),
    )


def _record(place: Path) -> dict[str, Any]:
    file = place / "artifact.json"
    if not file.exists():
        return {}
    record = parse_json(file.read_bytes().decode(errors="replace"), str(file))
    return record if isinstance(record, dict) else {}


def _kind(record: Mapping[str, Any]) -> str:
    settings = record.get("settings")
    called = settings.get("@") if isinstance(settings, dict) else None
    return called.rpartition(".")[2] if isinstance(called, str) else ""


def _parents(record: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    parents = record.get("parents")
    if not isinstance(parents, dict):
        return {}
    found = {
        field: tuple(names[value] for value in values if value in names)
        for field, values in parents.items()
        if isinstance(values, list)
    }
    return {field: values for field, values in found.items() if values}
