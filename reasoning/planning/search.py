"""Which mesh, microbatch and remat a run is fastest with: pruned by what must be held, compiled, ranked by the plan."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

import jax

from reasoning.core.errors import InputError
from reasoning.core.mesh import SHARD_AXES, MeshShape
from reasoning.core.program import Program, device_bytes
from reasoning.core.progress import Progress
from reasoning.models.config import ModelConfig
from reasoning.models.flops import matmul_parameters
from reasoning.pipeline.run import Run
from reasoning.planning.changes import REMATS, with_fields, with_microbatches
from reasoning.planning.chips import Chip
from reasoning.planning.plan import Planned, Planner
from reasoning.stages.place import Compiling
from reasoning.stages.settings import Learning
from reasoning.stages.stage import is_stage
from reasoning.stages.trainee import planned_config

_ROWS = (1, 2, 4, 8, 16)
_TENSOR = 8
"""The most devices that the heads are split over."""

_AGAIN = {"none": 1.0, "dots": 1.05, "block": 4 / 3, "offload": 4 / 3}
"""Products of a step, with what backward computes again, for each without."""

_MISSES = 3
"""How many choices that turn out not to fit are compiled for each that is asked for."""

_HALF, _WHOLE = 2, 4
"""Bytes of a number as it is computed with, and as gradients are added up."""


@dataclass(frozen=True)
class Choice:
    """Settings that a run could have: the mesh, rows that a device learns from at once, what backward recomputes.

    A run's ``own`` may differ by stage: ``rows`` are the most then, and ``remat`` names each. ``seconds`` are
    estimated, for the run's learning stages alone. Of a device's bytes ``held`` are there whatever is learnt from at
    once, and ``saved`` is the least that forward leaves for backward.
    """

    mesh: Mapping[str, int]
    rows: int
    remat: str
    run: Run
    seconds: float
    held: float
    saved: float
    own: bool = False


@dataclass(frozen=True)
class Ranked:
    """A choice compiled: HBM at the fullest and the least time of the run; not all of it where something didn't fit.

    ``learning`` is HBM at the fullest of its updates, ``updating`` how long they take at least.
    """

    choice: Choice
    fits: bool
    memory: float
    seconds: float
    learning: float
    updating: float


@dataclass(frozen=True)
class _Update:
    """A stage's update as its estimate needs it: rows and tokens of each, calls, operations, and the model's sizes."""

    stage: str
    microbatches: int
    rows: int
    length: int
    calls: float
    flops: float
    config: ModelConfig


def search(planner: Planner, run: Run, count: int) -> tuple[Ranked, ...]:
    """The ``count`` choices that are fastest by their estimate and fit, compiled, the fastest first; then those that
    were compiled and didn't fit, of which there are up to three times as many. The run's own settings are among them.

    What forward leaves for backward, and how long a step takes, are estimated from below. Each choice that was compiled
    says by how much they are more, for its remat and for its tensor axis: no other one is compiled which by that can't
    fit, and the order is that of the estimates so corrected. Raises InputError where the run learns nothing, or where
    no choice could fit.
    """
    choices = choices_of(planner, run)
    if not choices:
        raise InputError("no mesh, microbatch and remat leave room for what the run keeps; take more or larger chips")
    chip = planner.chip()[1]
    own = _own(planner, run, chip)
    choices = [each for each in choices if (each.mesh, each.rows, each.remat) != (own.mesh, own.rows, own.remat)]
    wanted, capacity, ranked = min(count, len(choices)), chip.of_a_device(chip.usable), list[Ranked]()
    more: dict[str, float] = dict.fromkeys(REMATS, 1.0)
    longer: dict[int, float] = {}

    def corrected(choice: Choice) -> float:
        return choice.seconds * longer.get(choice.mesh["tensor"], 1.0)

    def add(choice: Choice, fitting: int) -> None:
        planner.report(Progress("search", fitting, wanted))
        one = _compiled(planner, choice)
        ranked.append(one)
        if choice.saved:
            more[choice.remat] = max(more.get(choice.remat, 1.0), (one.learning - choice.held) / choice.saved)
        if choice.seconds:
            tensor = choice.mesh["tensor"]
            longer[tensor] = max(longer.get(tensor, 1.0), one.updating / choice.seconds)

    add(own, 0)
    while choices and (fitting := sum(each.fits for each in ranked[1:])) < wanted:
        if len(ranked) - 1 - fitting == _MISSES * wanted:
            break
        choice = min(choices, key=corrected)  # of equal ones the first
        choices.remove(choice)
        if choice.held + more[choice.remat] * choice.saved <= capacity:
            add(choice, fitting)

    def place(each: Ranked) -> tuple[bool, float, bool]:
        return not each.fits, each.seconds if each.fits else each.memory, not each.choice.own

    return tuple(sorted(ranked, key=place))


def choices_of(planner: Planner, run: Run) -> list[Choice]:
    """What may fit by what must lie on a device at least, by the estimated time."""
    found: list[Choice] = []
    chip = planner.chip()[1]
    capacity = chip.of_a_device(chip.usable)
    for mesh in meshes_of(len(planner.devices), MeshShape(**_sizes(run, planner))):
        meshed = replace(run, mesh=MeshShape(**mesh))
        try:
            held, updates = _held(planner, with_microbatches(meshed, lambda rows: 1))
        except InputError:  # heads or rows that this mesh doesn't divide
            continue
        for rows, remat in product(_ROWS, REMATS):
            choice = _choice(meshed, mesh, rows, remat, held, updates, chip)
            if choice is not None and choice.held + choice.saved <= capacity:
                found.append(choice)
    return sorted(found, key=lambda choice: (choice.seconds, -choice.rows))


def _choice(
    run: Run, mesh: Mapping[str, int], rows: int, remat: str, held: float, updates: Sequence[_Update], chip: Chip
) -> Choice | None:
    """The run on a mesh with so many rows at once; None where devices can't share a step's rows so."""
    parts = mesh["data"] * mesh["fsdp"] * mesh["expert"]
    if any(update.rows % (parts * rows) for update in updates):
        return None
    seconds = sum(_estimate(update, rows, remat, mesh, chip) for update in updates)
    saved = max((_saved(update, rows, remat, mesh) for update in updates), default=0.0)
    own = with_microbatches(run, lambda whole: max(whole // (parts * rows), 1))
    return Choice(mesh, rows, remat, with_fields(own, {"remat": remat}), seconds, held, saved)


def _own(planner: Planner, run: Run, chip: Chip) -> Choice:
    """The settings that the run has."""
    mesh, (held, updates) = _sizes(run, planner), _held(planner, run)
    parts = mesh["data"] * mesh["fsdp"] * mesh["expert"]
    split = [(each, max(each.rows // (parts * each.microbatches), 1), each.config.remat) for each in updates]
    return Choice(
        mesh=mesh,
        rows=max((rows for _, rows, _ in split), default=0),
        remat=", ".join(dict.fromkeys(remat for *_, remat in split)),
        run=run,
        seconds=sum(_estimate(each, rows, remat, mesh, chip) for each, rows, remat in split),
        held=held,
        saved=max((_saved(each, rows, remat, mesh) for each, rows, remat in split), default=0.0),
        own=True,
    )


def meshes_of(devices: int, given: MeshShape) -> Iterator[dict[str, int]]:
    """Meshes of so many devices: shards and copies of any size, tensor axes up to 8; others are as given."""
    fixed = given.context * given.expert
    for tensor in _divisors(devices // fixed):
        if tensor <= _TENSOR:
            for data in _divisors(devices // fixed // tensor):
                fsdp = devices // fixed // tensor // data
                sizes = {"data": data, "fsdp": fsdp, "context": given.context, "tensor": tensor}
                yield {**sizes, "expert": given.expert}


def _divisors(number: int) -> Sequence[int]:
    return [size for size in range(1, number + 1) if number % size == 0]


def _sizes(run: Run, planner: Planner) -> dict[str, int]:
    return dict(zip(run.mesh.names(), run.mesh.resolve(len(planner.devices)), strict=True))


def _held(planner: Planner, run: Run) -> tuple[float, list[_Update]]:
    """The most that arguments, and what lies beside them, take of a device in any program; and the run's updates."""
    place, most = planner.place(run, lambda note: None), 0.0
    updates: list[_Update] = []
    for stage in planner.stages(run):
        for program in planner.programs(stage, place):
            most = max(most, device_bytes(program.arguments) + sum(map(device_bytes, program.beside.values())))
            updates += _update_of(stage, program)
    return most, updates


