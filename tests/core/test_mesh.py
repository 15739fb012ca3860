"""Mesh shapes, the rule table, and moving rows to and from devices."""

import jax
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from reasoning.core import mesh as meshes
from reasoning.core.errors import InputError
from reasoning.core.mesh import MeshShape, build_mesh, check_room


@pytest.mark.parametrize(
    ("shape", "sizes"),
    [
        (MeshShape(), (8, 1, 1, 1, 1)),
        (MeshShape(data=1, fsdp=-1), (1, 8, 1, 1, 1)),
        (MeshShape(data=-1, fsdp=2, tensor=2), (2, 2, 1, 2, 1)),
        (MeshShape(data=8), (8, 1, 1, 1, 1)),
    ],
)
def test_minus_one_takes_the_devices_that_are_left(shape: MeshShape, sizes: tuple[int, ...]):
    assert tuple(build_mesh(shape).shape.values()) == sizes


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (MeshShape(data=-1, fsdp=3), r"3 does not divide the 8 devices"),
        (MeshShape(data=4), r"needs 4 devices but there are 8"),
        (MeshShape(data=-1, fsdp=-1), r"at most one axis may be -1"),
        (MeshShape(data=0), r"none 0"),
    ],
)
def test_a_mesh_that_does_not_fit_the_devices_is_refused_with_the_numbers(shape: MeshShape, message: str):
    with pytest.raises(InputError, match=message):
        build_mesh(shape)


def test_logical_axes_map_to_mesh_axes_by_the_one_table():
    assert meshes.partition(("batch", "time", None)) == PartitionSpec(("data", "fsdp", "expert"), "context", None)
    assert meshes.partition(("layers", "embed", "heads", "head_dim")) == PartitionSpec(None, "fsdp", "tensor", None)


def test_a_dimension_that_does_not_divide_is_refused_with_name_and_numbers():
    mesh = build_mesh(MeshShape(data=1, fsdp=4, tensor=2))
    with pytest.raises(InputError, match=r"kernel: its embed axis has size 6, which mesh axes fsdp = 4"):
        meshes.sharding(mesh, ("embed", "mlp"), (6, 8), "kernel")


def test_rows_come_back_from_the_devices_as_they_went():
    mesh = build_mesh(MeshShape(data=2, fsdp=4))
    local = {"tokens": np.arange(32).reshape(16, 2), "lengths": np.arange(16)}
    spread = meshes.to_global(mesh, local)
    assert spread["tokens"].sharding.spec[0] == ("data", "fsdp", "expert")
    jax.tree.map(lambda array, rows: np.testing.assert_array_equal(meshes.local_rows(array), rows), spread, local)


def test_a_gathered_parameter_is_whole_along_its_shards_only():
    mesh = build_mesh(MeshShape(data=1, fsdp=4, tensor=2))
    place = meshes.sharding(mesh, meshes.gathered(("layers", "embed", "mlp")))
    assert meshes.of_one_layer(place).spec == PartitionSpec(None, "tensor")


def test_a_parameter_lies_in_shards_over_all_axes_that_are_free_and_divide_it():
    mesh = build_mesh(MeshShape(data=1, fsdp=2, expert=2, context=2))

    def spec(axes: tuple[str, ...], shape: tuple[int, ...]) -> tuple:
        return tuple(meshes.sharding(mesh, axes, shape).spec)

    assert spec(("embed", "mlp"), (8, 3)) == (("fsdp", "expert", "context"), "tensor")
    assert spec(("mlp", "embed"), (3, 4)) == ("tensor", ("fsdp", "expert"))
    assert spec(("embed", "none"), (6, 3)) == ("fsdp", None)
    assert spec(("layers", "experts", "embed", "mlp"), (3, 4, 8, 5)) == (None, "expert", ("fsdp", "context"), "tensor")
    assert spec(("none",), (8,)) == (None,)


def test_shapes_with_places_keep_shape_and_type():
    mesh = build_mesh(MeshShape())
    split = meshes.row_sharding(mesh)
    [leaf] = meshes.with_shardings([jax.ShapeDtypeStruct((8, 2), np.int32)], [split])
    assert (leaf.shape, leaf.dtype, leaf.sharding) == ((8, 2), np.int32, split)


def test_tokens_that_no_memory_holds_are_refused_by_arithmetic():
    mesh = build_mesh(MeshShape())
    check_room(10**6, mesh, "the replies")
    with pytest.raises(InputError, match=r"^the replies are 1,000,000,000,000,000 tokens, 14,901,161 GiB before any"):
        check_room(10**15, mesh, "the replies")


def test_rows_are_lengthened_until_the_devices_that_share_one_get_as_many_places_each():
    mesh = build_mesh(MeshShape(data=1, fsdp=2, context=4), jax.devices()[:8])
    assert [meshes.shared_out_length(mesh, length) for length in (1, 4, 23, 24)] == [4, 4, 24, 24]
    assert meshes.shared_out_length(build_mesh(MeshShape(), jax.devices()[:1]), 23) == 23
