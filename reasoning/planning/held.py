"""A run held against its plan: on the devices that were planned for, and what it took beside what was predicted."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from reasoning.core.errors import InputError
from reasoning.core.mesh import MeshShape
from reasoning.core.sealed import read_sealed, write_sealed
from reasoning.planning.chips import CHIPS, chip_of
from reasoning.planning.topology import devices_named

PLAN = "plan.json"
"""In the run's folder: the plan that it was held against, with what was measured."""


def check_devices(name: str, devices: Sequence[Any]) -> None:
    """Raises InputError unless these are the devices, by kind and number, of the topology of that name."""
    generation, wanted = devices_named(name)
    kind = devices[0].device_kind
    here = devices[0].platform == "tpu" and chip_of(kind) == CHIPS[generation]
    if not here or len(devices) != wanted:
        raise InputError(
            f"--on {name} means {wanted} devices of {generation}, and there are {len(devices)} of kind {kind}; run "
            "there, or name what is here"
        )


def read_plan(path: Path) -> Mapping[str, Any]:
    """What ``plan --json`` wrote. Raises InputError for a file that is something else."""
    plan = read_sealed(path)
    if not isinstance(plan, dict) or not {"topology", "device", "mesh", "programs"} <= set(plan):
        raise InputError(f"{path} is no plan; write one by 'reasoning plan FILE --on NAME --json {path}'")
    return plan


def check_plan(plan: Mapping[str, Any], shape: MeshShape, devices: Sequence[Any]) -> None:
    """Raises InputError where devices or the mesh on them aren't those of the plan."""
    kind, planned = devices[0].device_kind, {name: int(size) for name, size in plan["mesh"].items()}
    if kind != plan["device"]:
        raise InputError(f"the plan is for {plan['device']} and the devices here are {kind}; plan for these")
    here = dict(zip(shape.names(), shape.resolve(len(devices)), strict=True))
    if here != planned:
        told = ["; ".join(f"{axis} {size}" for axis, size in mesh.items()) for mesh in (here, planned)]
        raise InputError(
            f"the run's mesh on {len(devices)} devices is {told[0]}, and the plan is for {told[1]}; plan again, or "
            "set the mesh that was planned"
        )


def write_beside(plan: Mapping[str, Any], folder: Path) -> None:
    """Leaves the plan in the run's folder, with the most that any device held so far where devices tell it."""
    peaks = [(device.memory_stats() or {}).get("peak_bytes_in_use") for device in jax.local_devices()]
    told = [peak for peak in peaks if peak is not None]
    write_sealed(folder / PLAN, {**plan, "measured": {"peak": max(told)} if told else {}})
