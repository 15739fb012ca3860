"""The parts of a decoder block as Flax modules: they hold parameters and nothing else.

Shapes: B batch, T time, S cache length, D model width, F mlp width, H query heads, K key/value heads, C head size.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from reasoning.models.config import BlockKind, ModelConfig
from reasoning.models.linear import linear

Constrain = Callable[[jax.Array, tuple[str | None, ...]], jax.Array]
KeysValues = tuple[jax.Array, jax.Array]


def parameter(rngs: nnx.Rngs, shape: tuple[int, ...], std: float, axes: tuple[str, ...]) -> nnx.Param:
    """A normally distributed float32 parameter with its logical axes."""
    value = std * jax.random.normal(rngs.params(), shape, jnp.float32)
    return nnx.Param(value, out_sharding=axes)


def zeros(shape: tuple[int, ...], axes: tuple[str, ...]) -> nnx.Param:
    """A float32 parameter that starts at zero, with its logical axes."""
    return nnx.Param(jnp.zeros(shape, jnp.float32), out_sharding=axes)


def rotary_angles(positions_BT: Int[Array, "B T"], head_size: int, base: float) -> Float[Array, "B T half"]:
    """Angles of the rotary embedding (RoFormer, arXiv 2104.09864, eq. 15), one per pair of channels."""
    frequencies = base ** (-jnp.arange(0, head_size, 2, dtype=jnp.float32) / head_size)
    return positions_BT[..., None].astype(jnp.float32) * frequencies


def rotate(heads_BTHC: Float[Array, "B T H C"], angles_BTh: Float[Array, "B T half"]) -> Float[Array, "B T H C"]:
    """Rotates channel i with channel i + C/2 (the half-split layout of Hugging Face checkpoints)."""
    cos, sin = jnp.cos(angles_BTh)[:, :, None, :], jnp.sin(angles_BTh)[:, :, None, :]
    first, second = jnp.split(heads_BTHC.astype(jnp.float32), 2, axis=-1)
    rotated = jnp.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)
    return rotated.astype(heads_BTHC.dtype)


class RMSNorm(nnx.Module):
    """Root-mean-square norm (arXiv 1910.07467, eq. 4), computed in float32."""

    def __init__(self, config: ModelConfig):
        self.scale = nnx.Param(jnp.ones((config.width,), jnp.float32), out_sharding=("none",))
        self.epsilon = config.norm_epsilon

    def __call__(self, x: jax.Array) -> jax.Array:
        wide = x.astype(jnp.float32)
        inverse = jax.lax.rsqrt(jnp.mean(wide * wide, axis=-1, keepdims=True) + self.epsilon)
        return (wide * inverse * self.scale[...].astype(jnp.float32)).astype(x.dtype)


def softmax(scores: jax.Array) -> jax.Array:
    """Softmax over the last axis, whose backward pass reads the weights and nothing else: w * (g - sum(w * g))."""
    return jnp.asarray(_softmax(scores))


@jax.custom_vjp
def _softmax(scores: jax.Array) -> jax.Array:
    return jax.nn.softmax(scores, axis=-1)


def _softmax_forward(scores: jax.Array) -> tuple[jax.Array, jax.Array]:
    weights = jax.nn.softmax(scores, axis=-1)
    return weights, weights


def _softmax_backward(weights: jax.Array, upstream: jax.Array) -> tuple[jax.Array]:
    scaled = weights * upstream
    return (scaled - weights * jnp.sum(scaled, axis=-1, keepdims=True),)


_softmax.defvjp(_softmax_forward, _softmax_backward)


def attend(
    query_BTHC: Float[Array, "B T H C"],
    key_BKSC: Float[Array, "B K S C"],
    value_BKSC: Float[Array, "B K S C"],
    allowed_BTS: Bool[Array, "B T S"],
) -> Float[Array, "B T H C"]:
    """Softmax attention with grouped queries: head h reads key head h // (H / K). Softmax in float32.

    Each place must be allowed to see at least one. The scale is taken into the queries, and the mask is added, since
    that is cheaper than working on every score.
    """
    batch, time, heads, channels = query_BTHC.shape
    key_heads, length = key_BKSC.shape[1], key_BKSC.shape[2]
    scaled_BHTC = (query_BTHC * channels**-0.5).swapaxes(1, 2)
    grouped = scaled_BHTC.reshape(batch, key_heads, -1, channels)
    scores = jnp.einsum("bkxc,bksc->bkxs", grouped, key_BKSC, preferred_element_type=jnp.float32)
    mask_BTS = jnp.where(allowed_BTS, 0.0, -1e30)
    weights = softmax(scores.reshape(batch, key_heads, -1, time, length) + mask_BTS[:, None, None])
    weights = weights.reshape(batch, key_heads, -1, length).astype(value_BKSC.dtype)
    mixed = jnp.einsum("bkxs,bksc->bkxc", weights, value_BKSC)
    return mixed.reshape(batch, heads, time, channels).swapaxes(1, 2)


def write(cache_BKSC: jax.Array, new_BKTC: jax.Array, start_B: jax.Array) -> jax.Array:
    """Puts T new entries into each row of a cache at that row's own index."""
    place = jax.vmap(lambda row, new, start: jax.lax.dynamic_update_slice(row, new, (0, start, 0)))
    return place(cache_BKSC, new_BKTC.astype(cache_BKSC.dtype), start_B)


