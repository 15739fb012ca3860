"""NVIDIA GPUs on machines without one: JAX's CUDA plugin compiles for a description of them, as far as PTX."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

import jax
from jax.experimental import topologies

from reasoning.core.errors import InputError
from reasoning.pipeline.environment import installed_version
from reasoning.planning.chips import CHIPS

_GPUS = re.compile(r"(?:\d+x)?(?:nvidia|cuda|gpu|[abhl]\d{2,3}|gb\d{3}|rtx|mi\d{3})(?![a-z])", re.IGNORECASE)
"""How names of GPUs begin."""

_NAME = re.compile(r"(h100)x([1-9]\d*)")
_HOST = 8
"""GPUs of a host, which NVLink connects with each other, each with a network adapter of its own."""

GPU_NAMES = tuple(f"h100x{count}" for count in (1, 2, 4, *range(_HOST, 33 * _HOST, _HOST)))
"""Some names that there are, to tell one by the devices that are here."""

_PLUGINS = ("jax-cuda12-pjrt", "jax-cuda13-pjrt")

_H100 = {
    "name": '"NVIDIA H100 80GB HBM3"',
    "core_count": 132,
    "fpus_per_core": 128,
    "clock_rate_ghz": 1.98,
    "l2_cache_size": 50 * 2**20,
    "memory_bandwidth": int(CHIPS["h100"].hbm),
    "device_memory_size": int(CHIPS["h100"].usable),
    "threads_per_warp": 32,
    "threads_per_block_limit": 1024,
    "threads_per_core_limit": 2048,
    "block_dim_limit_x": 2**31 - 1,
    "block_dim_limit_y": 2**16 - 1,
    "block_dim_limit_z": 2**16 - 1,
    "registers_per_core_limit": 64 * 2**10,
    "registers_per_block_limit": 64 * 2**10,
    "shared_memory_per_core": 228 * 2**10,
    "shared_memory_per_block": 48 * 2**10,
    "shared_memory_per_block_optin": 227 * 2**10,
    "cuda_compute_capability": "{ major: 9 }",
}
"""What XLA chooses kernels and their tiles by, under the names of its ``GpuDeviceInfoProto``.

The first six are the SXM5's in NVIDIA's "H100 Tensor Core GPU Architecture", its memory is as in ``chips``, and the
rest what every GPU of compute capability 9.0 has by the CUDA C++ Programming Guide, "Compute Capabilities".
"""

_LIBRARIES = "dnn_version_info { major: 9 } runtime_version { major: 12 minor: 9 }"
"""The versions of cuDNN and CUDA that requirements/cuda12.txt begins with."""

GPU_NOTES = (
    "GPUs: lowering, collectives and memory are the compiler's, for a described H100 (SXM5, 80 GB); it made no machine "
    "code and tuned no kernel, so that a GPU may run other kernels for the same products",
    "programs have all 80 GB of a GPU: set XLA_PYTHON_CLIENT_MEM_FRACTION, since JAX takes three quarters by itself; "
    "what CUDA and NCCL hold comes to it",
)
"""What a plan for GPUs takes for granted."""


def names_gpus(name: str) -> bool:
    """Whether a topology's name means GPUs, of whatever kind."""
    return re.match(_GPUS, name) is not None


def gpus_named(name: str) -> tuple[str, int]:
    """The kind and the number of GPUs that ``h100x8`` means. Raises InputError for others."""
    match = re.fullmatch(_NAME, name)
    count = int(match[2]) if match else 0
    if match is None or (count > _HOST and count % _HOST):
        raise InputError(
            f"{name!r} are GPUs, and plans are made for H100s alone, up to {_HOST} or whole hosts; write h100x1, "
            f"h100x{_HOST} or h100x{2 * _HOST}"
        )
    return match[1], count


def gpu_devices(name: str) -> Sequence[Any]:
    """The devices of ``h100x8``: of one host, or of hosts with eight each.

    Raises InputError where JAX's CUDA plugin is missing or not the one of this jaxlib, and for other names.
    """
    _, count = gpus_named(name)
    _check_plugin(name)
    shape = f"{-(-count // _HOST)}x1x{min(count, _HOST)}"
    try:
        topology = topologies.get_topology_desc(
            platform="cuda", topology_name="", topology=shape, target_config="\n".join(_target())
        )
    except (jax.errors.JaxRuntimeError, NotImplementedError) as error:
        raise InputError(f"JAX's CUDA plugin refuses {name}: {str(error).splitlines()[0]}; {_instead()}") from error
    return topology.devices


def cuda_plugin() -> str | None:
    """The installed distribution of the CUDA plugin's compiler; None where there is none."""
    return next((plugin for plugin in _PLUGINS if installed_version(plugin)), None)


def _check_plugin(name: str) -> None:
    plugin, wanted = cuda_plugin(), installed_version("jaxlib")
    here = installed_version(plugin) if plugin else None
    if here != wanted:
        found = f"and here is {here}" if here else "which isn't installed"
        raise InputError(f"compiling for {name} needs JAX's CUDA plugin {wanted}, {found}; {_instead()}")


def _instead() -> str:
    """What to install: nothing of CUDA is needed beside the plugin."""
    version = installed_version("jaxlib")
    return f"pip install --no-deps jax-cuda12-plugin=={version} jax-cuda12-pjrt=={version}"


def _target() -> Iterator[str]:
    """The lines of XLA's ``GpuTargetConfigProto`` as text."""
    yield "gpu_device_info {"
    for name, value in _H100.items():
        yield f"  {name}: {value}" if not str(value).startswith("{") else f"  {name} {value}"
    yield "}"
    yield 'platform_name: "CUDA"'
    yield f"device_description_str: {_H100['name']}"
    yield _LIBRARIES
