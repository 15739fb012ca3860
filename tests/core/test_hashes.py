import hashlib
import json
import os
import types
from dataclasses import dataclass

import forked
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from reasoning.core import hashes
from reasoning.core.errors import InputError

# Printed by a second process with four devices: the hash of each sharding, a line each.
FOUR_DEVICES = """
import jax, numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec as P
from reasoning.core.hashes import hash_tree
mesh = Mesh(np.array(jax.devices()).reshape(2, 2), ("a", "b"), axis_types=(AxisType.Auto,) * 2)
for spec in (P("a", "b"), P(None, "b"), P(("a", "b"), None), P()):
    matrix = jax.device_put(np.arange(32, dtype=jax.numpy.bfloat16).reshape(4, 8), NamedSharding(mesh, spec))
    key = jax.device_put(jax.random.key(3), NamedSharding(mesh, P()))
    print(hash_tree({"matrix": matrix, "key": key}))
"""


def example():
    return {"matrix": np.arange(32, dtype=jnp.bfloat16).reshape(4, 8), "key": jax.random.key(3)}


def expected_hash(entries):
    """The definition of a tree's hash, written out over plain numpy arrays: (path, dtype's name, array)."""
    digest = hashlib.sha256()
    for path, dtype, array in entries:
        digest.update(json.dumps([path, dtype, list(array.shape)]).encode() + array.tobytes())
    return digest.hexdigest()


def test_tree_hash_is_sha256_of_paths_dtypes_shapes_and_bytes():
    key_words = np.array([0, 3], np.uint32)  # what jax.random.key(3) holds
    matrix = example()["matrix"]
    assert hashes.hash_tree(example()) == expected_hash(
        [("key", "key<fry>", key_words), ("matrix", "bfloat16", matrix)]
    )


def test_tree_hash_is_the_same_in_another_process_on_four_devices_under_any_sharding():
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": "4"}
    lines = forked.run(["-c", FOUR_DEVICES], environment, 100).stdout.split()
    assert lines == [hashes.hash_tree(example())] * 4


@pytest.mark.parametrize(
    "change",
    [
        lambda tree: tree | {"key": jax.random.key(4)},
        lambda tree: tree | {"key": jax.random.key(3, impl="rbg")},
        lambda tree: tree | {"key": jax.random.key_data(jax.random.key(3))},
        lambda tree: tree | {"matrix": tree["matrix"].astype(np.float32)},
        lambda tree: tree | {"matrix": tree["matrix"].reshape(8, 4)},
        lambda tree: tree | {"matrix": np.where(tree["matrix"] == 7, np.nan, tree["matrix"]).astype(jnp.bfloat16)},
        lambda tree: {"key": tree["key"], "matrices": tree["matrix"]},
        lambda tree: tree | {"one more": np.zeros(0)},
    ],
    ids=["value of key", "kind of key", "raw key", "dtype", "shape", "one value", "name", "empty leaf"],
)
def test_any_difference_in_path_dtype_shape_or_value_changes_the_hash(change):
    assert hashes.hash_tree(change(example())) != hashes.hash_tree(example())


def test_a_dataclass_and_a_dict_with_the_same_leaves_hash_alike():
    @jax.tree_util.register_dataclass
    @dataclass
    class Pair:
        right: float
        left: float

    assert hashes.hash_tree(Pair(right=1.0, left=2.0)) == hashes.hash_tree({"left": 2.0, "right": 1.0})


def test_a_leaf_that_is_no_array_is_refused_by_name():
    with pytest.raises(TypeError, match="options/name is a Mesh"):
        hashes.hash_tree({"options": {"name": Mesh(np.array(jax.devices()[:1]), ("a",), axis_types=(AxisType.Auto,))}})


def test_replicated_and_plain_arrays_hash_alike_here():
    mesh = Mesh(np.array(jax.devices()[:1]), ("a",), axis_types=(AxisType.Auto,))
    plain = jnp.arange(6.0)
    assert hashes.hash_tree(jax.device_put(plain, NamedSharding(mesh, PartitionSpec("a")))) == hashes.hash_tree(plain)


def test_json_hash_ignores_the_order_of_keys_and_nothing_else():
    assert hashes.hash_json({"b": 1, "a": [1, 2]}) == hashes.hash_json({"a": (1, 2), "b": 1})
    assert hashes.hash_json({"a": [1, 2]}) != hashes.hash_json({"a": [2, 1]})
    assert hashes.hash_json(1) != hashes.hash_json(1.0)


def test_file_hash_is_sha256_of_the_bytes(tmp_path):
    (tmp_path / "file").write_bytes(b"abc")
    # FIPS 180-2, appendix B.1.
    assert hashes.hash_file(tmp_path / "file") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_source_hash_is_the_hash_of_the_module_file():
    assert hashes.hash_source(hashes) == hashes.hash_file(hashes.__file__)


def test_a_function_without_a_hash_is_refused_by_its_name():
    @dataclass
    class Scaled:
        by: float

        def __call__(self, values):
            return self.by * values

    hashes.check_hashes(plain=len, frozen=dataclass(frozen=True)(type("Frozen", (), {})))
    with pytest.raises(InputError, match=r"advantage is .*Scaled\(by=2.0\), which has no hash.*a frozen dataclass"):
        hashes.check_hashes(plain=len, advantage=Scaled(2.0))


def test_a_module_without_a_file_is_refused():
    with pytest.raises(InputError, match="typed_in has no source file"):
        hashes.hash_source(types.ModuleType("typed_in"))
