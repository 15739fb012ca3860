"""Small stages that compute without JAX, and a watcher that remembers, for the tests of the pipeline."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from reasoning.core.artifact import NOT_HASHED, Artifact, Outcome
from reasoning.core.progress import Progress
from reasoning.pipeline.run import Run, RunOptions, Watcher
from reasoning.pipeline.run_stages import run_stages
from reasoning.stages.stage import Stage
from reasoning.training.preemption import Interrupted


@dataclass(frozen=True)
class Inner:
    rate: float = 0.5
    shown: int = field(default=1, metadata=NOT_HASHED)


@dataclass(frozen=True)
class Add:
    """Adds its number to what its parents made; fails while the file ``trap`` exists."""

    name: str = ""
    number: int = 1
    inner: Inner = Inner()
    start: Stage | None = None
    others: tuple[Stage, ...] = ()
    log_every: int = field(default=10, metadata=NOT_HASHED)
    trap: str = field(default="", metadata=NOT_HASHED)

    def run(self, inputs, out, context):
        (out / "begun").write_text("yes")
        context.report(Progress(self.name, 1, 1))
        if self.trap and Path(self.trap).exists():
            raise RuntimeError("trapped")
        parents = ([inputs["start"]] if self.start else []) + list(inputs.get("others", ()))
        total = self.number + sum(int((parent.path / "sum").read_text()) for parent in parents)
        (out / "sum").write_text(str(total))
        return Outcome("results", {"sum": total})

    def plan(self):
        return {"additions": self.number}


@dataclass(frozen=True)
class Seeded:
    """Tells the seed that it was run with; it may have one of its own."""

    name: str = ""
    seed: int | None = None

    def run(self, inputs, out, context):
        (out / "sum").write_text(str(context.seed))
        return Outcome("results", {"seed": context.seed})


@dataclass(frozen=True)
class Count:
    """Counts to ``steps`` and keeps its place in a file, as training would; stops at ``stop_at``."""

    name: str = ""
    steps: int = 4
    start: Stage | None = None
    stop_at: int = field(default=0, metadata=NOT_HASHED)

    def run(self, inputs, out, context):
        place = out / "place"
        done = int(place.read_text()) if place.exists() else 0
        while done < self.steps:
            done += 1
            place.write_text(str(done))
            context.report(Progress(self.name, done, self.steps))
            if done == self.stop_at:
                raise Interrupted(15)
        return Outcome("results", {"steps": done})


class Story:
    """A watcher that remembers everything."""

    def __init__(self):
        self.reports: list[Progress] = []
        self.notes: list[str] = []
        self.warnings: list[str] = []
        self.artifacts: dict[str, Artifact] = {}
        self.error = Exception()

    def watcher(self):
        return Watcher(self.reports.append, self.notes.append, self.warnings.append)

    def worked(self):
        """The stages that did any work, in order."""
        return list(dict.fromkeys(report.stage for report in self.reports))


class Kit:
    """Everything that a test needs: the fake stages, and a way to run them."""

    Add, Count, Inner, Seeded, Story = Add, Count, Inner, Seeded, Story

    def __init__(self, out):
        self.out = out

    def chain(self, **changes):
        base = Add("base", **changes.pop("base", {}))
        zero = Add("zero", start=base, **changes.pop("zero", {}))
        exam = Add("exam", others=(base, zero), **changes.pop("exam", {}))
        return Run(stages=(exam,), **changes)

    def run(self, run, resolved="", **choice):
        story = Story()
        story.artifacts = run_stages(run, self.out, story.watcher(), RunOptions(**choice), None, resolved)
        return story

    def story_of_failure(self, run, error, match=None, resolved="", **choice):
        story = Story()
        with pytest.raises(error, match=match) as caught:
            run_stages(run, self.out, story.watcher(), RunOptions(**choice), None, resolved)
        story.error = caught.value
        return story


@pytest.fixture
def kit(tmp_path):
    return Kit(tmp_path / "out")
