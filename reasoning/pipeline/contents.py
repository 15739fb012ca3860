"""The content of the files that stages read, hashed once and remembered beside the artifacts."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from reasoning.core.contents import Memory, ReadsFiles, content_of
from reasoning.core.errors import InputError
from reasoning.core.sealed import read_sealed, write_sealed
from reasoning.core.user_code import answering_for_users
from reasoning.experiment.describe import is_hashed, parts_of
from reasoning.pipeline.graph import Graph, StageNode
from reasoning.stages.stage import is_stage

_MEMORY = ".contents.json"


def contents_of(
    graph: Graph, memory: Memory, note: Callable[[str], None] = lambda _: None
) -> dict[str, dict[str, str]]:
    """By stage: every path or pattern that its settings read, with the hash of what lies there now.

    ``memory`` and ``note`` as for ``core.contents.content_of``. A path that several stages read is looked at once.
    """
    wanted = {name: _stage_reads(node) for name, node in graph.items()}
    every = dict.fromkeys(path for paths in wanted.values() for path in paths)
    found = {path: content_of(path, memory, note) for path in every}
    return {name: {path: found[path] for path in paths} for name, paths in wanted.items()}


def _stage_reads(node: StageNode) -> tuple[str, ...]:
    """What the settings of one stage read, those of its parents and those that change no result left out."""
    parts = parts_of(node.stage, _parent, is_hashed)
    readers = [part for part in parts if isinstance(part, ReadsFiles) and not _is_class(part)]
    with answering_for_users():
        return tuple(sorted({path for part in readers for path in part.reads()}))


def read_memory(folder: Path) -> Memory:
    """What is remembered in a folder; nothing where there is none or it can't be read, so that all is hashed again."""
    try:
        told = read_sealed(folder / _MEMORY)
    except InputError:
        return {}
    entries = told.items() if isinstance(told, dict) else ()
    return {place: entry for place, entry in entries if isinstance(entry, dict) and _are_texts(entry)}


def write_memory(folder: Path, memory: Memory) -> None:
    """Keeps ``memory`` for ``read_memory``."""
    if memory and memory != read_memory(folder):
        write_sealed(folder / _MEMORY, memory)


def _are_texts(entry: dict[str, Any]) -> bool:
    return all(isinstance(value, str) for value in entry.values())


def _is_class(part: object) -> bool:
    return isinstance(part, type)


def _parent(value: object) -> object | None:
    return value.name if is_stage(value) else None
