"""Attention: over whole sequences, and over a cache of what came before.

Shapes: B batch, T time, S length of keys (the cache's, or T), D model width, H query heads, K key/value heads, C head
size, R latent rank.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from reasoning.models.config import Latent, ModelConfig
from reasoning.models.lora import multiply
from reasoning.models.parameters import RMSNorm, parameter, zeros
from reasoning.models.rotary import rotate

KeysValues = tuple[jax.Array, jax.Array]


@dataclass(frozen=True)
class View:
    """What a block's attention sees: cosines and sines of the queries' positions, and who may look at whom."""

    turned_2BTh: jax.Array
    allowed_BTS: jax.Array


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
    value_BKSc: Float[Array, "B K S c"],
    allowed_BTS: Bool[Array, "B T S"],
    config: ModelConfig,
) -> Float[Array, "B T H c"]:
    """Softmax attention with grouped queries: head h reads key head h // (H / K). Softmax in float32.

    Each place must be allowed to see at least one. The scale is taken into the queries, and the mask is added, since
    that is cheaper than working on every score. The config gives the scale and a soft cap (Gemma 2, arXiv 2408.00118).
    """
    batch, time, heads, channels = query_BTHC.shape
    key_heads, length = key_BKSC.shape[1], key_BKSC.shape[2]
    scaled_BHTC = (query_BTHC * config.score_scale).swapaxes(1, 2)
    grouped = scaled_BHTC.reshape(batch, key_heads, -1, channels)
    scores = jnp.einsum("bkxc,bksc->bkxs", grouped, key_BKSC, preferred_element_type=jnp.float32)
    if config.attention_soft_cap:
        scores = config.attention_soft_cap * jnp.tanh(scores / config.attention_soft_cap)
    mask_BTS = jnp.where(allowed_BTS, 0.0, -1e30)
    weights = softmax(scores.reshape(batch, key_heads, -1, time, length) + mask_BTS[:, None, None])
    weights = weights.reshape(batch, key_heads, -1, length).astype(value_BKSc.dtype)
    mixed = jnp.einsum("bkxs,bksc->bkxc", weights, value_BKSc)
    return mixed.reshape(batch, heads, time, -1).swapaxes(1, 2)


def write(cache_BKSC: jax.Array, new_BKTC: jax.Array, start_B: jax.Array) -> jax.Array:
    """Puts T new entries into each row of a cache at that row's own index."""
    place = jax.vmap(lambda row, new, start: jax.lax.dynamic_update_slice(row, new, (0, start, 0)))
    return place(cache_BKSC, new_BKTC.astype(cache_BKSC.dtype), start_B)


class Attention(nnx.Module):
    """Grouped-query attention (arXiv 2305.13245) with rotary positions."""

    def __init__(self, config: ModelConfig, rngs: nnx.Rngs):
        width, heads, key_heads, size = config.width, config.heads, config.key_heads, config.head_size
        std, out_std = width**-0.5, (heads * size * 2 * config.layers) ** -0.5
        self.config = config
        self.query = parameter(rngs, (width, heads, size), std, ("embed", "heads", "head_dim"))
        self.key = parameter(rngs, (width, key_heads, size), std, ("embed", "kv_heads", "head_dim"))
        self.value = parameter(rngs, (width, key_heads, size), std, ("embed", "kv_heads", "head_dim"))
        self.output = parameter(rngs, (heads, size, width), out_std, ("heads", "head_dim", "embed"))
        if config.qkv_bias:
            self.query_bias = zeros((heads, size), ("heads", "head_dim"))
            self.key_bias = zeros((key_heads, size), ("kv_heads", "head_dim"))
            self.value_bias = zeros((key_heads, size), ("kv_heads", "head_dim"))
        if config.query_key_norm == "head":
            self.query_norm = RMSNorm(config, (size,))
            self.key_norm = RMSNorm(config, (size,))
        elif config.query_key_norm == "all":
            self.query_norm = RMSNorm(config, (heads, size), ("heads", "head_dim"))
            self.key_norm = RMSNorm(config, (key_heads, size), ("kv_heads", "head_dim"))

    def project(self, x_BTD: jax.Array, view: View) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Rotated queries [B, T, H, C], and rotated keys and values [B, K, T, C] as the cache holds them."""
        query = multiply(self, "query", x_BTD)
        key = multiply(self, "key", x_BTD)
        value = multiply(self, "value", x_BTD)
        if self.config.qkv_bias:
            query, key = query + self.query_bias[...], key + self.key_bias[...]
            value = value + self.value_bias[...]
        if self.config.query_key_norm != "none":
            query, key = self.query_norm(query), self.key_norm(key)
        return rotate(query, view.turned_2BTh), rotate(key, view.turned_2BTh).swapaxes(1, 2), value.swapaxes(1, 2)

    def __call__(self, x_BTD: jax.Array, view: View) -> jax.Array:
        """Over whole sequences, [B, T, D]."""
        query, key, value = self.project(x_BTD, view)
        return multiply(self, "output", attend(query, key, value, view.allowed_BTS, self.config))

    def extend(
        self, x_BTD: jax.Array, view: View, cache: KeysValues, start_B: jax.Array
    ) -> tuple[jax.Array, KeysValues]:
        """Over T new tokens, which enter the cache at each row's own index ``start_B`` and are read there."""
        query, key, value = self.project(x_BTD, view)
        held = write(cache[0], key, start_B), write(cache[1], value, start_B)
        return multiply(self, "output", attend(query, *held, view.allowed_BTS, self.config)), held


