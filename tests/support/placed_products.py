"""A program for one v5e chip, compiled until its buffers are placed; without devices of this machine at import."""

from pathlib import Path

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from reasoning.core.mesh import MeshShape, build_mesh
from reasoning.core.program import Program
from reasoning.planning import placed
from reasoning.planning.apart import place_here
from reasoning.planning.topology import topology_devices


def products() -> tuple[Program, Mesh]:
    """Products of matrices, and the chip's mesh."""
    mesh = build_mesh(MeshShape(), topology_devices("v5e-1"))
    shape = jax.ShapeDtypeStruct((8192, 8192), jnp.float32, sharding=NamedSharding(mesh, P()))
    return Program("products", jax.jit(lambda x: (x @ x) @ (x @ x.T)), (shape,)), mesh


def left_when_placed(file: Path) -> None:
    """Leaves them in the file, however soon they would be compiled."""
    placed._PATIENCE = 0.0
    place_here(products()[0], file)
