"""Parameters from numpy's random numbers, for tests to which any will do: nothing is compiled to make them."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from reasoning.models.model import Model, parameter_shardings


def drawn(shapes: Any, seed: int = 0, deviation: float = 0.1) -> Any:
    """Arrays of these shapes, norms' scales about one and all others about zero, so that a wrong place is seen."""
    return jax.tree.map(jnp.asarray, _numbers(shapes, seed, deviation))


def placed(model: Model, mesh: Mesh, seed: int = 0, deviation: float = 0.2) -> Any:
    """A model's parameters where its rules put them on ``mesh``; the same numbers on any."""

    def spread(values: np.ndarray, place: Any) -> jax.Array:
        return jax.make_array_from_callback(values.shape, place, lambda part: values[part])

    return jax.tree.map(spread, _numbers(model.shapes, seed, deviation), parameter_shardings(model, mesh))


def _numbers(shapes: Any, seed: int, deviation: float) -> Any:
    generator = np.random.default_rng(seed)

    def draw(path: Any, leaf: jax.ShapeDtypeStruct) -> np.ndarray:
        mean = float("scale" in jax.tree_util.keystr(path))
        return generator.normal(mean, deviation, leaf.shape).astype(leaf.dtype)

    return jax.tree.map_with_path(draw, shapes)
