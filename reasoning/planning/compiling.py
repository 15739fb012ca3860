"""Compiles a program for devices that needn't exist and says what it takes of one of them; equal ones only once."""

import hashlib
import json
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from reasoning.core.errors import InputError
from reasoning.core.files import read_json, write_json
from reasoning.core.folders import user_cache
from reasoning.core.program import Program, device_bytes
from reasoning.pipeline.environment import compiler_flags, installed_version
from reasoning.planning.costs import Cost, cost_of, largest_arrays
from reasoning.planning.hlo import read_module
from reasoning.planning.placed import Placed, leaving_when_placed, placed_memory, writing_down
from reasoning.planning.programs import no_compilation_cache

_FORMAT = 6
"""Part of every key; raise it when what is found out of a program changes."""

_LARGEST = 4
"""Of the largest buffers so many are told."""

_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_USED = re.compile(r"(?:Used |\()([\d.]+)([KMGT]?)\)? (?:of|exceeds available)")


@dataclass(frozen=True)
class Exchanged:
    """What devices along some mesh axes exchange by one kind of collective: bytes sent from each, and left on it.

    ``across_slices``: some of it goes by the network between slices.
    """

    kind: str
    axes: str
    sent: float
    held: float
    across_slices: bool = False


@dataclass(frozen=True)
class Compiled:
    """What a program takes of each device.

    ``memory`` is the most HBM that it holds at once, ``arguments`` among it; ``largest`` names buffers with their
    bytes. ``refusal`` is the compiler's reason where it doesn't fit even alone, or where the compiler itself fails (of
    which ``memory`` is 0); costs are 0 then. ``seconds`` were spent on compiling, without machine code where
    ``machine_code`` is False.
    """

    memory: float
    arguments: float
    largest: tuple[tuple[str, float], ...]
    flops: float = 0.0
    hbm: float = 0.0
    exchanged: tuple[Exchanged, ...] = ()
    refusal: str = ""
    seconds: float = 0.0
    machine_code: bool = True


