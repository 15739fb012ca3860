"""A run as readers and notebooks see it: what each of its finished stages left."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from reasoning.core.artifact import Artifact, read_artifact, recorded_artifact
from reasoning.core.errors import InputError
from reasoning.pipeline.folder import RUN, SWEEP, read_run
from reasoning.use.stage_results import StageResults


@dataclass(frozen=True)
class RunFolder:
    """A run as readers and notebooks see it: a mapping from names of finished stages to what they left, in order."""

    path: Path
    stages: Mapping[str, str]

    def __getitem__(self, stage: str) -> StageResults:
        """What the stage left; InputError for a stage that hasn't finished, and for a damaged one."""
        if stage not in self.stages:
            raise InputError(
                f"{self.path} has no finished stage {stage!r}; finished are {', '.join(self.stages) or 'none'}"
            )
        return StageResults(**vars(read_artifact(self.path / self.stages[stage])), others=self.as_recorded)

    def __iter__(self) -> Iterator[str]:
        return iter(self.stages)

    def __len__(self) -> int:
        return len(self.stages)

    def __contains__(self, stage: object) -> bool:
        return stage in self.stages

    def artifacts(self) -> tuple[Artifact, ...]:
        """All finished artifacts, parents first; InputError for a damaged one."""
        return tuple(read_artifact(self.path / folder) for folder in self.stages.values())

    def as_recorded(self) -> tuple[Artifact, ...]:
        """As ``artifacts``, but for those whose files are damaged too: by their records alone."""
        return tuple(recorded_artifact(self.path / folder) for folder in self.stages.values())


def open_run(path: str | os.PathLike[str]) -> RunFolder:
    """Opens a run's folder. Raises InputError where there is none or its ``run.json`` is damaged."""
    folder = Path(path)
    if (folder / SWEEP).exists():
        raise InputError(f"{folder} is a sweep's folder; open one of its runs, such as {folder}/arms/…/seed-0")
    if not (folder / RUN).exists():
        raise InputError(f"{folder} is not a run's folder (it has no {RUN}); give the --out of a run")
    return RunFolder(folder, {entry.stage: entry.folder for entry in read_run(folder) if entry.finished})
