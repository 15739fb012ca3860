"""GPUs are hosts of eight; without the plugin, or with another JAX's, one line says what to install."""

from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from reasoning.core.errors import InputError
from reasoning.core.mesh import MeshShape, build_mesh
from reasoning.core.program import Program
from reasoning.planning import gpus
from reasoning.planning.compiling import Compiler
from reasoning.planning.gpus import GPU_NAMES, cuda_plugin, gpu_devices, gpus_named, names_gpus

needs_cuda_plugin = pytest.mark.skipif(
    cuda_plugin() is None, reason="JAX's CUDA plugin is not installed: requirements/cuda12.txt has it"
)


@pytest.mark.parametrize("name", ["h100x8", "H100", "a100-80gb", "gb200:4", "gpu", "2xh100x8"])
def test_gpus_are_known_by_their_names(name):
    assert names_gpus(name)


@pytest.mark.parametrize("name", ["v5e-16", "2xv5e:4x4", "v4:2x2x1", "tpu7x-8", "gpus_of_mine"])
def test_nothing_else_is_taken_for_gpus(name):
    assert not names_gpus(name)


def test_a_name_says_how_many_there_are():
    assert [gpus_named(f"h100x{count}") for count in (1, 3, 8, 64)] == [("h100", count) for count in (1, 3, 8, 64)]
    assert all(gpus_named(name) for name in GPU_NAMES)


@pytest.mark.parametrize("name", ["h100", "h100x0", "h100x12", "a100x8", "2xh100x8", "H100x8"])
def test_gpus_that_nobody_plans_for_are_refused_with_those_that_are(name):
    with pytest.raises(InputError, match=f"'{name}' are GPUs, .* H100s alone, .*; write h100x1, h100x8 or h100x16"):
        gpus_named(name)


@pytest.mark.parametrize(("here", "told"), [(None, "which isn't installed"), ("0.0.1", "and here is 0.0.1")])
def test_without_the_plugin_of_this_jax_the_message_says_what_to_install(monkeypatch, here, told):
    versions = {"jaxlib": "0.10.2", "jax-cuda12-pjrt": here}
    monkeypatch.setattr(gpus, "installed_version", versions.get)
    install = r"pip install --no-deps jax-cuda12-plugin==0\.10\.2 jax-cuda12-pjrt==0\.10\.2"
    with pytest.raises(InputError, match=f"h100x8 needs JAX's CUDA plugin 0.10.2, {told}; {install}"):
        gpu_devices("h100x8")


@needs_cuda_plugin
def test_a_program_for_two_hosts_exchanges_by_the_network_between_them(tmp_path: Path):
    mesh = build_mesh(MeshShape(data=2, fsdp=8), gpu_devices("h100x16"))
    rows, weight = (NamedSharding(mesh, P(axes)) for axes in (("data", "fsdp"), "fsdp"))
    shapes = [
        jax.ShapeDtypeStruct(size, jnp.float32, sharding=place)
        for size, place in (((1024, 256), rows), ((256, 64), weight))
    ]
    step = jax.jit(jax.grad(lambda w, x: jnp.sum((x @ w) ** 2)), out_shardings=weight)
    found = Compiler("h100x16", tmp_path, lambda name: None).compile(
        Program("step", step, (shapes[1], shapes[0])), mesh
    )
    assert not found.refusal and found.unread == ()
    assert found.flops == 2 * (2 * 64 * 256 * 64)  # forward, and the weight's gradient, of 64 rows a device
    assert found.memory >= found.arguments == 4 * (64 * 256 + 32 * 64)
    assert sum(one.held for one in found.exchanged if one.kind == "all-gather") == 4 * 256 * 64
    assert {one.across_slices for one in found.exchanged if one.axes == "fsdp"} == {False}
    assert any(one.across_slices for one in found.exchanged)  # the gradient's sum over both hosts
