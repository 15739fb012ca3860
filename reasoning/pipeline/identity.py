"""What tells a stage from every other: its settings, its parents, the seed, the mesh, the user's own code and files."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from reasoning.core.hashes import hash_json
from reasoning.experiment.describe import describe, is_hashed, user_sources
from reasoning.experiment.reader import Experiment
from reasoning.kernels.backends import Choice
from reasoning.pipeline.contents import contents_of
from reasoning.pipeline.graph import Graph, StageNode
from reasoning.stages.stage import is_stage

_FORMAT = 1
"""Part of every hash; raise it when artifacts of an older layout can no longer be read, so that they run anew."""


@dataclass(frozen=True)
class Identity:
    """All that a stage's hash covers, in words, and the hash; ``artifact.json`` holds these fields by name.

    ``settings`` is recorded whole, with parents by name; the hash leaves out fields marked ``NOT_HASHED``. ``parents``
    are the parents' hashes by field, ``seed`` is the one that the stage is run with, ``sources`` the SHA-256 of the
    user's modules that can change its result, ``contents`` the hashes of what lies at the paths that settings read.
    """

    settings: dict[str, Any]
    parents: dict[str, list[str]]
    seed: int
    mesh: dict[str, int]
    kernels: Choice
    sources: dict[str, str]
    contents: dict[str, str]
    hash: str


def identities(
    graph: Graph,
    seed: int,
    mesh: Mapping[str, int],
    experiment: Experiment | None = None,
    kernels: Choice = "auto",
    contents: Mapping[str, dict[str, str]] | None = None,
) -> dict[str, Identity]:
    """The identity of every stage, parents first. Raises InputError for a setting that can't be found again by name.

    ``experiment`` knows the names in its file; None for a run that was built in Python. A stage with a ``seed`` of its
    own that isn't None never sees the run's, so runs of several seeds share it. ``contents`` are what ``contents_of``
    found; None to look now.
    """
    contents = contents_of(graph, {}) if contents is None else contents
    told = experiment.describe if experiment else describe
    by_stage: dict[str, Identity] = {}
    for node in graph.values():
        named = {field: (name,) if isinstance(name, str) else name for field, name in node.parents.items()}
        parents = {field: [by_stage[name].hash for name in names] for field, names in named.items()}
        settings, hashed = told(node.stage, _parent_name), told(node.stage, _parent_name, is_hashed)
        sources = _sources(node, hashed, experiment.user_sources if experiment else {})
        own_seed = getattr(node.stage, "seed", None)
        own_seed = seed if own_seed is None else own_seed
        covered = {
            "format": _FORMAT,
            "settings": hashed,
            "parents": parents,
            "seed": own_seed,
            "mesh": dict(mesh),
            "sources": sources,
        }
        if kernels != "auto":  # as devices choose; the kind of device isn't part of the hash either
            covered["kernels"] = kernels
        read = contents.get(node.name, {})  # process 0 found them, and may have been given other stages
        if read:
            covered["contents"] = read
        by_stage[node.name] = Identity(
            settings, parents, own_seed, dict(mesh), kernels, sources, read, hash_json(covered)
        )
    return by_stage


def identity_differences(before: Mapping[str, Any], now: Identity) -> tuple[str, ...]:
    """What differs between an artifact's record and an identity, as ``clip_high 0.2 -> 0.28``, parents left out."""
    old, new = dict(_leaves(before.get("settings", {}), "")), dict(_leaves(now.settings, ""))
    for name in ("seed", "mesh", "kernels"):
        old |= dict(_leaves(before.get(name, "auto" if name == "kernels" else None), name))
        new |= dict(_leaves(getattr(now, name), name))
    absent = "nothing"
    changed = [
        f"{name} {old.get(name, absent)} -> {new.get(name, absent)}"
        for name in {**old, **new}
        if old.get(name, absent) != new.get(name, absent)
    ]
    told = before.get("sources")
    sources = told if isinstance(told, dict) else {}
    edited = [module for module, digest in now.sources.items() if sources.get(module, digest) != digest]
    read = before.get("contents")
    recorded = read if isinstance(read, dict) else {}
    return (
        *changed,
        *(f"the source of {module} was edited" for module in edited),
        *(
            f"what lies at {path} " + ("has changed" if path in recorded else "was not recorded")
            for path, content in now.contents.items()
            if recorded.get(path) != content
        ),
    )


def _parent_name(value: object) -> str | None:
    return value.name if is_stage(value) else None


def _sources(node: StageNode, hashed: Any, of_file: Mapping[str, str]) -> dict[str, str]:
    """The user's modules that can change this stage's result: of its classes and functions, and those named by ``@``.

    ``hashed`` is the description without the fields that change no result; what only these use doesn't count.
    ``of_file`` are all modules that the experiment file names.
    """
    hashes = user_sources(node.stage, _parent_name, is_hashed)
    named = tuple(_references(hashed))
    for module, digest in of_file.items():
        if any(name.startswith(f"@{module}.") for name in named):
            hashes[module] = digest
    return dict(sorted(hashes.items()))


def _references(description: Any) -> Iterator[str]:
    """The texts ``@module.name`` in a description."""
    if isinstance(description, dict | list):
        for inner in description.values() if isinstance(description, dict) else description:
            yield from _references(inner)
    elif isinstance(description, str) and description.startswith("@"):
        yield description


def _leaves(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    """The plain values inside a description, each with its dotted name."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(inner, f"{name}.{key}" if name else key)
    elif isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
        for index, inner in enumerate(value):
            yield from _leaves(inner, f"{name}[{index}]")
    else:
        yield name, tuple(value) if isinstance(value, list) else value
