"""Topologies are those that exist, by the compiler's names and the clouds', and each device is what a program sees."""

import fcntl
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from reasoning.core.errors import InputError
from reasoning.core.mesh import MeshShape, build_mesh
from reasoning.planning import topology
from reasoning.planning.topology import (
    CLOUD_NAMES,
    compilers,
    devices_named,
    libtpu_is_installed,
    neighbourhood,
    notes_on,
    topology_devices,
)

needs_libtpu = pytest.mark.skipif(not libtpu_is_installed(), reason="libtpu is not installed: make tpu-aot adds it")


@pytest.mark.parametrize("name", CLOUD_NAMES)
@needs_libtpu
def test_a_cloud_name_has_the_devices_that_its_number_counts(name):
    # v4 and v5p are named by cores, but a chip's two cores run as one device; tpu7x's two cores are two devices.
    count = int(name.split("-")[1]) // (2 if name.startswith(("v4", "v5p")) else 1)
    assert len(topology_devices(name)) == count


@pytest.mark.parametrize(
    ("name", "kind", "shape"),
    [
        ("v5e:4x4", "TPU v5 lite", (4, 4, 1)),
        ("v6e:2x4", "TPU v6 lite", (2, 4, 1)),
        ("v5p:4x4x8", "TPU v5", (4, 4, 8)),
        ("v4:2x2x4", "TPU v4", (2, 2, 4)),
        ("v5litepod-1", "TPU v5 lite", (1, 1, 1)),
    ],
)
@needs_libtpu
def test_devices_have_the_kind_and_the_places_of_the_topology(name, kind, shape):
    devices = topology_devices(name)
    assert {device.device_kind for device in devices} == {kind}
    assert {device.platform for device in devices} == {"tpu"}
    assert sorted(tuple(device.coords) for device in devices) == sorted(np.ndindex(shape))


@needs_libtpu
def test_a_mesh_of_a_topology_has_neighbours_on_its_fast_axis():
    mesh = build_mesh(MeshShape(data=4, fsdp=4), topology_devices("v5e:4x4"))
    places = np.array([device.coords for device in mesh.devices.flat]).reshape(4, 4, 3)
    assert (np.abs(np.diff(places, axis=1)).sum(axis=-1) == 1).all()


@needs_libtpu
def test_a_mesh_axis_may_take_a_part_of_a_physical_one():
    mesh = build_mesh(MeshShape(data=2, fsdp=4, tensor=2), topology_devices("v5e:4x4"))
    assert len({device.id for device in mesh.devices.flat}) == 16
    for first, second in mesh.devices.reshape(-1, 2):
        assert sum(abs(a - b) for a, b in zip(first.coords, second.coords, strict=True)) == 1


@pytest.mark.parametrize("name", ["", "v5e", "4x4", "v5e-15", "v7x:2x2x1", "v5p-255", "v5e:0x4", "v5e:4x", "v5e:4x4 "])
def test_an_unknown_name_is_refused_with_forms_that_work(name):
    with pytest.raises(InputError, match=re.escape(f"no TPU topology {name!r}")) as refusal:
        topology_devices(name)
    assert "v5e:4x4" in str(refusal.value)
    alike = {"v5e": "v5e-16", "v5p": "v5p-256"}.get(name[:3], "v5litepod-16")
    assert f" {alike}" in str(refusal.value)  # of its own generation


@pytest.mark.parametrize(("name", "dimensions"), [("v5e:4x4x4", 2), ("v6e:16", 2), ("v5p:4x4", 3), ("v4:2x2x1x1", 3)])
def test_a_shape_that_the_generation_does_not_come_in_is_refused(name, dimensions):
    with pytest.raises(InputError, match=f"{name}.*has {dimensions} dimensions"):
        topology_devices(name)


@needs_libtpu
def test_a_shape_that_libtpu_refuses_is_an_input_error_with_its_reason():
    with pytest.raises(InputError, match=r"'v5e:3x3'.*not divisible"):
        topology_devices("v5e:3x3")


def test_without_libtpu_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"needs libtpu.*pip install"):
        topology_devices("v5e:4x4")


@needs_libtpu
def test_a_libtpu_of_another_jax_is_refused_with_the_one_to_install(monkeypatch):
    monkeypatch.setattr(topology, "installed_version", lambda name: "0.0.17")
    with pytest.raises(InputError, match=r"needs libtpu (0\.0\.\d+)\.\*, .*libtpu 0\.0\.17; .*'libtpu==\1\.\*'"):
        topology_devices("v5e:4x4")


def test_gpus_have_compilers_notes_and_neighbours_of_their_own():
    assert devices_named("h100x16") == ("h100", 16) and devices_named("2xv5e-16") == ("v5e", 32)
    assert compilers("v5e-16") == ("jaxlib", "libtpu") and "libtpu" not in compilers("h100x8")
    assert any("no machine code" in " ".join(note.split()) for note in notes_on("h100x8")) and not notes_on("v5e-16")
    gpu, tpu = (SimpleNamespace(platform=name, process_index=3, slice_index=1) for name in ("gpu", "tpu"))
    assert neighbourhood(gpu) == 3 and neighbourhood(tpu) == 1


@pytest.mark.parametrize("name", ["a100x8", "h100x12"])
def test_gpus_that_nobody_plans_for_are_refused_as_that(name):
    with pytest.raises(InputError, match=f"{name}' are GPUs, .*write h100x1"):
        topology_devices(name)


@needs_libtpu
def test_another_process_that_holds_libtpu_does_not_matter():
    environment = {name: value for name, value in os.environ.items() if name != "ALLOW_MULTIPLE_LIBTPU_LOAD"}
    program = (
        "import os; from reasoning.planning.topology import topology_devices; "
        "print(len(topology_devices('v5e:2x2')), 'ALLOW_MULTIPLE_LIBTPU_LOAD' in os.environ)"
    )
    with Path("/tmp/libtpu_lockfile").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pass  # another process holds it, which is what the test wants
        done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert done.stdout == "4 False\n", done.stderr
    # Nor does it complain of a host without a TPU, which most machines that plan are.
    assert Path("/dev/vfio").exists() or any(Path("/dev").glob("accel*")) or not done.stderr
