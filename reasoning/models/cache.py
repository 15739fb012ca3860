"""Decoding with a key/value cache that is passed in and returned; the first axis of every leaf is the slot.

Shapes: B slots, T new tokens, S cache length, D model width, K key/value heads, C head size.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from reasoning.models.decoder import Decoder, Params, Period, Structure, cast

Cache = dict[str, Any]
Weights = dict[str, Any]


def publish(structure: Structure, params: Params) -> Weights:
    """Weights as decoding wants them: cast, and each stack unstacked into a tuple of layers.

    Slicing layers from a stack inside the token loop doubles its cost at small batches, so it's done once, here.
    """
    weights: Weights = dict(cast(params, structure.config.compute_dtype))
    for index, stack in enumerate(structure.config.stacks):
        name = f"stack_{index}"
        weights[name] = tuple(
            jax.tree.map(lambda leaf, layer=layer: leaf[layer], weights[name]) for layer in range(stack.count)
        )
    return weights


def cache_shapes(structure: Structure, slots: int, length: int) -> Cache:
    """Shapes of an empty cache: keys and values [slots, K, length, C] a layer, and tokens held [slots]."""
    config = structure.config
    leaf = jax.ShapeDtypeStruct((slots, config.key_heads, length, config.head_size), jnp.dtype(config.compute_dtype))
    return {
        "layers": tuple((leaf, leaf) for _ in range(config.layers)),
        "length": jax.ShapeDtypeStruct((slots,), jnp.int32),
    }


def extend(structure: Structure, weights: Weights, tokens_BT: jax.Array, cache: Cache) -> tuple[jax.Array, Cache]:
    """Hidden states [B, T, D] of T tokens a slot that follow what the cache holds, and the cache with them in it.

    The caller sets ``length`` afterwards where some of a slot's T tokens are padding: what lies beyond a slot's
    length is never attended to and is overwritten by what comes next.
    """
    decoder: Decoder = nnx.merge(structure.graph, placeholders(structure, weights))
    start_B, time = cache["length"], tokens_BT.shape[1]
    positions_BT = start_B[:, None] + jnp.arange(time)
    depth = cache["layers"][0][0].shape[2]
    allowed = jnp.arange(depth) <= positions_BT[:, :, None]
    angles = decoder.angles(positions_BT)
    x_BTD, held = decoder.embed(tokens_BT, positions_BT), list(cache["layers"])
    layer = 0
    for index in range(len(structure.config.stacks)):
        name = f"stack_{index}"
        graph = nnx.split(getattr(decoder, name))[0]
        for layer_weights in weights[name]:
            period: Period = nnx.merge(graph, layer_weights)
            for block in period.blocks():
                x_BTD, held[layer] = block.extend(x_BTD, angles, held[layer], start_B, allowed)
                layer += 1
    return decoder.final_norm(x_BTD), {"layers": tuple(held), "length": start_B + time}


def placeholders(structure: Structure, weights: Weights) -> Weights:
    """Weights with each unstacked stack replaced by its first layer, which is enough to rebuild the module's graph."""
    stacks = {f"stack_{index}" for index in range(len(structure.config.stacks))}
    return {name: value[0] if name in stacks else value for name, value in weights.items()}


def prefill(
    structure: Structure, weights: Weights, tokens_BT: jax.Array, lengths_B: jax.Array, cache: Cache
) -> tuple[jax.Array, Cache]:
    """Reads prompts, padded on the right, into an empty cache; the hidden state [B, D] of each one's last token."""
    hidden_BTD, cache = extend(structure, weights, tokens_BT, cache)
    last_BD = jnp.take_along_axis(hidden_BTD, (lengths_B - 1)[:, None, None], axis=1)[:, 0]
    return last_BD, {**cache, "length": lengths_B}


def decode(structure: Structure, weights: Weights, tokens_B: jax.Array, cache: Cache) -> tuple[jax.Array, Cache]:
    """Reads one token a slot; its hidden state [B, D] and the cache that holds it."""
    hidden_BTD, cache = extend(structure, weights, tokens_B[:, None], cache)
    return hidden_BTD[:, 0], cache
