"""Compiles a program for devices that needn't exist and says what it takes of one of them; equal ones only once."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
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
from reasoning.planning.built import Built, build, read_built, write_built
from reasoning.planning.costs import Cost, cost_of, largest_arrays
from reasoning.planning.hlo import read_module
from reasoning.planning.libraries import unread_calls
from reasoning.planning.topology import compilers, neighbourhood

_FORMAT = 8
"""Part of what findings are named by; raise it when what is found out of a program changes."""

_PLACED = ".placed"
"""In the names of files that know a program until its buffers are placed."""

_LARGEST = 4
"""Of the largest buffers so many are told."""


@dataclass(frozen=True)
class Exchanged:
    """What devices along some mesh axes exchange by one kind of collective: bytes sent from each, and left on it.

    ``across_slices``: by the network between slices, or hosts of GPUs.
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
    ``machine_code`` is False. ``unread`` are libraries' calls whose products couldn't be read, and so don't count.
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
    unread: tuple[str, ...] = ()


@dataclass
class Compiler:
    """Compiles for one ``topology``, of which a mesh has the devices, and remembers what it found in ``folder``.

    ``told`` hears of each program that is compiled, with its name, before that begins.
    """

    topology: str
    folder: Path
    told: Callable[[str], None]
    known: dict[str, Compiled] = field(default_factory=dict)
    keys: dict[Any, str] = field(default_factory=dict)

    def compile(
        self, program: Program, mesh: Mesh, elsewhere: Callable[[Path], str] | None = None, source: str = ""
    ) -> Compiled:
        """What the program takes of each device.

        ``elsewhere`` has it compiled by another process, until its buffers are placed at least, which leaves it in a
        file, and says how that failed. ``source`` says, with its arguments, which program it is, so that one that was
        found before isn't traced (empty: its text alone tells). Raises InputError where nothing is left there.
        """
        shapes, trips = _described(program.arguments), sorted(program.trips.items())
        same = (program.function, shapes, tuple(trips))
        if same in self.keys:
            return self.known[self.keys[same]]
        traced = self.folder / f"{self._key(f'{source} {shapes}', mesh, _FORMAT, trips)}.traced.json"
        key = _key_in(traced) if source else ""
        found = self._found_before(key, elsewhere) if key else None
        if found is None:
            lowered = _lowered(program)
            text = lowered.as_text()
            key = self._key(text, mesh, _FORMAT, trips)
            found = self._found_before(key, elsewhere)
            if found is None:
                self.folder.mkdir(parents=True, exist_ok=True)
                built = self._built(lowered, program.name, self._key(text, mesh), elsewhere)
                found = _found(built, program, mesh)
                write_json(self.folder / f"{key}{'' if found.machine_code else _PLACED}.json", asdict(found))
            if source:
                write_json(traced, {"key": key})
        self.known[key], self.keys[same] = found, key
        return found

    def _found_before(self, key: str, elsewhere: Callable[[Path], str] | None) -> Compiled | None:
        """What was found under this key, in this plan or an earlier one."""
        known = self.known.get(key) or _remembered(self.folder / f"{key}.json")
        return known or (_remembered(self.folder / f"{key}{_PLACED}.json") if elsewhere else None)

    def _built(
        self, lowered: jax.stages.Lowered, name: str, key: str, elsewhere: Callable[[Path], str] | None
    ) -> Built:
        """The program compiled, unless it was before: programs that differ in their loops' trips alone are the same."""
        file, early = self.folder / f"{key}.gz", self.folder / f"{key}{_PLACED}.gz"
        before = read_built(file) or (read_built(early) if elsewhere else None)
        if before is not None:
            return before
        self.told(name)
        if elsewhere is None:
            built = build(lowered, None)
            write_built(file, built)
            return built
        failed, left = elsewhere(early), read_built(early)
        if left is None:
            raise InputError(f"the process that compiled {name} left nothing: {failed or 'it ended'}")
        return left

    def _key(self, text: str, mesh: Mesh, *more: Any) -> str:
        """A name of the program by all that its compilation depends on, and of what is found in it by ``more``."""
        versions = [jax.__version__, *map(installed_version, compilers(self.topology))]
        devices = [device.id for device in mesh.devices.flat]
        around = [self.topology, versions, list(mesh.shape.items()), devices, sorted(compiler_flags().items()), *more]
        return hashlib.sha256(f"{json.dumps(around)}\n{text}".encode()).hexdigest()[:32]