def _update_of(stage: Compiling, program: Program) -> list[_Update]:
    if program.name != "update" or not is_stage(stage) or not isinstance(stage, Learning):
        return []
    config = planned_config(stage)
    rows = [leaf.shape for leaf in jax.tree.leaves(program.arguments[-1]) if len(leaf.shape) == 2]
    if config is None or not rows:
        return []
    return [_Update(stage.name, stage.microbatches, *rows[0], calls=program.calls, flops=program.flops, config=config)]


def _saved(update: _Update, rows: int, remat: str, mesh: Mapping[str, int]) -> float:
    """Bytes that a forward pass leaves at least for backward: what enters each block; unless all is recomputed, what
    the block's products give too.
    """
    config, tokens = update.config, rows * update.length / mesh["context"]
    if remat == "offload":
        return 0.0
    entering = config.width
    if remat == "block":
        return _HALF * tokens * config.layers * entering
    heads = config.heads + 2 * config.key_heads
    products = config.width + (heads * config.head_size + config.mlp_width) / mesh["tensor"]
    return _HALF * tokens * config.layers * (entering + products)


def _estimate(update: _Update, rows: int, remat: str, mesh: Mapping[str, int], chip: Chip) -> float:
    """Seconds of a stage's updates: the longer of its products and of what devices exchange for them.

    Shards are gathered for forward and backward and gradients scattered, once a microbatch; along the tensor axis a
    block's two sums are exchanged, forward and backward.
    """
    config, tensor, shards = update.config, mesh["tensor"], math.prod(mesh[name] for name in SHARD_AXES)
    devices = mesh["data"] * shards * tensor
    microbatches = max(update.rows // (devices // (mesh["context"] * tensor) * rows), 1)
    products = update.flops * _AGAIN[remat] / (devices * chip.of_a_device(chip.flops))
    gathered = 2 * _HALF + _WHOLE
    weights = gathered * matmul_parameters(config) / tensor * (shards - 1) / shards
    hidden = _HALF * rows * update.length / mesh["context"] * config.width
    sums = 4 * config.layers * 2 * hidden * (tensor - 1) / tensor
    links = microbatches * (weights + sums) / chip.of_a_device(chip.interconnect)
    return update.calls * max(products, links)


def _compiled(planner: Planner, choice: Choice) -> Ranked:
    """A choice's programs, updates first, up to the first that doesn't fit."""
    place, chip = planner.place(choice.run, lambda note: None), planner.chip()[1]
    done: list[Planned] = []
    updates: list[Planned] = []

    def ranked(fits: bool, memory: float) -> Ranked:
        learning = max((each.memory for each in updates), default=0.0)
        seconds, updating = (sum(each.seconds for each in some) for some in (done, updates))
        return Ranked(choice, fits, memory, seconds, learning, updating)

    for told in sorted(planner.told(choice.run, place), key=lambda told: told.program.name != "update"):
        one = planner.planned(told, place.mesh)
        done.append(one)
        updates += [one] if told.program.name == "update" else []
        if one.found.refusal or one.memory > chip.of_a_device(chip.usable):
            return ranked(False, one.memory)
    return ranked(True, max(each.memory for each in done))
