"""How the parameters of a layer are made, where arrays lie on a mesh, and the norm that all layers share."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.sharding import Mesh

from reasoning.core import mesh as meshes
from reasoning.kernels.grouped import PLAIN, GroupedProduct
from reasoning.models.config import ModelConfig

Params = dict[str, Any]


@dataclass(frozen=True)
class Placement:
    """The mesh that a model's arrays are spread over (None: one device); it constrains intermediate arrays.

    ``grouped`` multiplies experts' matrices on its devices.
    """

    mesh: Mesh | None
    grouped: GroupedProduct = PLAIN

    def constrain(self, array: jax.Array, axes: tuple[str | None, ...]) -> jax.Array:
        """The array, sharded by the logical names of its axes."""
        return meshes.constrain(self.mesh, array, axes)

    def constrain_hidden(self, x_BTD: jax.Array) -> jax.Array:
        """Hidden states [B, T, D], sharded by rows and time."""
        return self.constrain(x_BTD, ("batch", "time", None))


def parameter(rngs: nnx.Rngs, shape: tuple[int, ...], std: float, axes: tuple[str, ...]) -> nnx.Param:
    """A normally distributed float32 parameter with its logical axes."""
    value = std * jax.random.normal(rngs.params(), shape, jnp.float32)
    return nnx.Param(value, out_sharding=axes)


def zeros(shape: tuple[int, ...], axes: tuple[str, ...]) -> nnx.Param:
    """A float32 parameter that starts at zero, with its logical axes."""
    return nnx.Param(jnp.zeros(shape, jnp.float32), out_sharding=axes)


class RMSNorm(nnx.Module):
    """Root-mean-square norm (arXiv 1910.07467, eq. 4) over the last axes, computed in float32."""

    def __init__(self, config: ModelConfig, shape: tuple[int, ...] = (), axes: tuple[str, ...] = ("none",)):
        shape = shape or (config.width,)
        start = jnp.zeros if config.norm_offset else jnp.ones
        self.scale = nnx.Param(start(shape, jnp.float32), out_sharding=axes)
        self.over = tuple(range(-len(shape), 0))
        self.offset = config.norm_offset
        self.epsilon = config.norm_epsilon

    def __call__(self, x: jax.Array) -> jax.Array:
        # Made again in the backward pass, which then keeps the input alone, in its own type.
        return jax.checkpoint(self._normed, prevent_cse=False)(x, self.scale[...])

    def _normed(self, x: jax.Array, scale: jax.Array) -> jax.Array:
        wide = x.astype(jnp.float32)
        inverse = jax.lax.rsqrt(jnp.mean(wide * wide, axis=self.over, keepdims=True) + self.epsilon)
        scale = scale.astype(jnp.float32)
        return (wide * inverse * (1.0 + scale if self.offset else scale)).astype(x.dtype)
