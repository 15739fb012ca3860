"""SHA-256 over settings, files, arrays and source code: what "the same" means everywhere in the package."""

import hashlib
import inspect
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils

from reasoning.core.errors import InputError


def hash_json(value: Any) -> str:
    """Name a JSON-able value by its content: equal values give equal hex, whatever the order of their keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def hash_file(path: Path) -> str:
    """SHA-256 of a file's bytes, as hex. Raises OSError where it can't be read."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_source(module: ModuleType) -> str:
    """SHA-256 of the file that a module was loaded from, so that a user's own function can enter a stage's hash.

    Raises InputError where there is no such file: what is typed into a session can't be found again later.
    """
    try:
        path = inspect.getsourcefile(module)
    except TypeError:
        path = None
    if path is None or not Path(path).is_file():
        raise InputError(f"the module {module.__name__} has no source file; put its functions into a .py file")
    return hash_file(Path(path))


def check_hashes(**functions: Callable | None) -> None:
    """Raises InputError for a function without a hash, by which programs are remembered."""
    for name, function in functions.items():
        try:
            hash(function)
        except TypeError:
            raise InputError(
                f"{name} is {function!r}, which has no hash, so its program can't be remembered; make its class a "
                "frozen dataclass, or give a plain function"
            ) from None


def hash_tree(tree: Any) -> str:
    """Compare checkpoints by what they say, not by their files' bytes, which differ from one save to the next.

    One SHA-256, as hex, over the path, dtype, shape and values of every leaf, in the order of the sorted paths. Typed
    PRNG keys count by their key data. Sharding and device count don't matter, nor does dict against dataclass.
    Collective where leaves span several processes: all of them must call it. Raises TypeError for a leaf that isn't an
    array or a number.
    """
    digest = hashlib.sha256()
    leaves = [
        (jax.tree_util.keystr(path, simple=True, separator="/"), leaf)
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    ]
    for name, leaf in sorted(leaves, key=lambda pair: pair[0]):
        is_key = isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        values = _on_host(jax.random.key_data(leaf) if is_key else leaf)
        if values.dtype.kind == "O":
            raise TypeError(f"{name} is a {type(leaf).__name__}, not an array")
        digest.update(json.dumps([name, str(leaf.dtype if is_key else values.dtype), values.shape]).encode())
        digest.update(np.ascontiguousarray(values).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _on_host(leaf: Any) -> np.ndarray:
    if not isinstance(leaf, jax.Array):
        return np.asarray(leaf)
    if not leaf.is_fully_addressable:
        return np.asarray(multihost_utils.process_allgather(leaf, tiled=True))
    # np.asarray(leaf) of a sharded array would leave a second copy of it in host memory as long as it lives.
    values = np.empty(leaf.shape, leaf.dtype)
    for shard in leaf.addressable_shards:
        if shard.replica_id == 0:
            values[shard.index] = np.asarray(shard.data)
    return values
