"""All that a report tells, gathered once from a run's folder: stages, evaluations, replies, and what is missing."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from reasoning.core.artifact import RECORD, damage_of, recorded_artifact
from reasoning.core.errors import InputError
from reasoning.core.files import parse_json, readable_rows
from reasoning.evaluation.results import Complain
from reasoning.findings.beside_plan import BesidePlan, beside_plan
from reasoning.findings.best_replies import read_best
from reasoning.findings.evaluations import Evaluation, evaluation_of
from reasoning.findings.stages import StageFacts, mapping
from reasoning.pipeline.folder import ARTIFACTS, RESOLVED, Entry, read_run, unfinished_folder
from reasoning.training.metrics import METRICS, PROBES, TIMINGS, WARNINGS
from reasoning.use.run_folder import open_run


@dataclass(frozen=True, eq=False)
class Facts:
    """A run as its folder tells it; equal only to itself, so that what was made of one is remembered by it.

    ``missing`` says in words what couldn't be read; ``repeatable`` whether the run's settings lie in the folder as a
    file that can be run. ``beside_plan`` is what it took beside a plan that it was held against.
    """

    stages: tuple[StageFacts, ...]
    evaluations: tuple[Evaluation, ...]
    missing: tuple[str, ...]
    repeatable: bool
    beside_plan: BesidePlan | None = None

    def stage(self, name: str) -> StageFacts | None:
        """The stage of that name."""
        return next((stage for stage in self.stages if stage.name == name), None)

    def learns_from(self, name: str) -> str:
        """What the stage of that name learns from."""
        stage = self.stage(name)
        return "nothing" if stage is None else stage.learns_from

    def taught(self, name: str) -> bool:
        """Whether a stage learns from written examples or a teacher, and not from rewards, a raw corpus, or nothing."""
        return self.learns_from(name) in ("examples", "teacher")

    def is_root(self, name: str) -> bool:
        """Whether a stage left a checkpoint that was made from no other."""
        stage = self.stage(name)
        return stage is not None and stage.holds == "checkpoint" and not self.made_from(stage)

    def made_from(self, stage: StageFacts) -> tuple[str, ...]:
        """The checkpoints among a stage's parents, but for those that only lent it their tokenizer."""
        given = [name for field, names in stage.parents.items() if field != "tokenizer" for name in names]
        return tuple(each.name for each in map(self.stage, given) if each is not None and each.holds == "checkpoint")

    def lineage(self, name: str) -> tuple[str, ...]:
        """The checkpoints that a stage was trained from, nearest first: its start, its start's start, and so on."""
        line: list[str] = []
        stage = self.stage(name)
        while stage is not None:
            stage = self.stage(stage.starts[0]) if stage.starts and stage.starts[0] not in (name, *line) else None
            line += [] if stage is None else [stage.name]
        return tuple(line)


def gather(folder: Path) -> Facts:
    """Reads a run's folder. Raises InputError where it is no run's folder or its ``run.json`` is damaged."""
    open_run(folder)
    complaints: list[str] = []
    stages = read_stages(folder, complaints.append)
    read = (_or_told(partial(_evaluation, stage, complaints.append), complaints.append) for stage in stages)
    evaluations = tuple(each for each in read if each is not None)
    beside = beside_plan(folder, {stage.name: stage.timings for stage in stages})
    # The run's own folder is left out, so that equal runs complain alike.
    missing = dict.fromkeys(text.replace(f"{folder}/", "") for text in complaints)
    return Facts(stages, evaluations, tuple(missing), (folder / RESOLVED).exists(), beside)


def check_examined(facts: Facts, checkpoints: Sequence[str]) -> None:
    """Raises InputError where no evaluation examined all of ``checkpoints``."""
    if not checkpoints or any(set(checkpoints) <= set(evaluation.checkpoints) for evaluation in facts.evaluations):
        return
    known = {name: None for evaluation in facts.evaluations for name in evaluation.checkpoints}
    unknown = [name for name in checkpoints if name not in known]
    if unknown:
        raise InputError(
            f"the run has no checkpoint {', '.join(unknown)} in its evaluations; they examined "
            f"{', '.join(known) or 'nothing'}"
        )
    raise InputError(f"no evaluation examined all of {', '.join(checkpoints)}; compare those of one evaluation")


def read_stages(folder: Path, complain: Complain) -> tuple[StageFacts, ...]:
    """All stages of a run, parents first; what is missing or damaged is told.

    Raises InputError where ``run.json`` itself is damaged.
    """
    entries = read_run(folder)
    names = {entry.hash: entry.stage for entry in entries}
    return tuple(_stage(folder, entry, names, complain) for entry in entries)


def _evaluation(stage: StageFacts, complain: Complain) -> Evaluation | None:
    if stage.artifact is None:
        return None
    evaluation = evaluation_of(stage.artifact, complain)
    if stage.examines and evaluation is None:
        complain(f"{stage.artifact.path} has lost its results; move it away and run {stage.name} again")
    return evaluation


def _stage(folder: Path, entry: Entry, names: Mapping[str, str], complain: Complain) -> StageFacts:
    artifact, record = None, {}
    place = folder / entry.folder
    if not entry.finished:
        artifacts = place.parent if entry.folder else folder / ARTIFACTS
        place = unfinished_folder(artifacts, entry.stage, entry.hash)
    try:
        if entry.finished:
            artifact = recorded_artifact(place)
            if damage := damage_of(place):
                complain(
                    f"stage {entry.stage} is damaged: {damage}; move {place} away, and the run's own "
                    "command makes it anew"
                )
        file = place / RECORD
        record = mapping(parse_json(file.read_bytes().decode(errors="replace"), str(file))) if file.exists() else {}
    except InputError as error:
        complain(str(error))
    if not entry.finished:
        complain(f"stage {entry.stage} has not finished; the same command goes on with it")
    return StageFacts(
        name=entry.stage,
        kind=str(mapping(record.get("settings")).get("@", "")).rpartition(".")[2],
        artifact=artifact,
        parents=_parents(record, names),
        record=record,
        metrics=readable_rows(place / METRICS, complain),
        probes=readable_rows(place / PROBES, complain),
        best=_or_told(lambda: read_best(place, entry.stage), complain),
        warnings=readable_rows(place / WARNINGS, complain),
        timings=readable_rows(place / TIMINGS, lambda told: None),
    )


_T = TypeVar("_T")


def _or_told(read: Callable[[], _T | None], complain: Complain) -> _T | None:
    """What was read; None where it is damaged, which is told."""
    try:
        return read()
    except InputError as error:
        complain(str(error))
        return None


def _parents(record: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    by_field = {
        field: tuple(names[value] for value in values if isinstance(value, str) and value in names)
        for field, values in mapping(record.get("parents")).items()
        if isinstance(values, list)
    }
    return {field: values for field, values in by_field.items() if values}
