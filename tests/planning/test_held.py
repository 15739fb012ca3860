"""A run is refused elsewhere than where it was planned, and leaves its plan with what it took."""

from dataclasses import dataclass
from pathlib import Path

import jax
import pytest
from plans import plan_of

from reasoning.core.errors import InputError
from reasoning.core.files import write_json
from reasoning.core.mesh import MeshShape
from reasoning.core.sealed import write_sealed
from reasoning.planning.held import PLAN, check_devices, check_plan, read_plan, write_beside
from reasoning.planning.record import plan_record


@dataclass(frozen=True)
class Device:
    device_kind: str
    platform: str = "tpu"


V5E, V5P = Device("TPU v5 lite"), Device("TPU v5")
H100, A100 = (Device(f"NVIDIA {name}", "gpu") for name in ("H100 80GB HBM3", "A100-SXM4-80GB"))


def test_devices_are_those_of_the_name_by_kind_and_number():
    check_devices("v5e-16", [V5E] * 16)
    check_devices("v5p-64", [V5P] * 32)
    check_devices("2xv5e-16", [V5E] * 32)
    check_devices("h100x16", [H100] * 16)
    for name, devices, instead in (
        ("v5e-16", [V5E] * 8, "write --on v5litepod-8"),
        ("v5e-16", [V5P] * 16, "write --on v5p-32"),
        ("v5e-16", [V5E] * 7, "without --on"),
        ("v5e-1", jax.devices()[:1], "without --on"),
        ("v5e-16", [H100] * 8, "write --on h100x8"),
        ("v5e-8", [A100] * 8, "without --on"),
    ):
        told = f"--on {name} means {name[4:]} devices of v5e, and there are .*; run there, or {instead}"
        with pytest.raises(InputError, match=told):
            check_devices(name, devices)


def test_another_mesh_or_device_than_the_plan_s_is_refused():
    plan = plan_record(plan_of(4.0), 0.0) | {"mesh": {"data": 2, "fsdp": 2, "context": 1, "tensor": 1, "expert": 1}}
    check_plan(plan, MeshShape(fsdp=2), [V5E] * 4)
    with pytest.raises(InputError, match="mesh on 4 devices is data 4; fsdp 1.* plan is for data 2; fsdp 2"):
        check_plan(plan, MeshShape(), [V5E] * 4)
    with pytest.raises(
        InputError, match=r"plan is for 2 chips \(TPU v5 lite\) and the devices here are TPU v5; run there"
    ):
        check_plan(plan, MeshShape(fsdp=2), [V5P] * 4)


def test_a_plan_is_read_back_and_left_with_what_was_measured(tmp_path: Path):
    written = plan_record(plan_of(4.0), 0.0)
    write_json(tmp_path / "x.json", written)
    plan = read_plan(tmp_path / "x.json")
    write_beside(plan, tmp_path)
    assert read_plan(tmp_path / PLAN) == {**plan, "measured": {}}  # CPUs don't tell
    for mistaken in ({"mesh": {}}, written | {"programs": []}):
        write_json(tmp_path / "y.json", mistaken)
        with pytest.raises(InputError, match="is no plan; write one by"):
            read_plan(tmp_path / "y.json")


def test_a_run_that_goes_on_keeps_what_was_measured_before_by_the_same_plan(tmp_path: Path):
    write_json(tmp_path / "x.json", plan_record(plan_of(4.0), 0.0))
    plan = read_plan(tmp_path / "x.json")
    write_sealed(tmp_path / PLAN, {**plan, "measured": {"peak": 5.0}})
    write_beside(plan, tmp_path)
    assert read_plan(tmp_path / PLAN)["measured"] == {"peak": 5.0}
    write_beside({**plan, "chips": 3}, tmp_path)
    assert read_plan(tmp_path / PLAN)["measured"] == {}
