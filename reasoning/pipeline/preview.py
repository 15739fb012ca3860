"""What a run would do, without doing any of it: stages in order, what they are made from, sizes, what is done."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from reasoning.core.artifact import read_artifact
from reasoning.core.errors import InputError
from reasoning.core.mesh import build_mesh
from reasoning.core.user_code import answering_for_users
from reasoning.experiment.reader import Experiment
from reasoning.experiment.types import type_name
from reasoning.kernels.attention.backends import describe_kernels
from reasoning.pipeline import graph as graphs
from reasoning.pipeline.contents import contents_of, read_memory
from reasoning.pipeline.folder import ARTIFACTS
from reasoning.pipeline.functions import check_rewards
from reasoning.pipeline.graph import StageNode
from reasoning.pipeline.identity import identities
from reasoning.pipeline.run import Run, RunOptions
from reasoning.pipeline.workplace import StageState, Workplace
from reasoning.stages.rows import planned_epochs
from reasoning.stages.settings import OnRows


@dataclass(frozen=True)
class StagePreview:
    """One stage of a run: its class, its parents, and how far it has come (None: can't be told here).

    ``sizes`` are what it will work with (``parameters``, ``tokens``, ``steps``, …), where its method ``plan`` says;
    ``contents`` are the hashes of what lies at the paths that it reads.
    """

    name: str
    kind: str
    parents: tuple[str, ...]
    sizes: Mapping[str, object]
    state: StageState | None
    contents: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Preview:
    """The stages, parents first; the mesh's sizes and the kernels, or ``obstacle``: why this machine can't run it.

    ``leaks`` tell of exam questions that are trained on, where the exam allows it.
    """

    stages: tuple[StagePreview, ...]
    mesh: Mapping[str, int]
    kernels: str
    obstacle: str
    leaks: tuple[str, ...] = ()


def preview(
    run: Run, out: Path, experiment: Experiment | None = None, note: Callable[[str], None] = lambda _: None
) -> Preview:
    """Resolves everything as a run would, and writes nothing. Raises InputError as a run would before its first stage.

    ``note`` hears of what takes long.

    A mesh that doesn't fit the devices at hand, or a stage that doesn't fit the mesh, is no error but an ``obstacle``:
    files for large machines are checked on small ones.
    """
    graph = graphs.build_graph(run.stages)
    check_rewards(graph)
    sizes: dict[str, int] = {}
    kernels = obstacle = ""
    try:
        mesh = build_mesh(run.mesh)
        sizes = dict(mesh.shape)
        graphs.check_fit(graph, mesh)
        kernels = describe_kernels(run.kernels, mesh)
    except InputError as error:
        obstacle = str(error)
    memory = read_memory(out)
    known = identities(graph, run.seed, sizes, experiment, run.kernels, contents_of(graph, memory, note))
    workplace = Workplace(out, graph, known, out / ARTIFACTS, memory)
    if not obstacle:
        workplace.check_whole()
    stages = tuple(
        StagePreview(
            name=node.name,
            kind=type_name(type(node.stage)),
            parents=node.parent_names(),
            sizes=_sizes(node, workplace),
            state=None if obstacle else workplace.state(node.name),
            contents=known[node.name].contents,
        )
        for node in graph.values()
    )
    return Preview(stages, sizes, kernels, obstacle, tuple(workplace.leaks(RunOptions(), note)))


def _sizes(node: StageNode, workplace: Workplace) -> dict[str, object]:
    """What a stage says that it will work with, and what follows from its data where that is finished."""
    stage = node.stage
    with answering_for_users():
        sizes = dict(getattr(stage, "plan", dict)())
    if isinstance(stage, OnRows) and (path := workplace.finished(stage.data.name)).exists():
        sizes |= planned_epochs(stage, read_artifact(path))
    return sizes
