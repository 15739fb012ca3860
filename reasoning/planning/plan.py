"""A run proven before its pod: every program of every stage compiled, with what stays alive beside it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import jax
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
from reasoning.planning.topology import compilers, notes_on
from reasoning.stages.place import Compiling, Place

_QUICK = "programs were compiled until their buffers were placed; that the rest compiles too wasn't tried (--quick)"


@dataclass(frozen=True)
class Assumed:
    """What is taken for granted where files aren't at hand: tokens of the longest prompt, rows of a data set."""

    prompt: int = 1024
    rows: int = 100_000


@dataclass(frozen=True)
class Told:
    """A program that a stage of a run told, by its number there; ``source`` says what the run's are made from."""

    run: Run
    stage: str
    number: int
    program: Program
    source: str = ""


@dataclass(frozen=True)
class Planned:
    """One program of a stage: what it takes of each device, what lies beside it there, and the least time of a call.

    ``arguments`` are bytes of a device by their kind.
    """

    stage: str
    name: str
    calls: float
    tokens: int
    formula: int
    found: Compiled
    beside: Mapping[str, float]
    times: Roofline
    arguments: Mapping[str, float] = field(default_factory=dict)

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
    """Plans runs for the ``devices`` of a topology; ``report`` hears how far it is.

    ``apart`` (None: everything is compiled here, to its end) has a program compiled elsewhere until its buffers are
    placed, into a file, and says how that failed. ``source`` (None: nobody knows) says what all of a run's programs are
    made from, so that what was found of them before is found without tracing them again.
    """

    topology: str
    devices: Sequence[Any]
    compiler: Compiler
    assumed: Assumed
    report: Callable[[Progress], None]
    apart: Callable[[Told, Path], str] | None = None
    source: Callable[[Run], str] | None = None

    def plan(self, run: Run) -> Plan:
        """The plan of a run. Raises InputError as the run would before its first stage, and for what can't be told.

        All programs are told before the first is compiled, so that no refusal comes after minutes of compiling.
        """
        notes = dict[str, None]()
        place = self.place(run, lambda note: notes.update({note: None}))
        told = list(self.told(run, place))
        programs: list[Planned] = []
        for number, one in enumerate(told):
            self.report(Progress("programs", number, len(told)))
            programs.append(self.planned(one, place.mesh))
        self.report(Progress("programs", len(told), len(told)))
        if not all(one.found.machine_code for one in programs):
            notes[_QUICK] = None
        notes.update(dict.fromkeys((*notes_on(self.topology), *_unread(programs))))
        versions = {name: installed_version(name) for name in ("jax", *compilers(self.topology))}
        mesh, kind, chip = place.mesh, *self.chip()
        return Plan(self.topology, kind, chip, mesh.size, dict(mesh.shape), tuple(programs), tuple(notes), versions)

    def place(self, run: Run, note: Callable[[str], None]) -> Place:
        """The topology's devices as the run's mesh; ``note`` hears what is assumed."""
        return Place(build_mesh(run.mesh, self.devices), run.kernels, self.assumed.prompt, self.assumed.rows, note)

    def chip(self) -> tuple[str, Chip]:
        """What JAX calls the devices, and the chip that they are of."""
        kind = self.devices[0].device_kind
        return kind, chip_of(kind)

    def stages(self, run: Run) -> Sequence[Compiling]:
        """The run's stages that can tell their programs, parents first. Raises InputError where there are none."""
        graph = graphs.build_graph(run.stages)
        stages = [node.stage for node in graph.values() if isinstance(node.stage, Compiling)]
        if not stages:
            raise InputError("the run has no stage whose programs can be told before it runs; there is nothing to plan")
        return stages

    def programs(self, stage: Compiling, place: Place) -> tuple[Program, ...]:
        """What a stage tells. Raises InputError where it can't."""
        with answering_for_users():
            return stage.programs(place)

    def told(self, run: Run, place: Place, only: str | None = None) -> Iterator[Told]:
        """The programs of all stages, or of one."""
        source = "" if self.source is None else self.source(run)
        for stage in self.stages(run):
            if only in (None, stage.name):
                for number, program in enumerate(self.programs(stage, place)):
                    yield Told(run, stage.name, number, program, source)

    def planned(self, told: Told, mesh: Mesh) -> Planned:
        """A program compiled."""
        program = told.program
        named = replace(program, name=f"{told.stage}: {program.name}")  # as the compiler tells of it
        place = f"{told.source} {told.stage} {told.number} {program.name}" if told.source else ""
        elsewhere = None if self.apart is None else partial(self.apart, told)
        found = self.compiler.compile(named, mesh, elsewhere, place)
        return Planned(
            stage=told.stage,
            name=program.name,
            calls=program.calls,
            tokens=program.tokens,
            formula=program.flops,
            found=found,
            beside={name: float(device_bytes(tree)) for name, tree in program.beside.items()},
            times=roofline(found, self.chip()[1]),
            arguments=bytes_by_kind(program.arguments),
        )


def _unread(programs: Sequence[Planned]) -> Iterator[str]:
    for one in programs:
        if one.found.unread:
            calls = ", ".join(one.found.unread)
            yield f"{one.stage}: {one.name} calls {calls}, whose products couldn't be read and aren't counted"


def bytes_by_kind(arguments: tuple[Any, ...]) -> dict[str, float]:
    """What a device holds of a program's arguments, by the names of the records' fields that they stand in.

    A model's weights that are an argument themselves are called as in such a record.
    """
    kinds: dict[str, float] = {}
    weights = [isinstance(each, Mapping) and "embedding" in each for each in arguments]
    for path, leaf in jax.tree_util.tree_leaves_with_path(arguments):
        number, *inner = (jax.tree_util.keystr((key,), simple=True) for key in path)
        kind = next((name for name in inner if name.isidentifier()), f"argument {number}")
        kind = "params" if weights[int(number)] else kind
        kinds[kind] = kinds.get(kind, 0.0) + device_bytes(leaf)
    return kinds
