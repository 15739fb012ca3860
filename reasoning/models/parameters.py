"""How the parameters of a layer are made, and the norm that all of them share."""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from flax import nnx
from jax.sharding import Mesh

from reasoning.core import mesh as meshes
from reasoning.models.config import ModelConfig

Constrain = Callable[[jax.Array, tuple[str | None, ...]], jax.Array]


@dataclass(frozen=True)
class Place:
    """Where a model's arrays lie: its mesh (None: one device), by which intermediate arrays are pinned."""

    mesh: Mesh | None

    def pin(self, array: jax.Array, axes: tuple[str | None, ...]) -> jax.Array:
        """The array with its logical sharding."""
        return meshes.constrain(self.mesh, array, axes)

    def pin_states(self, x_BTD: jax.Array) -> jax.Array:
        """Hidden states with theirs."""
        return self.pin(x_BTD, ("batch", "time", None))


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
        wide = x.astype(jnp.float32)
        inverse = jax.lax.rsqrt(jnp.mean(wide * wide, axis=self.over, keepdims=True) + self.epsilon)
        scale = self.scale[...].astype(jnp.float32)
        return (wide * inverse * (1.0 + scale if self.offset else scale)).astype(x.dtype)
