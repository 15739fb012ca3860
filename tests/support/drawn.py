"""Parameters from numpy's random numbers, for tests to which any will do: nothing is compiled to make them."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def drawn(shapes: Any, seed: int = 0, deviation: float = 0.1) -> Any:
    """Arrays of these shapes, norms' scales about one and all others about zero, so that a wrong place is seen."""
    generator = np.random.default_rng(seed)

    def draw(path: Any, leaf: jax.ShapeDtypeStruct) -> jax.Array:
        mean = float("scale" in jax.tree_util.keystr(path))
        return jnp.asarray(generator.normal(mean, deviation, leaf.shape), leaf.dtype)

    return jax.tree.map_with_path(draw, shapes)
