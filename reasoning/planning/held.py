"""A run held against its plan: on the devices that were planned for, and what it took beside what was predicted."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from reasoning.core.errors import InputError
from reasoning.core.mesh import MeshShape
from reasoning.core.sealed import read_sealed, write_sealed
from reasoning.planning.chips import CHIPS, Chip, chip_of
from reasoning.planning.gpus import GPU_NAMES
from reasoning.planning.topology import CLOUD_NAMES, devices_named

PLAN = "plan.json"
"""In the run's folder: the plan that it was held against, with what was measured."""


def check_devices(name: str, devices: Sequence[Any]) -> None:
    """Raises InputError unless these are the devices, by kind and number, of the topology of that name."""
    generation, wanted = devices_named(name)
    kind = devices[0].device_kind
    if _chip(devices[0]) != CHIPS[generation] or len(devices) != wanted:
        raise InputError(
            f"--on {name} means {wanted} devices of {generation}, and there are {len(devices)} of kind {kind}; run "
            f"there, or {_instead(devices)}"
        )


def _instead(devices: Sequence[Any]) -> str:
    """What to write in place of another topology's name."""
    here = _chip(devices[0]), len(devices)
    for name in (*CLOUD_NAMES, *GPU_NAMES):
        generation, wanted = devices_named(name)
        if (CHIPS[generation], wanted) == here:
            return f"write --on {name}"
    return "without --on"


def _chip(device: Any) -> Chip | None:
    """The chip that a device is of; None for CPUs and what nobody plans for."""
    try:
        return chip_of(device.device_kind)
    except InputError:
        return None


def read_plan(path: Path) -> Mapping[str, Any]:
    """What ``plan --json`` wrote. Raises InputError for a file that is something else."""
    plan = read_sealed(path)
    named = ("topology", "device", "chips", "mesh", "programs")
    if not isinstance(plan, dict) or not all(plan.get(name) for name in named):
        raise InputError(f"{path} is no plan; write one by 'reasoning plan FILE --on NAME --json {path}'")
    return plan


def check_plan(plan: Mapping[str, Any], shape: MeshShape, devices: Sequence[Any]) -> None:
    """Raises InputError where devices or the mesh on them aren't those of the plan."""
    kind, planned = devices[0].device_kind, {name: int(size) for name, size in plan["mesh"].items()}
    if kind != plan["device"]:
        raise InputError(
            f"the plan is for {plan['chips']} chips ({plan['device']}) and the devices here are {kind}; run there, or "
            "without --plan"
        )
    here = dict(zip(shape.names(), shape.resolve(len(devices)), strict=True))
    if here != planned:
        told = ["; ".join(f"{axis} {size}" for axis, size in mesh.items()) for mesh in (here, planned)]
        raise InputError(
            f"the run's mesh on {len(devices)} devices is {told[0]}, and the plan is for {told[1]}; plan again, or "
            "set the mesh that was planned"
        )


def write_beside(plan: Mapping[str, Any], folder: Path) -> None:
    """Leaves the plan in the run's folder, with the most that any device held so far where devices tell it.

    A run that goes on where it was stopped keeps what was measured before.
    """
    peaks = [(device.memory_stats() or {}).get("peak_bytes_in_use") for device in jax.local_devices()]
    told = [peak for peak in (*peaks, _measured(plan, folder)) if peak is not None]
    write_sealed(folder / PLAN, {**plan, "measured": {"peak": max(told)} if told else {}})


def _measured(plan: Mapping[str, Any], folder: Path) -> float | None:
    """What devices held by this plan, if it lies in the run's folder already."""
    if not (folder / PLAN).exists():
        return None
    before = read_plan(folder / PLAN)
    return before["measured"].get("peak") if {**plan, "measured": before.get("measured")} == before else None
