"""A run proven before its pod: every program of every stage compiled, with what stays alive beside it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from jax.sharding import Mesh

from reasoning.core.errors import InputError
from reasoning.core.mesh import build_mesh
from reasoning.core.program import Program, device_bytes
from reasoning.core.progress import Progress
from reasoning.core.user_code import answering_for_users
from reasoning.pipeline import graph as graphs
from reasoning.pipeline.environment import installed_version
from reasoning.pipeline.run import Run
from reasoning.planning.chips import Chip, chip_of
from reasoning.planning.compiling import Compiled, Compiler
from reasoning.planning.roofline import Roofline, roofline
from reasoning.stages.place import Compiling, Place


@dataclass(frozen=True)
class Assumed:
    """What is taken for granted where files aren't at hand: tokens of the longest prompt, rows of a data set."""

    prompt: int = 1024
    rows: int = 100_000


@dataclass(frozen=True)
class Planned:
    """One program of a stage: what it takes of each device, what lies beside it there, and the least time of a call."""

    stage: str
    name: str
    calls: float
    tokens: int
    formula: int
    found: Compiled
    beside: Mapping[str, float]
    times: Roofline

    @property
    def memory(self) -> float:
        """HBM of each device in all."""
        return self.found.memory + sum(self.beside.values())

    @property
    def seconds(self) -> float:
        """The least time of all calls."""
        return self.calls * self.times.seconds


@dataclass(frozen=True)
class Plan:
    """What a run takes on a topology, by stage and program, parents first; ``notes`` say what was assumed."""

    topology: str
    kind: str
    chip: Chip
    devices: int
    mesh: Mapping[str, int]
    programs: tuple[Planned, ...]
    notes: tuple[str, ...]
    versions: Mapping[str, str | None]

    @property
    def chips(self) -> int:
        """How many chips are booked."""
        return self.devices // self.chip.devices

    @property
    def capacity(self) -> float:
        """HBM of a device that programs can have."""
        return self.chip.of_a_device(self.chip.usable)

    @cached_property
    def too_large(self) -> tuple[Planned, ...]:
        """The programs that don't fit, alone or with what lies beside them."""
        return tuple(one for one in self.programs if one.found.refusal or one.memory > self.capacity)

    def chip_hours(self, stage: str | None = None) -> float:
        """The least that a stage, or the run, keeps all chips busy."""
        seconds = sum(one.seconds for one in self.programs if stage in (None, one.stage))
        return seconds * self.chips / 3600


@dataclass(frozen=True)
class Planner:
    """Plans runs for the ``devices`` of a topology; ``report`` hears how far it is."""

    topology: str
    devices: Sequence[Any]
    compiler: Compiler
    assumed: Assumed
    report: Callable[[Progress], None]

    def plan(self, run: Run) -> Plan:
        """The plan of a run. Raises InputError as the run would before its first stage, and for what can't be told."""
        graph = graphs.build_graph(run.stages)
        mesh, notes = build_mesh(run.mesh, self.devices), dict[str, None]()
        kind = mesh.devices.flat[0].device_kind
        chip = chip_of(kind)
        place = Place(
            mesh, run.kernels, self.assumed.prompt, self.assumed.rows, lambda note: notes.update({note: None})
        )
        stages = [node.stage for node in graph.values() if isinstance(node.stage, Compiling)]
        if not stages:
            raise InputError("the run has no stage whose programs can be told before it runs; there is nothing to plan")
        programs: list[Planned] = []
        for number, stage in enumerate(stages):
            self.report(Progress(stage.name, number, len(stages)))
            with answering_for_users():
                of_stage = stage.programs(place)
            programs += [self.planned(stage.name, program, mesh, chip) for program in of_stage]
        self.report(Progress(stages[-1].name, len(stages), len(stages)))
        versions = {name: installed_version(name) for name in ("jax", "jaxlib", "libtpu")}
        return Plan(self.topology, kind, chip, mesh.size, dict(mesh.shape), tuple(programs), tuple(notes), versions)

    def planned(self, stage: str, program: Program, mesh: Mesh, chip: Chip) -> Planned:
        """A program compiled."""
        found = self.compiler.compile(program, mesh)
        return Planned(
            stage=stage,
            name=program.name,
            calls=program.calls,
            tokens=program.tokens,
            formula=program.flops,
            found=found,
            beside={name: float(device_bytes(tree)) for name, tree in program.beside.items()},
            times=roofline(found, chip),
        )