@dataclass
class Compiler:
    """Compiles for one ``topology``, of which a mesh has the devices, and remembers what it found in ``folder``.

    ``told`` hears of each program that is compiled, with its name, before that begins. ``leave`` (None: programs are
    compiled to their end) is called when a program's buffers are placed and what follows from them is remembered. It
    must end this process, as nothing else ends the compiler, and may begin another that goes on from there.
    """

    topology: str
    folder: Path
    told: Callable[[str], None]
    leave: Callable[[], None] | None = None
    known: dict[str, Compiled] = field(default_factory=dict)
    keys: dict[Any, str] = field(default_factory=dict)

    def compile(self, program: Program, mesh: Mesh) -> Compiled:
        """What the program takes of each device."""
        same = (program.function, _described(program.arguments), tuple(sorted(program.trips.items())))
        if same in self.keys:
            return self.known[self.keys[same]]
        lowered = _lowered(program)
        key = self.keys[same] = self._key(lowered.as_text(), program.trips, mesh)
        if key not in self.known:
            file, early = self.folder / f"{key}.json", self.folder / f"{key}.placed.json"
            found = _remembered(file) or (_remembered(early) if self.leave else None)
            if found is None:
                self.told(program.name)
                self.folder.mkdir(parents=True, exist_ok=True)
                found = self._compiled(lowered, program, mesh, early)
                write_json(file, asdict(found))
            self.known[key] = found
        return self.known[key]

    def _key(self, text: str, trips: Mapping[str, float], mesh: Mesh) -> str:
        """A name of the program by all that its costs depend on."""
        versions = [jax.__version__, installed_version("jaxlib"), installed_version("libtpu")]
        devices = [device.id for device in mesh.devices.flat]
        around: list[Any] = [_FORMAT, self.topology, versions, list(mesh.shape.items()), devices, sorted(trips.items())]
        if flags := compiler_flags():
            around.append(sorted(flags.items()))
        return hashlib.sha256(f"{json.dumps(around)}\n{text}".encode()).hexdigest()[:32]

    def _compiled(self, lowered: jax.stages.Lowered, program: Program, mesh: Mesh, early: Path) -> Compiled:
        """What the program takes once it is compiled; without machine code that is left in ``early``."""
        begun, leave, folder = time.monotonic(), self.leave, Path(tempfile.mkdtemp())

        def left(placed: Placed, leave: Callable[[], None]) -> None:
            shutil.rmtree(folder, ignore_errors=True)
            found = _found(placed.text, placed.memory, program, mesh, time.monotonic() - begun)
            write_json(early, asdict(replace(found, machine_code=False)))
            leave()

        try:
            with nullcontext() if leave is None else leaving_when_placed(folder, partial(left, leave=leave)):
                return _compiled(lowered, program, mesh, folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def plans_folder() -> Path:
    """Where findings are kept between commands."""
    return user_cache() / "plans"


def _lowered(program: Program) -> jax.stages.Lowered:
    function: Any = program.function
    return function.lower(*program.arguments)


def _compiled(lowered: jax.stages.Lowered, program: Program, mesh: Mesh, folder: Path) -> Compiled:
    begun = time.monotonic()
    try:
        with no_compilation_cache():
            compiled = lowered.compile(writing_down(folder))
    except jax.errors.JaxRuntimeError as error:
        message = str(error)
        return Compiled(
            memory=placed_memory(folder) or memory_wanted(message),
            arguments=float(device_bytes(program.arguments)),
            largest=tuple(_largest_arguments(program.arguments)),
            refusal=" ".join(message.split())[:300],
            seconds=time.monotonic() - begun,
        )
    memory = placed_memory(folder) or peak_memory(compiled)
    return _found(compiled.as_text() or "", memory, program, mesh, time.monotonic() - begun)


def _found(text: str, memory: float, program: Program, mesh: Mesh, seconds: float) -> Compiled:
    """What a compiled program's text and its peak say of it."""
    module = read_module(text)
    cost = cost_of(module, program.trips)
    buffers = [*_largest_arguments(program.arguments), *largest_arrays(module, _LARGEST)]
    return Compiled(
        memory=memory,
        arguments=float(device_bytes(program.arguments)),
        largest=tuple(sorted(buffers, key=lambda pair: -pair[1])[:_LARGEST]),
        flops=cost.flops,
        hbm=cost.hbm,
        exchanged=_by_axes(cost, mesh),
        seconds=seconds,
    )


def peak_memory(compiled: jax.stages.Compiled) -> float:
    """The most that a compiled program holds of one device: arguments, results that don't replace them, temporaries.

    On TPUs that is too much by what is free between temporaries (``placed.placed_memory``).
    """
    memory: Any = compiled.memory_analysis()
    kept = memory.output_size_in_bytes - memory.alias_size_in_bytes
    return float(memory.argument_size_in_bytes + max(kept, 0) + memory.temp_size_in_bytes)


def memory_wanted(message: str) -> float:
    """How much a program that doesn't fit would take, by the compiler's message; 0 where it doesn't say.

    What it calls temporaries there are all buffers, arguments too.
    """
    used = _USED.search(message)
    return float(used[1]) * _UNITS[used[2]] if used else 0.0


def _largest_arguments(arguments: tuple[Any, ...]) -> list[tuple[str, float]]:
    leaves = jax.tree_util.tree_leaves_with_path(arguments)
    named = [
        (jax.tree_util.keystr(path, simple=True, separator="/"), float(device_bytes(leaf))) for path, leaf in leaves
    ]
    return sorted(((f"argument {name}", size) for name, size in named), key=lambda pair: -pair[1])[:_LARGEST]


def _by_axes(cost: Cost, mesh: Mesh) -> tuple[Exchanged, ...]:
    """Collectives by kind and the mesh axes along which their groups lie."""
    totals: dict[tuple[str, str, bool], tuple[float, float]] = {}
    slices = [getattr(device, "slice_index", 0) for device in mesh.devices.flat]
    for exchange, sent in cost.sent.items():
        across = len({slices[number] for number in exchange.group or range(mesh.size)}) > 1
        same = (exchange.kind, axes_of(exchange.group, mesh), across)
        before = totals.get(same, (0.0, 0.0))
        totals[same] = before[0] + sent, before[1] + cost.held[exchange]
    return tuple(
        Exchanged(kind, axes, sent, held, across) for (kind, axes, across), (sent, held) in sorted(totals.items())
    )


def axes_of(group: tuple[int, ...], mesh: Mesh) -> str:
    """The mesh axes along which devices of a group, by their places in the mesh, differ."""
    if not group:
        return "all"
    places = np.stack(np.unravel_index(np.array(group), mesh.devices.shape), axis=1)
    varying = [name for number, name in enumerate(mesh.axis_names) if len(set(places[:, number].tolist())) > 1]
    return " × ".join(varying)


def _described(arguments: tuple[Any, ...]) -> Any:
    leaves, structure = jax.tree.flatten(arguments)
    return structure, tuple((leaf.shape, leaf.dtype, leaf.sharding) for leaf in leaves)


def _remembered(file: Path) -> Compiled | None:
    """What was found in an earlier plan; None where there is nothing, or nothing that can be read."""
    if not file.exists():
        return None
    try:
        values = read_json(file)
        exchanged = tuple(Exchanged(**each) for each in values.pop("exchanged"))
        largest = tuple((name, size) for name, size in values.pop("largest"))
        return Compiled(**values, exchanged=exchanged, largest=largest)
    except (InputError, KeyError, TypeError, AttributeError, ValueError):
        return None
