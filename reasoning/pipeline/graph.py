"""Which stage needs which: parents are found in the stages' own fields, so nobody writes the order down twice."""

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

from jax.sharding import Mesh

from reasoning.core.errors import InputError
from reasoning.core.user_code import answering_for_users
from reasoning.evaluation.exam import Exam
from reasoning.stages.stage import Stage, is_stage, learns_from
from reasoning.tasks.contamination import Shunning

_STAGE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
"""Stage names become folder names."""


@dataclass(frozen=True)
class StageNode:
    """A stage and the names of its parents, by the field that holds them; a tuple of stages gives a tuple of names."""

    stage: Stage
    parents: Mapping[str, str | tuple[str, ...]]

    @property
    def name(self) -> str:
        """The stage's name."""
        return self.stage.name

    def parent_names(self) -> tuple[str, ...]:
        """All parents, in the order of the fields, each once."""
        names: dict[str, None] = {}
        for value in self.parents.values():
            names.update(dict.fromkeys((value,) if isinstance(value, str) else value))
        return tuple(names)


Graph = Mapping[str, StageNode]
"""Nodes by name, parents before children."""


def build_graph(stages: Sequence[Stage]) -> Graph:
    """The stages and everything that they are made from, parents first, otherwise in the order given.

    Raises InputError for an empty run, a stage without a usable name, two different stages of one name, a cycle, and
    a stage where nobody would look for a parent (inside a list, or inside another object).
    """
    if not stages:
        raise InputError("run.stages is empty; list at least one stage")
    graph: dict[str, StageNode] = {}
    for stage in stages:
        if not is_stage(stage):
            raise InputError(f"run.stages holds {stage!r}, which is not a stage; list stages only")
        _visit(stage, graph, ())
    return _shunning(graph)


def exams_of(graph: Graph) -> Iterator[tuple[str, Exam]]:
    """The exams on questions of a test split that stages hold which learn nothing, with the stages' names."""
    for node in graph.values():
        if learns_from(node.stage) == "nothing":
            for value in (getattr(node.stage, field.name) for field in fields(node.stage)):
                if isinstance(value, Exam) and value.problems.split == "test":
                    yield node.name, value


def downstream(graph: Graph, name: str) -> tuple[str, ...]:
    """A stage and all that is made from it, directly or not, in the graph's order."""
    reached = {name}
    for node in graph.values():
        if reached & set(node.parent_names()):
            reached.add(node.name)
    return tuple(node for node in graph if node in reached)


def ancestors(graph: Graph, name: str) -> tuple[str, ...]:
    """All that a stage is made from, directly or not, in the graph's order."""
    reached = {name}
    for node in reversed(tuple(graph.values())):
        if node.name in reached:
            reached.update(node.parent_names())
    return tuple(node for node in graph if node in reached - {name})


def check_fit(graph: Graph, mesh: Mesh) -> None:
    """Raises InputError for a stage whose settings don't fit the mesh: now, not when the stages before it are done.

    A stage tells by a method ``check(mesh)``, where it has one.
    """
    for node in graph.values():
        if check := getattr(node.stage, "check", None):
            with answering_for_users():
                check(mesh)


def check_stage_names(graph: Graph, names: Iterable[str], option: str) -> None:
    """Raises InputError for a name on the command line that is no stage of the run, with the nearest that is one."""
    for name in names:
        if name not in graph:
            near = difflib.get_close_matches(name, graph, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"the stages are {', '.join(graph)}"
            raise InputError(f"{option} {name}: the run has no such stage; {hint}")


def _visit(stage: Stage, graph: dict[str, StageNode], path: tuple[Stage, ...]) -> None:
    _check_name(stage)
    if any(stage is earlier for earlier in path):
        names = " -> ".join(item.name for item in (*path, stage))
        raise InputError(f"stages need each other in a circle: {names}; cut it at one of them")
    known = graph.get(stage.name)
    if known is not None:
        if known.stage != stage:
            raise InputError(f"two different stages are named {stage.name!r}; give one of them another name")
        return
    parents: dict[str, str | tuple[str, ...]] = {}
    for field, held in _parents(stage):
        for parent in held if isinstance(held, tuple) else (held,):
            _visit(parent, graph, (*path, stage))
        parents[field] = tuple(parent.name for parent in held) if isinstance(held, tuple) else held.name
    if stage.name in graph:
        raise InputError(f"two different stages are named {stage.name!r}; give one of them another name")
    learns_from(stage)  # a word that nobody knows shows here, not when the stage has run
    graph[stage.name] = StageNode(stage, parents)


def _shunning(graph: dict[str, StageNode]) -> dict[str, StageNode]:
    """The graph in which every stage that can keep exams' questions out of what is learnt from knows all the exams.

    So do the stages that others hold as their parents, since some look into them.
    """
    exams = {name: exam.problems for name, exam in exams_of(graph)}
    told: dict[str, Stage] = {}
    for name, node in graph.items():
        stage = node.stage
        for field, names in node.parents.items():
            if isinstance(names, str) and names in told:
                stage = replace(stage, **{field: told[names]})
            elif not isinstance(names, str) and told.keys() & set(names):
                stage = replace(stage, **{field: tuple(told.get(each, graph[each].stage) for each in names)})
        if isinstance(stage, Shunning):
            stage = stage.shunning(exams)
        if stage is not node.stage:
            told[name] = stage
    return {name: StageNode(told.get(name, node.stage), node.parents) for name, node in graph.items()}


def _check_name(stage: Stage) -> None:
    if not isinstance(stage.name, str) or not _STAGE_NAME.fullmatch(stage.name):
        raise InputError(
            f"a {type(stage).__name__} has the name {stage.name!r}; name it with letters, digits, '_', '-' and '.', "
            "because its results go into a folder of that name"
        )


def _parents(stage: Stage) -> Iterator[tuple[str, Stage | tuple[Stage, ...]]]:
    for field in fields(stage):
        value = getattr(stage, field.name)
        if is_stage(value):
            yield field.name, value
        elif isinstance(value, tuple) and value and all(is_stage(item) for item in value):
            yield field.name, value
        elif hidden := _hidden(value):
            raise InputError(
                f"{stage.name}.{field.name} holds the stage {hidden.name!r} inside another value, where it would never "
                "be run; make it the field's own value, or a tuple of stages"
            )


def _hidden(value: Any) -> Stage | None:
    """A stage somewhere inside a value, or None."""
    if is_stage(value):
        return value
    inner: Iterable[Any] = ()
    if is_dataclass(value) and not isinstance(value, type):
        inner = (getattr(value, field.name) for field in fields(value))
    elif isinstance(value, Mapping):
        inner = value.values()
    elif isinstance(value, list | tuple | set | frozenset):
        inner = value
    return next((stage for item in inner if (stage := _hidden(item))), None)
