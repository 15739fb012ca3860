"""Groups of collectives are read in all the forms that compilers write them in."""

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from reasoning.core.mesh import MeshShape, build_mesh
from reasoning.planning.groups import first_group


@pytest.mark.parametrize(
    ("written", "group"),
    [
        ("replica_groups={{0,4},{1,5}}", (0, 4)),
        ("replica_groups=[2,4]<=[8]", (0, 1, 2, 3)),
        ("replica_groups=[4,2]<=[2,4]T(1,0)", (0, 4)),
        ("source_target_pairs={{0,0},{1,3},{3,1}}", (1, 3)),
        ("replica_groups={}", ()),
        ("replica_groups=mesh['axis_0'=1,'axis_1'=8] {'axis_1'}", tuple(range(8))),
        ("replica_groups=mesh['a'=2,'b'=4] {'a'}", (0, 4)),
        ("replica_groups=mesh['a'=2,'b'=2,'c'=2] {'a','c'}", (0, 1, 4, 5)),
        ("replica_groups=mesh['a'=1,'b'=4,'c'=2], device_ids=([2,4]T(1,0)) {'b'}", (0, 1, 2, 3)),
        ("replica_groups=mesh['a'=8] {'a':(2)2}", (0, 2)),
    ],
)
def test_groups_are_read_in_all_their_forms(written, group):
    assert first_group(f"channel_id=1, {written}, use_global_device_ids=true") == group


@pytest.mark.parametrize(("axis", "group"), [("data", (0, 4)), ("fsdp", (0, 2)), ("tensor", (0, 1))])
def test_a_gathering_along_an_axis_of_a_mesh_is_among_its_neighbours(axis, group):
    mesh = build_mesh(MeshShape(data=2, fsdp=2, tensor=2))
    split = jax.ShapeDtypeStruct((8, 8), jnp.float32, sharding=NamedSharding(mesh, P(axis)))
    whole = jax.jit(lambda x: x * 2, out_shardings=NamedSharding(mesh, P()))
    text = whole.lower(split).compile().as_text() or ""
    [line] = [line for line in text.splitlines() if " all-gather(" in line]
    assert first_group(line) == group
