"""Which kernels a mesh's devices get, and that steps have the same losses with either."""

from collections.abc import Iterator

import jax
import numpy as np
import pytest
import three_steps

from reasoning.core.errors import InputError
from reasoning.core.mesh import MeshShape, build_mesh
from reasoning.kernels.backends import ACCELERATOR_LOGITS_BYTES, Chunked, PallasTPU, kernels_for
from reasoning.planning.topology import libtpu_is_installed, topology_devices


@pytest.fixture
def cpu_mesh() -> Iterator[jax.sharding.Mesh]:
    yield build_mesh(MeshShape(), jax.devices()[:1])


def test_a_cpu_gets_plain_xla(cpu_mesh):
    assert kernels_for("auto", cpu_mesh) == kernels_for("chunked", cpu_mesh) == kernels_for("auto", None) == Chunked()
    assert str(kernels_for("auto", cpu_mesh)) == "plain XLA, a chunk of tokens at a time"


def test_pallas_without_a_tpu_is_refused_unless_interpreted(cpu_mesh):
    with pytest.raises(InputError, match="the mesh's devices are cpu; choose 'chunked'"):
        kernels_for("pallas_tpu", cpu_mesh)
    found = kernels_for("pallas_tpu_interpreted", cpu_mesh)
    assert isinstance(found, PallasTPU) and found.tpu.interpret is True and "very slow" in str(found)


def test_an_unknown_choice_is_refused(cpu_mesh):
    unknown: list = ["triton"]
    with pytest.raises(InputError, match="'triton' are unknown; choose one of auto, chunked"):
        kernels_for(unknown[0], cpu_mesh)


@pytest.mark.skipif(not libtpu_is_installed(), reason="libtpu isn't installed")
@pytest.mark.parametrize("topology", ("v5e:2x2", "v6e:2x2", "v5p:2x2x1", "tpu7x:2x2x1", "v4:2x2x1"))
def test_the_meshs_devices_choose_and_not_the_machine_that_plans(topology):
    mesh = build_mesh(MeshShape(), topology_devices(topology))
    found = kernels_for("auto", mesh)
    assert jax.default_backend() == "cpu"
    assert isinstance(found, PallasTPU) and not found.tpu.interpret
    assert found.tpu.chip.name == mesh.devices.flat[0].device_kind and found.tpu.chip.name in str(found)
    assert kernels_for("chunked", mesh) == Chunked(ACCELERATOR_LOGITS_BYTES)


@pytest.mark.slow
def test_sft_grpo_and_kl_have_the_same_losses_in_chunks_and_in_interpreted_kernels():
    devices = jax.devices()[:1]
    chunked = three_steps.losses(MeshShape(), 2, devices, "chunked")
    interpreted = three_steps.losses(MeshShape(), 2, devices, "pallas_tpu_interpreted")
    assert chunked.keys() == interpreted.keys() == {"sft", "grpo", "kl"}
    for name, values in chunked.items():
        np.testing.assert_allclose(interpreted[name], values, rtol=1e-5, atol=1e-5, err_msg=name)
    assert chunked == three_steps.losses(MeshShape(), 2, devices)
