"""One step of a run done again, here or on another machine: to look into a failure, or to prove that nothing drifted.

The stage itself is run, with all that it reads, but its loop is replaced by one that does the step and nothing more.
"""

import math
import struct
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from jax.sharding import Mesh

from reasoning.core.artifact import RECORD, Artifact, read_artifact
from reasoning.core.errors import InputError
from reasoning.core.files import read_json, readable_rows
from reasoning.core.mesh import build_mesh
from reasoning.core.sealed import check_sealed_text
from reasoning.experiment.reader import read_experiment
from reasoning.pipeline.devices import keep_freed_memory, use_cpu_devices
from reasoning.pipeline.folder import RESOLVED, RUN, present_folder, read_run
from reasoning.pipeline.graph import StageNode, build_graph
from reasoning.pipeline.run import Run
from reasoning.pipeline.run_experiment import run_of
from reasoning.stages.checkpoint import BEST, CHECKPOINTS, FAILED, REFERENCES
from reasoning.stages.stage import Context
from reasoning.training.checkpoints import Checkpointer
from reasoning.training.failed import read_failed, told_of_failed
from reasoning.training.fit import Fit, Loop, Source, Step, advance, begin, means_of
from reasoning.training.metrics import METRICS
from reasoning.training.state import TrainState


@dataclass(frozen=True)
class Asked:
    """What is to be done again: a ``step``, counted from 1, of the stage whose folder is ``stage``, in the run ``run``.

    ``failed`` is the folder of a step that was kept, from which it is done; None: from the checkpoint before it.
    """

    run: Path
    stage: Path
    step: int
    failed: Path | None = None


@dataclass(frozen=True)
class Replayed:
    """A step's metrics as they were recorded and as they were found now, and what it was done from, in words."""

    stage: str
    step: int
    start: str
    recorded: Mapping[str, float]
    found: Mapping[str, float]

    @property
    def compared(self) -> tuple[str, ...]:
        """The metrics that both have."""
        return tuple(name for name in self.recorded if name in self.found)

    @property
    def differing(self) -> tuple[str, ...]:
        """Those of them that aren't equal to the last bit; NaN equals NaN."""
        return tuple(name for name in self.compared if not equal_bits(self.recorded[name], self.found[name]))


class _Done(Exception):
    """Leaves a stage whose step has been done."""

    def __init__(self, start: str, found: Mapping[str, float]):
        super().__init__(start)
        self.start, self.found = start, found


def equal_bits(one: float, other: float) -> bool:
    """Whether two numbers are the same, also if both are none."""
    both_nan = math.isnan(one) and math.isnan(other)
    return both_nan or struct.pack("d", one) == struct.pack("d", other)


def find_step(name: str, step: int) -> Asked:
    """The step that ``name`` tells: the folder of a kept one, a run that kept one, or RUN/STAGE with a ``step``.

    Without a ``step`` (0), and without one that was kept, it is the last that was recorded. Raises InputError where
    there is no such thing, saying what there is.
    """
    path = Path(name)
    if path.parent.name == FAILED:
        stage = path.parent.parent
        run = stage.parent.parent
        if not (run / RUN).exists():
            raise InputError(
                f"{path} belongs to no run ({run} has no {RUN}), and the run tells which model and which loss it is "
                "of; copy the run's whole folder, and name the step in it"
            )
        return Asked(run, stage, told_of_failed(path)[0], path)
    run, chosen = (path, "") if (path / RUN).exists() else (path.parent, path.name)
    if not (run / RUN).exists():
        raise InputError(
            f"{run} is not a run's folder (it has no {RUN}); name a run, RUN/STAGE, or a step that it kept"
        )
    folders = {entry.stage: present_folder(run, entry) for entry in read_run(run)}
    folders = {stage: folder for stage, folder in folders.items() if (folder / METRICS).exists()}
    if chosen and chosen not in folders:
        raise InputError(f"{run} has no stage {chosen!r} that has trained; there are {', '.join(folders) or 'none'}")
    for stage, folder in folders.items():
        kept = Checkpointer(folder / FAILED).latest_step()
        if kept is not None and chosen in ("", stage) and step in (0, kept):
            return Asked(run, folder, kept, Checkpointer(folder / FAILED).path(kept))
    if not chosen:
        raise InputError(
            f"{run} kept no failed step; name one of its stages too: {', '.join(folders) or 'none trained'}"
        )
    return Asked(run, folders[chosen], step or max(_recorded(folders[chosen]), default=0))


