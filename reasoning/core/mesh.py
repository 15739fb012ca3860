"""Device meshes and the one table that says which mesh axis shards which logical axis of an array."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Annotated, Any

import jax
import numpy as np
from jax.experimental import mesh_utils, multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from reasoning.core.errors import InputError
from reasoning.core.ranges import Range

_AxisSize = Annotated[int, Range(minimum=-1)]

_RULES: dict[str, tuple[str, ...]] = {
    "batch": ("data", "fsdp", "expert"),
    "time": ("context",),
    "embed": ("fsdp",),
    "vocabulary": ("tensor",),
    "heads": ("tensor",),
    "kv_heads": ("tensor",),
    "mlp": ("tensor",),
    "experts": ("expert",),
    "layers": (),
    "head_dim": (),
    "none": (),
}
"""Logical axis -> mesh axes. Models and stages name logical axes only; this table is the one place that maps them."""

_SHARDED = "embed"
"""The logical axis along which a parameter is held in shards and gathered for each use (ZeRO 3, arXiv 1910.02054)."""

SHARD_AXES = ("fsdp", "expert", "context")
"""The mesh axes of those shards. All but the first, which other dimensions or nothing else of a parameter may lie over,
are taken only where they are free and divide it."""


@dataclass(frozen=True)
class MeshShape:
    """Sizes of the mesh axes; exactly one may be -1 and then takes the devices that are left."""

    data: _AxisSize = -1
    fsdp: _AxisSize = 1
    context: _AxisSize = 1
    tensor: _AxisSize = 1
    expert: _AxisSize = 1

    def names(self) -> tuple[str, ...]:
        """Mesh axes from the slowest to the fastest varying, so that tensor neighbours are close on the wires."""
        return tuple(field.name for field in fields(self))

    def resolve(self, devices: int) -> tuple[int, ...]:
        """Sizes with -1 replaced, for ``devices`` devices; InputError where they can't be divided so."""
        sizes = [getattr(self, name) for name in self.names()]
        shown = ", ".join(f"{name} {size}" for name, size in zip(self.names(), sizes, strict=True))
        if sizes.count(-1) > 1 or 0 in sizes:
            raise InputError(f"mesh ({shown}): at most one axis may be -1 and none 0; set the sizes of the others")
        known = int(np.prod([size for size in sizes if size != -1]))
        if -1 not in sizes and known != devices:
            raise InputError(f"mesh ({shown}) needs {known} devices but there are {devices}; change an axis or use -1")
        if devices % known:
            raise InputError(f"mesh ({shown}): {known} does not divide the {devices} devices; change an axis")
        return tuple(devices // known if size == -1 else size for size in sizes)


def build_mesh(shape: MeshShape, devices: Sequence[Any] | None = None) -> Mesh:
    """A mesh whose neighbours on the fast axes are neighbours on the interconnect.

    ``devices`` are jax devices (default: all of them, on all processes) or those of an ahead-of-time topology. Over
    several TPU slices the ``data`` axis crosses slices and the others stay within one.
    """
    devices = list(jax.devices() if devices is None else devices)
    sizes = shape.resolve(len(devices))
    slices = {getattr(device, "slice_index", 0) for device in devices}
    if len(slices) > 1 and devices[0].platform == "tpu":
        if sizes[0] % len(slices):
            raise InputError(f"mesh axis data {sizes[0]} is not a multiple of the {len(slices)} slices; make it one")
        inner = (sizes[0] // len(slices), *sizes[1:])
        outer = (len(slices), *(1 for _ in sizes[1:]))
        grid = mesh_utils.create_hybrid_device_mesh(inner, outer, devices, allow_split_physical_axes=True)
    elif devices[0].platform == "cpu":
        grid = np.array(devices).reshape(sizes)
    else:
        grid = mesh_utils.create_device_mesh(sizes, devices, allow_split_physical_axes=True)
    return Mesh(grid, shape.names(), axis_types=(AxisType.Auto,) * len(sizes))


def on_cpu(mesh: Mesh | None) -> bool:
    """Whether the devices of a mesh are CPUs; None stands for JAX's own."""
    return (jax.devices() if mesh is None else mesh.devices.flat)[0].platform == "cpu"


_TOKEN_BYTES = 16


def memory_bytes(mesh: Mesh) -> int | None:
    """What the devices of a mesh can hold together, on the CPU the memory of its hosts; None where nothing tells."""
    here = [device for device in mesh.devices.flat if device in jax.local_devices()]
    processes = len({device.process_index for device in mesh.devices.flat})
    if not here:
        return None
    if here[0].platform == "cpu":
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") * processes
    limit = (here[0].memory_stats() or {}).get("bytes_limit")
    return None if limit is None else limit * mesh.size


def check_room(tokens: int, mesh: Mesh, what: str) -> None:
    """Raises InputError where ``what``, that has so many tokens, can't be in memory at once by its bare numbers.

    A token takes its id, place, document and weight, four bytes each; what a model computes of it comes on top.
    """
    held, wanted = memory_bytes(mesh), _TOKEN_BYTES * tokens
    if held is not None and wanted > held:
        raise InputError(
            f"{what} are {tokens:,} tokens, {wanted / 2**30:,.0f} GiB before any model reads them, and the devices "
            f"hold {held / 2**30:,.0f} GiB; make them fewer or shorter"
        )


def partition(axes: Sequence[str | None]) -> PartitionSpec:
    """The PartitionSpec of an array whose dimensions have these logical axes (None: not sharded)."""
    spec = []
    for axis in axes:
        names = _RULES[axis] if axis is not None else ()
        spec.append(names[0] if len(names) == 1 else (names or None))
    return PartitionSpec(*spec)


def sharding(mesh: Mesh, axes: Sequence[str | None], shape: Sequence[int] | None = None, what: str = "array"):
    """NamedSharding of a parameter's logical ``axes``: its shards go over all of ``SHARD_AXES`` that they can.

    With ``shape`` given, a dimension that doesn't divide is an InputError.
    """
    spec = partition(axes)
    if shape is not None and _SHARDED in axes:
        spec = _spread(mesh, spec, axes.index(_SHARDED), shape)
    for dimension, (axis, names) in enumerate(zip(axes, spec, strict=True)):
        names = (names,) if isinstance(names, str) else (names or ())
        parts = int(np.prod([mesh.shape[name] for name in names]))
        if shape is not None and shape[dimension] % parts:
            raise InputError(
                f"{what}: its {axis} axis has size {shape[dimension]}, which mesh axes {' x '.join(names)} = {parts} "
                f"do not divide; change the size or the mesh"
            )
    return NamedSharding(mesh, spec)


def _spread(mesh: Mesh, spec: PartitionSpec, dimension: int, shape: Sequence[int]) -> PartitionSpec:
    """``spec`` with one dimension also over those further shard axes that are free and divide it."""
    taken = {name for names in spec for name in ((names,) if isinstance(names, str) else names or ())}
    over = list(_RULES[_SHARDED])
    for name in SHARD_AXES:
        parts = mesh.shape[name] * int(np.prod([mesh.shape[one] for one in over]))
        if name not in taken and mesh.shape[name] > 1 and shape[dimension] % parts == 0:
            over.append(name)
    return spec if len(over) == 1 else PartitionSpec(*spec[:dimension], tuple(over), *spec[dimension + 1 :])


def gathered(axes: Sequence[str | None]) -> tuple[str | None, ...]:
    """The logical axes of a parameter whose shards are gathered."""
    return tuple(None if name == _SHARDED else name for name in axes)


def constrain(mesh: Mesh | None, array: jax.Array, axes: Sequence[str | None]) -> jax.Array:
    """Pins an intermediate array to its logical sharding inside jit; without a mesh the array is returned as it is."""
    if mesh is None or mesh.size == 1:
        return array
    return jax.lax.with_sharding_constraint(array, NamedSharding(mesh, partition(axes)))


def replicated(mesh: Mesh) -> NamedSharding:
    """The sharding of scalars and of everything that each device holds whole."""
    return NamedSharding(mesh, PartitionSpec())


def row_sharding(mesh: Mesh) -> NamedSharding:
    """The sharding of a batch: its first axis is split over the data-parallel devices."""
    return NamedSharding(mesh, partition(("batch",)))


def shared_out_length(mesh: Mesh, length: int) -> int:
    """The least number of places, ``length`` or more, that the devices which share a row (``context``) can divide."""
    return -(-length // mesh.shape["context"]) * mesh.shape["context"]


def data_parallel_size(mesh: Mesh) -> int:
    """In how many parts the first axis of a batch is split."""
    return int(np.prod([mesh.shape[name] for name in _RULES["batch"]]))


def to_global(mesh: Mesh, tree: Any) -> Any:
    """Global arrays, split by rows, from each process's own rows (a pytree of numpy arrays, all with a row axis)."""
    split = row_sharding(mesh)
    return jax.tree.map(lambda local: jax.make_array_from_process_local_data(split, np.asarray(local)), tree)


def local_rows(array: jax.Array) -> np.ndarray:
    """This process's rows of a global array that is split by rows at most, in order, as numpy."""
    if array.is_fully_addressable:
        return np.asarray(array)
    parts: dict[int, np.ndarray] = {}
    for shard in array.addressable_shards:
        start = shard.index[0].start or 0
        parts.setdefault(start, np.asarray(shard.data))
    return np.concatenate([parts[start] for start in sorted(parts)])


def with_shardings(shapes: Any, places: Any) -> Any:
    """Shapes with shardings: what a checkpoint is restored onto, and what a program is compiled for."""
    return jax.tree.map(
        lambda shape, place: jax.ShapeDtypeStruct(shape.shape, shape.dtype, sharding=place), shapes, places
    )


def of_one_layer(place: NamedSharding) -> NamedSharding:
    """The sharding of one element along the first dimension (one layer of a stack)."""
    return NamedSharding(place.mesh, PartitionSpec(*place.spec[1:]))


def largest_of_all_processes(value: int) -> int:
    """The largest of all processes' values, for shapes that every process must agree on."""
    if jax.process_count() == 1:
        return value
    return int(np.max(multihost_utils.process_allgather(np.array(value))))


def rows_of_all_processes(local: np.ndarray) -> np.ndarray:
    """All processes' rows, in process order, on each of them."""
    if jax.process_count() == 1:
        return local
    return multihost_utils.process_allgather(local, tiled=True)


def wait_for_all(what: str) -> None:
    """Waits until every process has come to the point named ``what``."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(what)