def plans_folder() -> Path:
    """Where findings are kept between commands."""
    return user_cache() / "plans"


def _lowered(program: Program) -> jax.stages.Lowered:
    function: Any = program.function
    return function.lower(*program.arguments)


def _found(built: Built, program: Program, mesh: Mesh) -> Compiled:
    """What a compiled program's text and its peak say of it."""
    arguments, largest = float(device_bytes(program.arguments)), _largest_arguments(program.arguments)
    found = Compiled(
        memory=built.memory,
        arguments=arguments,
        largest=tuple(largest),
        refusal=built.refusal,
        seconds=built.seconds,
        machine_code=built.machine_code,
    )
    if built.refusal:
        return found
    module = read_module(built.text)
    cost = cost_of(module, program.trips)
    buffers = sorted([*largest, *largest_arrays(module, _LARGEST)], key=lambda pair: -pair[1])
    exchanged = _by_axes(cost, mesh)
    return replace(
        found,
        largest=tuple(buffers[:_LARGEST]),
        flops=cost.flops,
        hbm=cost.hbm,
        exchanged=exchanged,
        unread=unread_calls(module),
    )


def _largest_arguments(arguments: tuple[Any, ...]) -> list[tuple[str, float]]:
    leaves = jax.tree_util.tree_leaves_with_path(arguments)
    named = [
        (jax.tree_util.keystr(path, simple=True, separator="/"), float(device_bytes(leaf))) for path, leaf in leaves
    ]
    return sorted(((f"argument {name}", size) for name, size in named), key=lambda pair: -pair[1])[:_LARGEST]


def _by_axes(cost: Cost, mesh: Mesh) -> tuple[Exchanged, ...]:
    """Collectives by kind and the mesh axes along which their groups lie, within slices and across them."""
    totals: dict[tuple[str, str, bool], tuple[float, float]] = {}
    slices = [neighbourhood(device) for device in mesh.devices.flat]
    for exchange, sent in cost.sent.items():
        share = across(exchange.kind, [slices[number] for number in exchange.group or range(mesh.size)])
        for far, part in ((False, 1 - share), (True, share)):
            if part:
                same = (exchange.kind, axes_of(exchange.group, mesh), far)
                before = totals.get(same, (0.0, 0.0))
                totals[same] = before[0] + part * sent, before[1] + part * cost.held[exchange]
    return tuple(Exchanged(kind, axes, sent, held, far) for (kind, axes, far), (sent, held) in sorted(totals.items()))


def across(kind: str, slices: Sequence[int]) -> float:
    """The least share that goes to other slices of what each device of a group sends, by the slice of each.

    What all of a slice want comes to it once, its devices' links to the network share that, and it goes on within.
    """
    devices, far = len(slices), len(set(slices))
    if kind in ("all-to-all", "ragged-all-to-all"):  # nothing is wanted twice
        return (devices - devices / far) / max(devices - 1, 1)
    return (far - 1) / max(devices - 1, 1)


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


def _key_in(file: Path) -> str:
    """Under which key it is known what was traced before; empty where nothing is."""
    try:
        return str(read_json(file)["key"]) if file.exists() else ""
    except (InputError, KeyError, TypeError):
        return ""


def _remembered(file: Path) -> Compiled | None:
    """What was found in an earlier plan; None where there is nothing, or nothing that can be read."""
    if not file.exists():
        return None
    try:
        values = read_json(file)
        exchanged = tuple(Exchanged(**each) for each in values.pop("exchanged"))
        largest = tuple((name, size) for name, size in values.pop("largest"))
        unread = tuple(values.pop("unread", ()))
        return Compiled(**values, exchanged=exchanged, largest=largest, unread=unread)
    except (InputError, KeyError, TypeError, AttributeError, ValueError):
        return None
