"""The same losses on every layout: one device, meshes of eight, several processes, any number of microbatches."""

import json
import os
import socket

import forked
import jax
import numpy as np
import pytest
import three_steps

from reasoning.cli.distributed import process_environment
from reasoning.core.mesh import MeshShape

pytestmark = pytest.mark.slow

TOLERANCE = 1e-5
LONG = 160
"""Places of a row whose attention is computed in blocks; of 48 all scores are made at once."""


@pytest.fixture(scope="module")
def of_one_device() -> dict[str, list[float]]:
    found = three_steps.losses(MeshShape(), 1, jax.devices()[:1])
    assert all(len(set(values)) == 3 for values in found.values())  # the steps change something
    return found


def check(found: dict[str, list[float]], expected: dict[str, list[float]]) -> None:
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=0, atol=TOLERANCE, err_msg=name)


@pytest.mark.parametrize(
    "shape",
    [MeshShape(data=1, fsdp=8), MeshShape(data=1, fsdp=4, tensor=2)],
    ids=["fsdp 8", "fsdp 4 tensor 2"],
)
def test_eight_devices_with_two_microbatches_give_the_losses_of_one(shape: MeshShape, of_one_device: dict):
    check(three_steps.losses(shape, 2), of_one_device)


def test_four_devices_with_four_microbatches_give_the_losses_of_one(of_one_device: dict):
    check(three_steps.losses(MeshShape(), 4, jax.devices()[:4]), of_one_device)


@pytest.mark.parametrize(
    "shape",
    [MeshShape(data=1, fsdp=2, context=4), MeshShape(data=1, context=2, tensor=2, expert=2)],
    ids=["fsdp 2 context 4", "context 2 tensor 2 expert 2"],
)
def test_rows_cut_over_devices_give_the_losses_of_one(shape: MeshShape, of_one_device: dict):
    check(three_steps.losses(shape, 2, length=LONG), of_one_device)


def test_two_processes_of_four_devices_give_the_losses_of_one_device(of_one_device: dict):
    meshes = [({"data": 2, "fsdp": 2, "tensor": 2}, three_steps.CONFIG.context), ({"fsdp": 2, "context": 4}, LONG)]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        coordinator = f"127.0.0.1:{free.getsockname()[1]}"
    environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": str(jax.config.values["jax_compilation_cache_dir"])}
    words = ["three_steps", json.dumps(meshes)]
    running = [forked.start(words, environment | process_environment(coordinator, 2, number, 4)) for number in range(2)]
    outputs, errors = zip(*(process.communicate(timeout=570) for process in running), strict=True)
    assert [process.returncode for process in running] == [0, 0], "\n====\n".join(errors)
    for found in json.loads(outputs[0].splitlines()[-1]):
        check(found, of_one_device)