class LatentAttention(nnx.Module):
    """Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434, eq. 9 to 19)."""

    def __init__(self, config: ModelConfig, latent: Latent, rngs: nnx.Rngs):
        width, heads, rank = config.width, config.heads, latent.rank
        std, out_std = width**-0.5, (heads * latent.value * 2 * config.layers) ** -0.5
        self.config, self.latent = config, latent
        by_head = ("heads", "head_dim")
        if latent.query_rank:
            self.query_down = parameter(rngs, (width, latent.query_rank), std, ("embed", "none"))
            self.query_norm = RMSNorm(config, (latent.query_rank,))
            shape = (latent.query_rank, heads, config.query_size)
            self.query_up = parameter(rngs, shape, latent.query_rank**-0.5, ("none", *by_head))
        else:
            self.query = parameter(rngs, (width, heads, config.query_size), std, ("embed", *by_head))
        self.latent_down = parameter(rngs, (width, rank), std, ("embed", "none"))
        self.rotary_key = parameter(rngs, (width, latent.rotary), std, ("embed", "none"))
        self.latent_norm = RMSNorm(config, (rank,))
        self.key_up = parameter(rngs, (rank, heads, latent.plain), rank**-0.5, ("none", *by_head))
        self.value_up = parameter(rngs, (rank, heads, latent.value), rank**-0.5, ("none", *by_head))
        self.output = parameter(rngs, (heads, latent.value, width), out_std, (*by_head, "embed"))

    def project(self, x_BTD: jax.Array, view: View) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
        """Queries without and with position [B, T, H, C], latents [B, T, R] and the one rotated key [B, T, C]."""
        if self.latent.query_rank:
            query = multiply(self, "query_up", self.query_norm(multiply(self, "query_down", x_BTD)))
        else:
            query = multiply(self, "query", x_BTD)
        plain, rotary = jnp.split(query, [self.latent.plain], axis=-1)
        latent_BTR = self.latent_norm(multiply(self, "latent_down", x_BTD))
        key = rotate(multiply(self, "rotary_key", x_BTD)[:, :, None], view.turned_2BTh)[:, :, 0]
        return plain, rotate(rotary, view.turned_2BTh), latent_BTR, key

    def __call__(self, x_BTD: jax.Array, view: View) -> jax.Array:
        """Over whole sequences: keys and values are made for each head, which costs less than reading latents."""
        plain, rotary, latent_BTR, shared_key = self.project(x_BTD, view)
        key = multiply(self, "key_up", latent_BTR)
        value = multiply(self, "value_up", latent_BTR)
        shared_key = jnp.broadcast_to(shared_key[:, :, None], (*key.shape[:3], shared_key.shape[-1]))
        query = jnp.concatenate([plain, rotary], axis=-1)
        key = jnp.concatenate([key, shared_key], axis=-1).swapaxes(1, 2)
        mixed = attend(query, key, value.swapaxes(1, 2), view.allowed_BTS, self.config)
        return multiply(self, "output", mixed)

    def extend(
        self, x_BTD: jax.Array, view: View, cache: KeysValues, start_B: jax.Array
    ) -> tuple[jax.Array, KeysValues]:
        """Over T new tokens with a cache of latents [B, 1, S, R] and rotary keys [B, 1, S, C].

        The matrices that make keys and values are taken into queries and results instead, so all heads read the one
        latent: ``q (c W)^T = (q W^T) c^T``.
        """
        plain, rotary, latent_BTR, shared_key = self.project(x_BTD, view)
        held = write(cache[0], latent_BTR[:, None], start_B), write(cache[1], shared_key[:, None], start_B)
        absorbed = jnp.einsum("bthc,rhc->bthr", plain, self.key_up[...])
        query = jnp.concatenate([absorbed, rotary], axis=-1)
        mixed = attend(query, jnp.concatenate(held, axis=-1), held[0], view.allowed_BTS, self.config)
        return multiply(self, "output", jnp.einsum("bthr,rhc->bthc", mixed, self.value_up[...])), held
