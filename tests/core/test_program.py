"""What a device holds of shapes is its share where they are split, and all where they aren't."""

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from reasoning.core.mesh import MeshShape, build_mesh
from reasoning.core.program import device_bytes

MESH = build_mesh(MeshShape(data=2, fsdp=4))


def test_a_split_array_counts_by_its_share_and_a_whole_one_whole():
    split = jax.ShapeDtypeStruct((8, 6), jnp.bfloat16, sharding=NamedSharding(MESH, P("fsdp")))
    whole = jax.ShapeDtypeStruct((3,), jnp.float32, sharding=NamedSharding(MESH, P()))
    assert device_bytes({"a": split, "b": (whole, whole)}) == 2 * 6 * 2 + 2 * 3 * 4
    assert device_bytes(jax.ShapeDtypeStruct((5,), jnp.int8)) == 5


def test_it_is_what_real_arrays_hold():
    arrays = [
        jax.device_put(jnp.zeros((8, 6), jnp.float32), NamedSharding(MESH, P("fsdp"))),
        jax.device_put(jnp.zeros((16,), jnp.int32), NamedSharding(MESH, P(("data", "fsdp")))),
    ]
    assert device_bytes(arrays) == sum(array.addressable_shards[0].data.nbytes for array in arrays)
