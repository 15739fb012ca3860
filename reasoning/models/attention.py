"""Attention: over whole sequences, and over a cache of what came before.

Shapes: B batch, T time, S length of keys (the cache's, or T), D model width, H query heads, K key/value heads, C head
size, R latent rank.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
from flax import nnx

from reasoning.kernels.attention.decoding import Decoding
from reasoning.kernels.attention.rule import Rule
from reasoning.models.attend import attend, form_on_cpu
from reasoning.models.config import Latent, ModelConfig
from reasoning.models.lora import multiply
from reasoning.models.parameters import RMSNorm, parameter, zeros
from reasoning.models.rotary import rotate

KeysValues = tuple[jax.Array, jax.Array]
Attend = Callable[[jax.Array, jax.Array, jax.Array, jax.Array | None], jax.Array]
"""``(query_BTHC, key_BKSC, value_BKSc, sinks_H or None) -> mixed_BTHc``."""


@dataclass(frozen=True)
class SequenceInputs:
    """What attention over whole sequences reads beside states: rotary cosines and sines, and who attends to whom."""

    cos_sin_2BTh: jax.Array
    attend: Attend


_SHORTEST_PREFIX = 128


@partial(
    jax.tree_util.register_dataclass,
    data_fields=("cos_sin_2BTh", "mask_BTS", "taken_BS"),
    meta_fields=("decoding", "on_cpu"),
)
@dataclass(frozen=True)
class AttentionInputs:
    """What attention over a cache reads beside states: rotary cosines and sines, and which keys each query may read.

    ``taken_BS`` is of several new tokens and a cache no longer than a window: which of them each of its places takes,
    -1 where it keeps what it has. Its mask is over what was held before, and the new ones behind that. ``decoding``
    reads a long cache for one new token. ``on_cpu``: what XLA's CPU compiler is bad at is to be written otherwise.
    """

    cos_sin_2BTh: jax.Array
    mask_BTS: jax.Array
    taken_BS: jax.Array | None = None
    decoding: Decoding | None = None
    on_cpu: bool = False


def _write_cache(cache_BKSC: jax.Array, new_BKTC: jax.Array, start_B: jax.Array, on_cpu: bool) -> jax.Array:
    """Puts T new entries into each row of a cache at that row's own index; one entry where it belongs in a ring."""
    if new_BKTC.shape[2] == 1:
        start_B = start_B % cache_BKSC.shape[2]
    new_BKTC = new_BKTC.astype(cache_BKSC.dtype)
    if on_cpu and new_BKTC.shape[0] == new_BKTC.shape[2] == 1:
        # By heads, and so a scatter as for several rows. The one slice that changes would be written twice, for what is
        # kept and for what is read, and the whole cache be copied for each.
        heads_K = jnp.arange(new_BKTC.shape[1])
        places = cache_BKSC.at[0, heads_K, start_B[0]]
        return places.set(new_BKTC[0, :, 0], mode="promise_in_bounds", unique_indices=True)
    write_rows = jax.vmap(lambda row, new, start: jax.lax.dynamic_update_slice(row, new, (0, start, 0)))
    return write_rows(cache_BKSC, new_BKTC, start_B)


def _take(cache_BKSC: jax.Array, new_BKTC: jax.Array, taken_BS: jax.Array) -> jax.Array:
    """A cache whose places have each taken one of T new entries, or kept what they had (-1)."""
    taken_B1S1 = taken_BS[:, None, :, None]
    chosen_BKSC = jnp.take_along_axis(new_BKTC.astype(cache_BKSC.dtype), jnp.maximum(taken_B1S1, 0), axis=2)
    return jnp.where(taken_B1S1 >= 0, chosen_BKSC, cache_BKSC)


def _enter(
    cache: KeysValues, new: KeysValues, inputs: AttentionInputs, start_B: jax.Array
) -> tuple[KeysValues, KeysValues]:
    """A layer's cache with T new entries in it, and the entries that the new tokens' mask is over."""
    if inputs.taken_BS is None:
        # Written before it is read: the mask lets a new token attend to itself and to the new ones before it.
        write = partial(_write_cache, start_B=start_B, on_cpu=inputs.on_cpu)
        held = write(cache[0], new[0]), write(cache[1], new[1])
        return held, held
    # In a ring later ones would write over what earlier ones are still to read.
    taken = _take(cache[0], new[0], inputs.taken_BS), _take(cache[1], new[1], inputs.taken_BS)
    both = [jnp.concatenate([old, one.astype(old.dtype)], axis=2) for old, one in zip(cache, new, strict=True)]
    return taken, (both[0], both[1])


