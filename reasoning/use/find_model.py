"""Finds and loads the model that a text names: ``RUN/STAGE``, or the path of one that belongs to no run."""

from dataclasses import dataclass
from pathlib import Path

from reasoning.core.addresses import fetched
from reasoning.core.errors import InputError
from reasoning.core.mesh import MeshShape
from reasoning.data.chat.format import ChatFormat
from reasoning.data.chat.formats import format_named
from reasoning.pipeline.folder import RUN
from reasoning.stages.checkpoint import CONFIG
from reasoning.use.loaded_model import LoadedModel, load_folder
from reasoning.use.run_folder import RunFolder, open_run


@dataclass(frozen=True)
class ModelLocation:
    """Where a model lies. ``chat`` is the format that was asked for, or that it was trained in, as far as its run says.

    ``run`` is None for a model that belongs to none; ``stage`` is then the folder's name.
    """

    path: Path
    chat: ChatFormat | None
    stage: str
    run: RunFolder | None = None


def locate_model(text: str, chat: str | ChatFormat = "") -> ModelLocation:
    """Where ``text`` says; ``chat`` is a format or names one of ``data.chat.formats`` (empty: what the run says).

    Raises InputError where there is no such run, stage or folder, or the stage left no checkpoint, saying which did.
    """
    path = Path(fetched(text))
    asked = (format_named(chat) if chat else None) if isinstance(chat, str) else chat
    if (path / RUN).exists():
        raise InputError(f"{path} is a run; name one of its stages too: {_offer(open_run(path))}")
    if (path.parent / RUN).exists():
        return _of_run(open_run(path.parent), path.name, asked)
    if any((path / name).exists() for name in (CONFIG, "config.json")) or path.is_file():
        return ModelLocation(path, asked, path.name)
    raise InputError(
        f"{path.parent} is not a run's folder (it has no {RUN}), and {path} holds no model by itself; write RUN/STAGE, "
        "as in runs/r1_tiny/zero, or name what reasoning convert wrote"
    )


def find_model(text: str, chat: str | ChatFormat = "") -> LoadedModel:
    """The model that ``text`` names, to be asked.

    Raises InputError as ``locate_model`` does, and for a chat format that its tokenizer doesn't know.
    """
    location = locate_model(text, chat)
    if location.run is None:
        return load_folder(location.path, location.chat, MeshShape())
    return location.run[location.stage].model(location.chat)


def _of_run(run: RunFolder, stage: str, chat: ChatFormat | None) -> ModelLocation:
    if stage not in run:
        raise InputError(f"{run.path} has no finished stage {stage!r}; {_offer(run)}")
    results = run[stage]
    if results.kind != "checkpoint":
        raise InputError(f"stage {stage} left {results.kind}, no checkpoint to ask; {_offer(run)}")
    return ModelLocation(results.path, chat or results.trained_chat(), stage, run)


def _offer(run: RunFolder) -> str:
    names = [artifact.stage for artifact in run.as_recorded() if artifact.kind == "checkpoint"]
    return f"stages with a model are {', '.join(names)}" if names else "no stage of it has trained a model so far"
