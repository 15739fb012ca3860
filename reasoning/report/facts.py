"""All that a report tells, gathered once from a run's folder: stages, evaluations, replies, and what is missing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from reasoning.core.errors import InputError
from reasoning.pipeline.folder import RESOLVED
from reasoning.report.samples import Samples, read_samples
from reasoning.report.stages import Complaints, StageFacts, read_stages
from reasoning.report.table import Evaluation, evaluations
from reasoning.use.run_folder import open_run


@dataclass(frozen=True)
class Facts:
    """A run as its folder tells it. ``samples`` are by the name of the evaluating stage.

    ``missing`` says in words what couldn't be read; ``repeatable`` whether the run's settings lie in the folder as a
    file that can be run.
    """

    stages: tuple[StageFacts, ...]
    evaluations: tuple[Evaluation, ...]
    samples: Mapping[str, Samples]
    missing: tuple[str, ...]
    repeatable: bool

    def stage(self, name: str) -> StageFacts | None:
        """The stage of that name."""
        return next((stage for stage in self.stages if stage.name == name), None)

    def lineage(self, name: str) -> tuple[str, ...]:
        """The checkpoints that a stage was trained from, nearest first: its start, its start's start, and so on."""
        found: list[str] = []
        stage = self.stage(name)
        while stage is not None:
            starts = stage.parents.get("start", ())
            stage = self.stage(starts[0]) if starts and starts[0] not in (name, *found) else None
            if stage is not None:
                found.append(stage.name)
        return tuple(found)

    def taught(self, name: str) -> bool:
        """Whether a stage learns from written examples or a teacher, and not from rewards, a raw corpus, or nothing."""
        stage = self.stage(name)
        return stage is not None and stage.kind not in ("GRPO", "Pretrain", "Pretrained", "Cut")


def gather(folder: Path) -> Facts:
    """Reads a run's folder. Raises InputError where it is no run's folder or its ``run.json`` is damaged."""
    open_run(folder)
    missing: list[str] = []
    complaints = Complaints(folder, missing)
    stages = read_stages(folder, missing)
    found = _evaluations(stages, complaints)
    samples = {evaluation.stage: read_samples(evaluation, complaints) for evaluation in found}
    return Facts(stages, found, samples, tuple(missing), (folder / RESOLVED).exists())


def _evaluations(stages: Sequence[StageFacts], complaints: Complaints) -> tuple[Evaluation, ...]:
    found: list[Evaluation] = []
    for stage in stages:
        if stage.artifact is None:
            continue
        try:
            results = evaluations([stage.artifact])
            if stage.kind == "Evaluate" and not results:
                complaints.add(f"{stage.artifact.path} has lost its results; move it away and run {stage.name} again")
            found += results
        except InputError as error:
            complaints.add(str(error))
    return tuple(found)