def cache_prefixes(length: int, time: int) -> tuple[int, ...]:
    """How much of a cache of ``length`` is read for ``time`` new tokens: all, or an eighth, or an eighth of that, ….

    None is below 128, nor below ``time``; where an eighth would be, there may be a quarter. A part is copied before it
    is read, so that one of a third costs as much as the whole, and each is a branch to compile.
    """
    prefixes = [length]
    while prefixes[0] // 8 >= max(_SHORTEST_PREFIX, time):
        prefixes.insert(0, prefixes[0] // 8)
    if len(prefixes) == 1 and length // 4 >= max(_SHORTEST_PREFIX, time):
        prefixes.insert(0, length // 4)
    return tuple(prefixes)


def _attend_held(
    query_BTHC: jax.Array,
    keys: Sequence[jax.Array],
    value_BKSc: jax.Array,
    inputs: AttentionInputs,
    config: ModelConfig,
    start_B: jax.Array,
    sinks_H: jax.Array | None,
) -> jax.Array:
    """``attend`` over a cache, as much of it as its longest row fills: what short replies cost isn't the limit's.

    ``keys`` [B, K, S, …] are the parts of a key's channels.
    """
    time, length, mask_BTS = query_BTHC.shape[1], value_BKSc.shape[2], inputs.mask_BTS
    own_values = () if value_BKSc is keys[0] else (value_BKSc,)
    if time == 1 and inputs.decoding is not None and inputs.decoding.takes((*keys, *own_values)):
        # What a token may read are the first places, of a ring too: all of them, once it is full.
        rule, counts_B = Rule(config.score_scale, config.attention_soft_cap or None), jnp.minimum(start_B + 1, length)
        return inputs.decoding.attend(query_BTHC[:, 0], (*keys, *own_values), counts_B, rule, sinks_H)[:, None]
    prefixes = cache_prefixes(length, time) if inputs.taken_BS is None else (length,)
    form = form_on_cpu(query_BTHC, value_BKSc) if inputs.on_cpu else "plain"

    def over(prefix: int) -> Callable[[], jax.Array]:
        def attend_prefix() -> jax.Array:
            parts = [part[:, :, :prefix] for part in keys]
            key_BKSC = parts[0] if len(parts) == 1 else jnp.concatenate(parts, axis=-1)
            value, mask = value_BKSc[:, :, :prefix], mask_BTS[:, :, :prefix]
            return attend(query_BTHC, key_BKSC, value, mask, config, sinks_H, form)

        return attend_prefix

    if len(prefixes) == 1:
        return over(prefixes[0])()
    used = jnp.max(start_B) + time
    return jax.lax.switch(jnp.sum(used > jnp.asarray(prefixes[:-1])), [over(prefix) for prefix in prefixes])


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
        if config.output_bias:
            self.output_bias = zeros((width,), ("none",))
        if config.sinks:
            self.sinks = zeros((heads,), ("heads",))
        if config.query_key_norm == "head":
            self.query_norm = RMSNorm(config, (size,))
            self.key_norm = RMSNorm(config, (size,))
        elif config.query_key_norm == "all":
            self.query_norm = RMSNorm(config, (heads, size), ("heads", "head_dim"))
            self.key_norm = RMSNorm(config, (key_heads, size), ("kv_heads", "head_dim"))

    def project(self, x_BTD: jax.Array, cos_sin_2BTh: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Rotated queries [B, T, H, C], and rotated keys and values [B, K, T, C] as the cache holds them."""
        query = multiply(self, "query", x_BTD)
        key = multiply(self, "key", x_BTD)
        value = multiply(self, "value", x_BTD)
        if self.config.qkv_bias:
            query, key = query + self.query_bias[...], key + self.key_bias[...]
            value = value + self.value_bias[...]
        if self.config.query_key_norm != "none":
            query, key = self.query_norm(query), self.key_norm(key)
        rotated_key = rotate(key, cos_sin_2BTh)
        return rotate(query, cos_sin_2BTh), rotated_key.swapaxes(1, 2), value.swapaxes(1, 2)

    def __call__(self, x_BTD: jax.Array, inputs: SequenceInputs) -> jax.Array:
        """Over whole sequences, [B, T, D]."""
        return self._result(inputs.attend(*self.project(x_BTD, inputs.cos_sin_2BTh), self._sinks()))

    def extend(
        self, x_BTD: jax.Array, inputs: AttentionInputs, cache: KeysValues, start_B: jax.Array
    ) -> tuple[jax.Array, KeysValues]:
        """Over T new tokens, which enter the cache at each row's own index ``start_B`` and are read there."""
        query, key, value = self.project(x_BTD, inputs.cos_sin_2BTh)
        held, read = _enter(cache, (key, value), inputs, start_B)
        mixed = _attend_held(query, read[:1], read[1], inputs, self.config, start_B, self._sinks())
        return self._result(mixed), held

    def _sinks(self) -> jax.Array | None:
        return self.sinks[...] if self.config.sinks else None

    def _result(self, mixed_BTHc: jax.Array) -> jax.Array:
        result_BTD = multiply(self, "output", mixed_BTHc)
        return result_BTD + self.output_bias[...] if self.config.output_bias else result_BTD


class LatentAttention(nnx.Module):
    """Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434, eq. 9 to 19)."""

    def __init__(self, config: ModelConfig, latent: Latent, rngs: nnx.Rngs):
        width, heads, rank = config.width, config.heads, latent.kv_lora_rank
        std, out_std = width**-0.5, (heads * latent.v_head_dim * 2 * config.layers) ** -0.5
        self.config, self.latent = config, latent
        by_head = ("heads", "head_dim")
        # Of matrices without the model's width the latent's is cut in its place: whole on each device they would be 54
        # million numbers a layer of DeepSeek-V3, 40 GB with moments.
        if latent.q_lora_rank:
            self.query_down = parameter(rngs, (width, latent.q_lora_rank), std, ("embed", "none"))
            self.query_norm = RMSNorm(config, (latent.q_lora_rank,))
            shape = (latent.q_lora_rank, heads, config.query_size)
            self.query_up = parameter(rngs, shape, latent.q_lora_rank**-0.5, ("embed", *by_head))
        else:
            self.query = parameter(rngs, (width, heads, config.query_size), std, ("embed", *by_head))
        self.latent_down = parameter(rngs, (width, rank), std, ("embed", "none"))
        self.rotary_key = parameter(rngs, (width, latent.qk_rope_head_dim), std, ("embed", "none"))
        self.latent_norm = RMSNorm(config, (rank,))
        self.key_up = parameter(rngs, (rank, heads, latent.qk_nope_head_dim), rank**-0.5, ("embed", *by_head))
        self.value_up = parameter(rngs, (rank, heads, latent.v_head_dim), rank**-0.5, ("embed", *by_head))
        self.output = parameter(rngs, (heads, latent.v_head_dim, width), out_std, (*by_head, "embed"))

    def project(self, x_BTD: jax.Array, cos_sin_2BTh: jax.Array) -> tuple[jax.Array, ...]:
        """Queries without and with position [B, T, H, C], latents [B, T, R] and the one rotated key [B, T, C]."""
        if self.latent.q_lora_rank:
            query = multiply(self, "query_up", self.query_norm(multiply(self, "query_down", x_BTD)))
        else:
            query = multiply(self, "query", x_BTD)
        query_nope, query_rope = jnp.split(query, [self.latent.qk_nope_head_dim], axis=-1)
        latent_BTR = self.latent_norm(multiply(self, "latent_down", x_BTD))
        key_rope = rotate(multiply(self, "rotary_key", x_BTD)[:, :, None], cos_sin_2BTh)[:, :, 0]
        return query_nope, rotate(query_rope, cos_sin_2BTh), latent_BTR, key_rope

    def __call__(self, x_BTD: jax.Array, inputs: SequenceInputs) -> jax.Array:
        """Over whole sequences: keys and values are made for each head."""
        # With as many queries as keys that is cheaper: a score costs C products, not the R of a latent, far wider.
        query_nope, query_rope, latent_BTR, key_rope = self.project(x_BTD, inputs.cos_sin_2BTh)
        key = multiply(self, "key_up", latent_BTR)
        value = multiply(self, "value_up", latent_BTR)
        key_rope = jnp.broadcast_to(key_rope[:, :, None], (*key.shape[:3], key_rope.shape[-1]))
        query = jnp.concatenate([query_nope, query_rope], axis=-1)
        key = jnp.concatenate([key, key_rope], axis=-1).swapaxes(1, 2)
        return multiply(self, "output", inputs.attend(query, key, value.swapaxes(1, 2), None))

    def extend(
        self, x_BTD: jax.Array, inputs: AttentionInputs, cache: KeysValues, start_B: jax.Array
    ) -> tuple[jax.Array, KeysValues]:
        """Over T new tokens with a cache of latents [B, 1, S, R] and rotary keys [B, 1, S, C].

        ``q (c W)^T = (q W^T) c^T``: the matrices that make keys and values are applied to queries and results instead,
        so all heads read the one latent, and no head's keys are made again for every token.
        """
        query_nope, query_rope, latent_BTR, key_rope = self.project(x_BTD, inputs.cos_sin_2BTh)
        held, read = _enter(cache, (latent_BTR[:, None], key_rope[:, None]), inputs, start_B)
        absorbed = jnp.einsum("bthc,rhc->bthr", query_nope, self.key_up[...])
        query = jnp.concatenate([absorbed, query_rope], axis=-1)
        # One key head serves all queries: [latent, rotary key], whose first part is the value too.
        mixed = _attend_held(query, read, read[0], inputs, self.config, start_B, None)
        return multiply(self, "output", jnp.einsum("bthr,rhc->bthc", mixed, self.value_up[...])), held