def replay(asked: Asked, file: Path | None = None, overrides: Sequence[str] = ()) -> Replayed:
    """Does a step again and compares what it tells.

    ``file`` is the experiment, by default the one that the run's folder holds; ``overrides`` change settings of it, for
    trying what would have helped. Raises InputError where something that the step is made from isn't there, or the step
    was never recorded.
    """
    source = file or asked.run / RESOLVED
    if not source.exists():
        raise InputError(
            f"{source} doesn't exist, so nothing tells what was run; name the experiment's file with --file"
        )
    check_sealed_text(source)
    run = run_of(read_experiment(source, overrides))
    record = read_json(asked.stage / RECORD)
    graph = build_graph(run.stages)
    if record["stage"] not in graph:
        raise InputError(
            f"{source} has no stage {record['stage']!r}, whose step this is; name another file with --file"
        )
    keep_freed_memory()
    use_cpu_devices(run.cpu_devices, 1)
    rows = _recorded(asked.stage)
    recorded = rows.get(asked.step) if asked.failed is None else told_of_failed(asked.failed)[2]
    if recorded is None:
        raise InputError(f"step {asked.step} of {asked.stage} was never recorded; there are {len(rows)} steps")
    mesh = build_mesh(run.mesh)
    with tempfile.TemporaryDirectory() as scratch:
        train = _kept_step(asked.failed, mesh) if asked.failed else _step_after_checkpoint(asked, Path(scratch))
        node = graph[record["stage"]]
        done = _run(node, run, mesh, _inputs(node, asked.run), int(record["seed"]), train, Path(scratch))
    return Replayed(str(record["stage"]), asked.step, done.start, recorded, done.found)


def _run(node: StageNode, run: Run, mesh: Mesh, inputs: dict[str, Any], seed: int, train: Fit, scratch: Path) -> _Done:
    """Runs a stage up to its loop, in a folder of its own, with the loop ``train``."""
    context = Context(
        mesh=mesh,
        seed=seed,
        report=lambda progress: None,
        warn=lambda text: None,
        stop=lambda step: None,
        checkpoint_every=run.checkpoint_every,
        keep=run.keep,
        keep_every=run.keep_every,
        kernels=run.kernels,
        train=train,
    )
    try:
        node.stage.run(inputs, scratch, context)
    except _Done as done:
        return done
    raise InputError(f"stage {node.name} trains by no loop of ours, so no step of it can be done again")


def _inputs(node: StageNode, run: Path) -> dict[str, Any]:
    folders = {entry.stage: run / entry.folder for entry in read_run(run)}

    def given(names: str | tuple[str, ...]) -> Artifact | tuple[Artifact, ...]:
        if isinstance(names, str):
            return read_artifact(folders[names])
        return tuple(read_artifact(folders[name]) for name in names)

    return {field: given(names) for field, names in node.parents.items()}


def _recorded(stage: Path) -> dict[int, dict[str, float]]:
    """The metrics of all steps that a stage has recorded."""
    rows = readable_rows(stage / METRICS, lambda text: None)
    return {int(row["step"]): {name: float(row[name]) for name in row if name != "step"} for row in rows}


def _kept_step(folder: Path, mesh: Mesh) -> Fit:
    """The loop that does a kept step with the state that it met."""

    def train(initial: Any, abstract: TrainState, step: Step, frozen: Any, source: Source, loop: Loop, /) -> NoReturn:
        failed = read_failed(folder, abstract, mesh)
        _, sums = step(failed.state, frozen, failed.batch)
        # How many were skipped before it counts on in the state that was kept.
        found = {name: value for name, value in means_of(sums).items() if name != "skipped"}
        raise _Done("the state and the batch that were kept", found)

    return train


def _step_after_checkpoint(asked: Asked, scratch: Path) -> Fit:
    """The loop that goes on from the newest checkpoint before a step up to the step, batches and all."""
    saved = Checkpointer(asked.stage / CHECKPOINTS)
    before = [step for step in saved.steps() if step < asked.step]
    (scratch / CHECKPOINTS).mkdir()
    links = [saved.path(before[-1]).relative_to(asked.stage)] if before else []
    for place in (*links, Path(BEST), Path(REFERENCES)):
        if (asked.stage / place).exists():
            # They are only read: nothing is saved on the way.
            (scratch / place).symlink_to((asked.stage / place).absolute())

    def train(initial: Any, abstract: TrainState, step: Step, frozen: Any, source: Source, loop: Loop, /) -> NoReturn:
        begun, state, _ = begin(initial, abstract, source, loop)
        values: dict[str, float] = {}
        for done in range(begun, asked.step):
            state, values, _ = advance(state, step, frozen, source, loop, done)
        raise _Done(f"the checkpoint of step {begun}" if begun else "the stage's start", values)

    return train
