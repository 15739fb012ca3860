"""The model that somebody names in words: ``RUN/STAGE``, or the place of one that belongs to no run."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reasoning.core.errors import InputError
from reasoning.core.mesh import MeshShape
from reasoning.data.chat import ChatFormat
from reasoning.data.chat_formats import format_named
from reasoning.pipeline.folder import RUN, RunFolder, open_run
from reasoning.pipeline.loaded_model import LoadedModel, load_path
from reasoning.pipeline.results import chat_of
from reasoning.stages.saved import CONFIG


@dataclass(frozen=True)
class Place:
    """Where a model lies. ``chat`` is the format that was asked for, or that it was trained in, as far as its run says.

    ``run`` is None for a model that belongs to none; ``stage`` is then the folder's name.
    """

    path: Path
    chat: ChatFormat | None
    stage: str
    run: RunFolder | None = None


def find_place(text: str, chat: str | ChatFormat = "") -> Place:
    """Where ``text`` says; ``chat`` is a format or names one of ``data.chat_formats`` (empty: what the run says).

    Raises InputError where there is no such run, stage or folder, or the stage left no checkpoint, saying which did.
    """
    path = Path(text)
    asked = (format_named(chat) if chat else None) if isinstance(chat, str) else chat
    if (path / RUN).exists():
        raise InputError(f"{path} is a run; name one of its stages too: {_offer(open_run(path))}")
    if (path.parent / RUN).exists():
        return _of_run(open_run(path.parent), path.name, asked)
    if any((path / name).exists() for name in (CONFIG, "config.json")) or path.is_file():
        return Place(path, asked, path.name)
    raise InputError(
        f"{path.parent} is not a run's folder (it has no {RUN}), and {path} holds no model by itself; write RUN/STAGE, "
        "as in runs/r1_tiny/zero, or name what reasoning convert wrote"
    )


def find_model(text: str, chat: str | ChatFormat = "") -> LoadedModel:
    """The model that ``text`` names, to be asked.

    Raises InputError as ``find_place`` does, and for a chat format that its tokenizer doesn't know.
    """
    place = find_place(text, chat)
    if place.run is None:
        return load_path(place.path, place.chat, MeshShape())
    return place.run[place.stage].model(place.chat)


def _of_run(run: RunFolder, stage: str, chat: ChatFormat | None) -> Place:
    if stage not in run:
        raise InputError(f"{run.path} has no finished stage {stage!r}; {_offer(run)}")
    found = run[stage]
    if found.kind != "checkpoint":
        raise InputError(f"stage {stage} left {found.kind}, no checkpoint to ask; {_offer(run)}")
    return Place(found.path, chat or _trained_chat(run, stage), stage, run)


def _trained_chat(run: RunFolder, stage: str) -> ChatFormat | None:
    """The format in the settings of a stage, or of the nearest that it was made from: its data's, its start's."""
    records = {artifact.hash: artifact.record() for artifact in run.artifacts()}
    waiting, seen = [run[stage].hash], set[str]()
    while waiting:
        digest = waiting.pop(0)
        record = records.get(digest, {})
        if digest not in seen and (found := chat_of(record.get("settings", {}))):
            return found
        seen.add(digest)
        waiting += [parent for parent in _parents(record) if parent not in seen]
    return None


def _parents(record: Mapping[str, Any]) -> list[str]:
    parents = record.get("parents", {})
    return [digest for name in sorted(parents) for digest in parents[name]] if isinstance(parents, dict) else []


def _offer(run: RunFolder) -> str:
    names = [artifact.stage for artifact in run.artifacts() if artifact.kind == "checkpoint"]
    return f"stages with a model are {', '.join(names)}" if names else "no stage of it has trained a model so far"
