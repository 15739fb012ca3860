"""Topologies on machines without an accelerator: real descriptions of devices that programs are compiled for."""

import importlib.util
import math
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
from jax.experimental import topologies

from reasoning.core.errors import InputError
from reasoning.pipeline.environment import installed_version
from reasoning.planning.chips import CHIPS
from reasoning.planning.gpus import GPU_NOTES, cuda_plugin, gpu_devices, gpus_named, names_gpus

_DIMENSIONS = {"v4": 3, "v5e": 2, "v5p": 3, "v6e": 2, "tpu7x": 3}
"""Generation of chips -> dimensions of its network. libtpu itself takes more, and so plans for what doesn't exist."""

_SHAPES_2D = ("1x1", "2x2", "2x4", "4x4", "4x8", "8x8", "8x16", "16x16")
_SHAPES_3D = ("2x2x1", "2x2x2", "2x2x4", "2x4x4", "4x4x4", "4x4x8", "4x8x8", "8x8x8", "8x8x16")


def _chips(shape: str) -> int:
    """How many chips a shape such as 4x4 has."""
    return math.prod(int(size) for size in shape.split("x"))


CLOUD_NAMES = {
    **{f"v5litepod-{_chips(shape)}": f"v5e:{shape}" for shape in _SHAPES_2D},
    **{f"v5e-{_chips(shape)}": f"v5e:{shape}" for shape in _SHAPES_2D},
    **{f"v6e-{_chips(shape)}": f"v6e:{shape}" for shape in _SHAPES_2D},
    **{f"v4-{2 * _chips(shape)}": f"v4:{shape}" for shape in _SHAPES_3D},
    **{f"v5p-{2 * _chips(shape)}": f"v5p:{shape}" for shape in _SHAPES_3D},
    **{f"tpu7x-{2 * _chips(shape)}": f"tpu7x:{shape}" for shape in _SHAPES_3D},
}
"""The names that clouds rent by -> the compiler's. Generations whose chips have two cores count cores in theirs."""

_NO_TPU = {"TPU_ACCELERATOR_TYPE": "v5litepod-16", "TPU_WORKER_HOSTNAMES": "localhost"}
"""What libtpu asks the host of a TPU for."""


def libtpu_is_installed() -> bool:
    """Whether this Python has libtpu, without which nothing can be compiled for a TPU."""
    return importlib.util.find_spec("libtpu") is not None


def topology_devices(name: str) -> Sequence[Any]:
    """The devices of ``v5e:4x4`` and the like (or of a cloud's name, ``v5litepod-16``), to build a mesh of.

    ``2xv5e:4x4`` are two slices, ``h100x8`` a host of GPUs.

    A device is a chip, but for tpu7x, whose chips are two devices. Raises InputError where libtpu (JAX's CUDA plugin)
    is missing or not the one that this JAX was made with, and for a topology that doesn't exist or that it refuses.
    """
    if names_gpus(name):
        return gpu_devices(name)
    slices, single = _slices(name)
    generation, shape = _parse(single)
    _check_libtpu(name)
    options: dict[str, Any] = {}
    if generation == "v4":
        options["chip_config_name"] = "megacore"  # as chips run: otherwise each core would be a device of its own
    if _chips(shape) == 1:
        options["chips_per_host_bounds"] = (1, 1, 1)  # libtpu takes a host of four chips for granted
    if slices > 1:
        options["num_slices"] = slices
    try:
        with _beside_other_processes():
            topology = topologies.get_topology_desc(platform="tpu", topology_name=f"{generation}:{shape}", **options)
    except jax.errors.JaxRuntimeError as error:
        raise InputError(
            f"libtpu refuses the topology {name!r}: {str(error).splitlines()[0]}; {_known(single)}"
        ) from error
    return topology.devices


def _check_libtpu(name: str) -> None:
    if not libtpu_is_installed():
        raise InputError(f"compiling for {name} needs libtpu, which is not installed; pip install 'reasoning-jax[tpu]'")
    pinned = (re.match(r"libtpu==([\d.]+)\.\*", each) for each in metadata.requires("jax") or ())
    wanted, here = next((found[1] for found in pinned if found), ""), installed_version("libtpu") or ""
    if wanted and here and not here.startswith(f"{wanted}."):
        raise InputError(
            f"compiling for {name} needs libtpu {wanted}.*, which jax {jax.__version__} was made with, and here is "
            f"libtpu {here}; pip install 'libtpu=={wanted}.*'"
        )


def devices_named(name: str) -> tuple[str, int]:
    """The generation of chips that a topology's name means, and how many devices JAX sees there.

    Raises InputError for a topology that doesn't exist; no compiler is asked.
    """
    if names_gpus(name):
        return gpus_named(name)
    slices, single = _slices(name)
    generation, shape = _parse(single)
    return generation, slices * _chips(shape) * CHIPS[generation].devices


def compilers(name: str) -> tuple[str, ...]:
    """The distributions whose versions decide what a program for this topology is compiled to."""
    return ("jaxlib", (cuda_plugin() or "jax-cuda12-pjrt") if names_gpus(name) else "libtpu")


def notes_on(name: str) -> tuple[str, ...]:
    """What every plan for this topology takes for granted."""
    return GPU_NOTES if names_gpus(name) else ()


def neighbourhood(device: Any) -> int:
    """The number of the slice that a device lies in, or the host of a GPU: others are reached by the network."""
    return device.process_index if device.platform == "gpu" else getattr(device, "slice_index", 0)


def _slices(name: str) -> tuple[int, str]:
    """How many slices a name such as ``2xv5e-256`` means, and that of one."""
    match = re.fullmatch(r"([1-9]\d*)x(?=[a-z])(.+)", name)
    return (int(match[1]), match[2]) if match else (1, name)


def _parse(name: str) -> tuple[str, str]:
    """Generation and shape that a topology's name, or a cloud's, stands for; InputError where there is none."""
    match = re.fullmatch(r"(\w+):([1-9]\d*(?:x[1-9]\d*)*)", CLOUD_NAMES.get(name, name))
    if match is None or match[1] not in _DIMENSIONS:
        raise InputError(f"there is no TPU topology {name!r}; {_known(name)}")
    generation, shape = match.groups()
    if shape.count("x") + 1 != _DIMENSIONS[generation]:
        raise InputError(
            f"{name!r}: the shape of {generation} has {_DIMENSIONS[generation]} dimensions; {_known(name)}"
        )
    return generation, shape


def _known(name: str) -> str:
    """What to write instead of an unknown name: of its own generation, where it has one."""
    shapes = ", ".join(f"{generation}:{'x'.join('4' * count)}" for generation, count in _DIMENSIONS.items())
    alike = [each for each in CLOUD_NAMES if each.split("-")[0] == re.split("[-:]", name)[0]]
    return f"write a form like {shapes}, or a cloud's name such as {', '.join(alike or list(CLOUD_NAMES)[:4])}"


@contextmanager
def _beside_other_processes() -> Iterator[None]:
    """Lets libtpu load where another process has it: a description opens no TPU, so their lock doesn't matter.

    Where there is no TPU, libtpu is told what it would ask this host for, since it complains in five lines of not being
    told; a topology is what its name says all the same.
    """
    given = {"ALLOW_MULTIPLE_LIBTPU_LOAD": "1"}
    if not any(Path("/dev").glob("accel*")) and not Path("/dev/vfio").exists():
        given |= {name: value for name, value in _NO_TPU.items() if name not in os.environ}
    before = {name: os.environ.get(name) for name in given}
    os.environ.update(given)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
