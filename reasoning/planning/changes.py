"""Runs with other settings: which of them could make a program fit, and a run with one of them put in."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import partial
from typing import Any

from reasoning.core.mesh import MeshShape
from reasoning.evaluation.exam import Exam
from reasoning.generation.engine import SLOTS
from reasoning.pipeline.graph import ancestors, build_graph
from reasoning.pipeline.run import Run
from reasoning.rollouts.sampling import Sampling
from reasoning.stages.settings import Learning, OnPolicy, OnRows
from reasoning.stages.stage import Stage, is_stage

REMATS = ("none", "dots", "block", "offload")
"""What backward recomputes, from most memory to least."""

_BATCH = ("data", "fsdp")


@dataclass(frozen=True)
class Change:
    """Settings other than the file's: in words, and the run with them."""

    words: str
    run: Callable[[], Run]


def rebuilt(run: Run, change: Callable[[Any], Any]) -> Run:
    """The run with ``change`` made of each of its records, the innermost first.

    What stages share they share still: a record is replaced once. Raises InputError where a record refuses its fields.
    """
    known: dict[int, tuple[Any, Any]] = {}

    def again(value: Any) -> Any:
        if isinstance(value, tuple):
            items = [again(item) for item in value]
            return value if all(new is old for new, old in zip(items, value, strict=True)) else tuple(items)
        if not is_dataclass(value) or isinstance(value, type):
            return value
        if id(value) not in known:
            held = {each.name: getattr(value, each.name) for each in fields(value) if each.init}
            new = {name: again(item) for name, item in held.items()}
            changed = {name: item for name, item in new.items() if item is not held[name]}
            known[id(value)] = value, change(replace(value, **changed) if changed else value)
        return known[id(value)][1]

    return again(run)


def with_fields(run: Run, values: Mapping[str, Any]) -> Run:
    """The run with these fields in every record that has them."""

    def change(value: Any) -> Any:
        names = {each.name for each in fields(value)}
        own = {name: new for name, new in values.items() if name in names}
        return replace(value, **own) if own else value

    return rebuilt(run, change)


def with_stage(run: Run, name: str, values: Mapping[str, Any]) -> Run:
    """The run with these fields in the stage of that name."""

    def change(value: Any) -> Any:
        return replace(value, **values) if is_stage(value) and value.name == name else value

    return rebuilt(run, change)


def with_microbatches(run: Run, microbatches: Callable[[int], int]) -> Run:
    """The run with as many microbatches in each learning stage as its rows of an update ask for."""

    def change(value: Any) -> Any:
        rows = _rows_of(value) if is_stage(value) and isinstance(value, Learning) else 0
        return replace(value, microbatches=microbatches(rows)) if rows else value

    return rebuilt(run, change)


def _rows_of(stage: Learning) -> int:
    """Rows of one update; 0 where settings of users' own stages don't tell."""
    if isinstance(stage, OnRows):
        return stage.batch
    if isinstance(stage, OnPolicy):
        return stage.questions * stage.samples // getattr(stage, "minibatches", 1)
    return 0


def helping_changes(run: Run, stage: Stage, mesh: Mapping[str, int]) -> Iterator[Change]:
    """Changes that may let a stage's programs take less of a device, each alone, likely ones first.

    ``mesh`` are the sizes of the axes. None changes what is computed but by rounding, except that momentum in bfloat16
    does.
    """
    name = stage.name
    if isinstance(stage, Learning):
        for many in (2 * stage.microbatches, 4 * stage.microbatches):
            more = {"microbatches": many}
            yield Change(f"{name}.microbatches = {many}", partial(with_stage, run, name, more))
        for remat in REMATS[REMATS.index(_remat_of(run, name)) + 1 :]:
            yield Change(f"remat = '{remat}'", partial(with_fields, run, {"remat": remat}))
        if getattr(stage.optimizer, "momentum_dtype", "") == "float32":
            half = {"momentum_dtype": "bfloat16"}
            yield Change("momentum_dtype = 'bfloat16'", partial(with_fields, run, half))
    if isinstance(stage, Sampling):
        fewer = (stage.slots or SLOTS) // 2
        yield Change(f"{name}.slots = {fewer}", partial(with_stage, run, name, {"slots": fewer}))
    elif isinstance(quiz := getattr(stage, "quiz", None), Exam):
        fewer = (quiz.slots or SLOTS) // 2
        asked = {"quiz": replace(quiz, slots=fewer)}  # an exam that other stages ask stays as it is
        yield Change(f"quiz.slots = {fewer}", partial(with_stage, run, name, asked))
    for shape in _splits(mesh):
        words = ", ".join(f"{axis} {size}" for axis, size in shape.items() if size > 1)
        yield Change(f"mesh: {words}", partial(replace, run, mesh=MeshShape(**shape)))


def _remat_of(run: Run, name: str) -> str:
    """What backward recomputes of the model that a stage trains; that of the first record it is made from."""
    graph = build_graph(run.stages)
    for each in (*reversed(ancestors(graph, name)), name):
        stage = graph[each].stage
        for record in (stage, getattr(stage, "model", None)):
            remat = getattr(record, "remat", None)
            if remat in REMATS:
                return remat
    return REMATS[-1]


def _splits(mesh: Mapping[str, int]) -> Iterator[dict[str, int]]:
    """Meshes of as many devices on which more of the arrays is split: shards for copies, and twice the tensor axis."""
    if mesh["data"] > 1:
        yield {**mesh, "data": 1, "fsdp": mesh["fsdp"] * mesh["data"]}
    for axis in _BATCH:
        if mesh[axis] % 2 == 0:
            yield {**mesh, axis: mesh[axis] // 2, "tensor": 2 * mesh["tensor"]}
            break
    if mesh["tensor"] % 2 == 0:
        yield {**mesh, "fsdp": 2 * mesh["fsdp"], "tensor": mesh["tensor"] // 2}