class Attention(nnx.Module):
    """Grouped-query attention (arXiv 2305.13245) with rotary positions."""

    def __init__(self, config: ModelConfig, rngs: nnx.Rngs):
        width, heads, key_heads, size = config.width, config.heads, config.key_heads, config.head_size
        std, out_std = width**-0.5, (heads * size * 2 * config.layers) ** -0.5
        self.query = parameter(rngs, (width, heads, size), std, ("embed", "heads", "head_dim"))
        self.key = parameter(rngs, (width, key_heads, size), std, ("embed", "kv_heads", "head_dim"))
        self.value = parameter(rngs, (width, key_heads, size), std, ("embed", "kv_heads", "head_dim"))
        self.output = parameter(rngs, (heads, size, width), out_std, ("heads", "head_dim", "embed"))
        self.biased = config.qkv_bias
        if config.qkv_bias:
            self.query_bias = zeros((heads, size), ("heads", "head_dim"))
            self.key_bias = zeros((key_heads, size), ("kv_heads", "head_dim"))
            self.value_bias = zeros((key_heads, size), ("kv_heads", "head_dim"))

    def project(self, x_BTD: jax.Array, angles: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Rotated queries [B, T, H, C], and rotated keys and values [B, K, T, C] as the cache holds them."""
        query = linear(x_BTD, self.query[...])
        key = linear(x_BTD, self.key[...])
        value = linear(x_BTD, self.value[...])
        if self.biased:
            query, key = query + self.query_bias[...], key + self.key_bias[...]
            value = value + self.value_bias[...]
        return rotate(query, angles), rotate(key, angles).swapaxes(1, 2), value.swapaxes(1, 2)

    def merge(self, mixed_BTHC: jax.Array) -> jax.Array:
        """The output projection [B, T, D] of the heads' results."""
        return linear(mixed_BTHC, self.output[...], 2)


class MLP(nnx.Module):
    """The position-wise part of a block: SwiGLU (arXiv 2002.05202) or squared ReLU (arXiv 2109.08668)."""

    def __init__(self, config: ModelConfig, kind: BlockKind, rngs: nnx.Rngs):
        width, hidden = config.width, config.mlp
        out_std = (hidden * 2 * config.layers) ** -0.5
        self.gated = kind.activation == "swiglu"
        if self.gated:
            self.gate = parameter(rngs, (width, hidden), width**-0.5, ("embed", "mlp"))
        self.up = parameter(rngs, (width, hidden), width**-0.5, ("embed", "mlp"))
        self.down = parameter(rngs, (hidden, width), out_std, ("mlp", "embed"))

    def __call__(self, x_BTD: jax.Array) -> jax.Array:
        hidden = linear(x_BTD, self.up[...])
        if self.gated:
            hidden = jax.nn.silu(linear(x_BTD, self.gate[...])) * hidden
        else:
            hidden = jnp.square(jax.nn.relu(hidden))
        return linear(hidden, self.down[...])


class Block(nnx.Module):
    """One pre-norm residual block: attention, then MLP."""

    def __init__(self, config: ModelConfig, kind: BlockKind, rngs: nnx.Rngs):
        self.attention_norm = RMSNorm(config)
        self.attention = Attention(config, rngs)
        self.mlp_norm = RMSNorm(config)
        self.mlp = MLP(config, kind, rngs)

    def __call__(self, x_BTD: jax.Array, angles: jax.Array, allowed_BTS: jax.Array, constrain: Constrain) -> jax.Array:
        """The block over whole sequences."""
        query, key, value = self.attention.project(self.attention_norm(x_BTD), angles)
        x_BTD = x_BTD + self.attention.merge(attend(query, key, value, allowed_BTS))
        x_BTD = constrain(x_BTD, ("batch", "time", None))
        x_BTD = x_BTD + self.mlp(self.mlp_norm(x_BTD))
        return constrain(x_BTD, ("batch", "time", None))

    def extend(
        self, x_BTD: jax.Array, angles: jax.Array, cache: KeysValues, start_B: jax.Array, allowed_BTS: jax.Array
    ) -> tuple[jax.Array, KeysValues]:
        """The block over T new tokens, which enter the cache at each row's own index ``start_B`` and are read there."""
        query, key, value = self.attention.project(self.attention_norm(x_BTD), angles)
        keys, values = write(cache[0], key, start_B), write(cache[1], value, start_B)
        x_BTD = x_BTD + self.attention.merge(attend(query, keys, values, allowed_BTS))
        return x_BTD + self.mlp(self.mlp_norm(x_BTD)), (keys, values)
