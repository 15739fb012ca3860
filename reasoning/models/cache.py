"""Decoding with a key/value cache that is passed in and returned; the first axis of every leaf is the slot.

Shapes: B slots, T new tokens, S cache length, D model width, K key/value heads, C channels.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from reasoning.models.block import Block
from reasoning.models.config import stack_name
from reasoning.models.decoder import Decoder, Structure, attention_inputs, cast
from reasoning.models.parameters import Params

Cache = dict[str, Any]
Weights = dict[str, Any]


def publish(structure: Structure, params: Params) -> Weights:
    """Weights as decoding wants them: cast, and the stacked blocks of each run unstacked into a tuple.

    Slicing layers from a stack inside the token loop doubles its cost at small batches, so it's done once, here.
    """
    weights: Weights = dict(cast(params, structure.config.compute_dtype))
    for index in range(len(structure.config.stacks)):
        name = stack_name(index)
        weights[name] = {block: _unstacked(layers) for block, layers in weights[name].items()}
    return weights


def _unstacked(layers: Params) -> tuple[Params, ...]:
    count = len(jax.tree.leaves(layers)[0])
    return tuple(jax.tree.map(lambda leaf, layer=layer: leaf[layer], layers) for layer in range(count))


def cache_shapes(structure: Structure, slots: int, length: int) -> Cache:
    """Shapes of an empty cache: a layer's two leaves [slots, K, length, C], and the tokens held [slots].

    The leaves are keys and values; of latent attention the latents and the rotary keys, with K = 1.
    """
    config = structure.config
    if config.latent is None:
        sizes = ((config.key_heads, config.head_size),) * 2
    else:
        sizes = ((1, config.latent.kv_lora_rank), (1, config.latent.qk_rope_head_dim))
    dtype = jnp.dtype(config.compute_dtype)
    leaves = tuple(jax.ShapeDtypeStruct((slots, heads, length, channels), dtype) for heads, channels in sizes)
    return {"layers": (leaves,) * config.layers, "length": jax.ShapeDtypeStruct((slots,), jnp.int32)}


def extend(structure: Structure, weights: Weights, tokens_BT: jax.Array, cache: Cache) -> tuple[jax.Array, Cache]:
    """Hidden states [B, T, D] of T tokens a slot that follow what the cache holds, and the cache with them in it.

    The caller sets ``length`` afterwards where some of a slot's T tokens are padding: what lies beyond a slot's
    length is never attended to and is overwritten by what comes next.
    """
    decoder: Decoder = nnx.merge(structure.graph, _first_layers(structure, weights))
    # Each slot goes on at its own length. The one causal rule masks what is later, what isn't written yet, and what an
    # earlier call left beyond the slot's length.
    start_B, time = cache["length"], tokens_BT.shape[1]
    positions_BT = start_B[:, None] + jnp.arange(time)
    distance_BTS = positions_BT[:, :, None] - jnp.arange(cache["layers"][0][0].shape[2])
    inputs_of = attention_inputs(structure.config, positions_BT, distance_BTS >= 0, distance_BTS)
    x_BTD, held = decoder.embed(tokens_BT, positions_BT), list(cache["layers"])
    graphs: dict[tuple[str, str], Any] = {}
    for number, layer in enumerate(structure.config.each_layer()):
        # Unrolled, since the layers are unstacked (``publish``); those of one run share one graph, which is split once.
        at = (layer.stack, layer.block)
        if at not in graphs:
            graphs[at] = nnx.split(getattr(getattr(decoder, layer.stack), layer.block))[0]
        block: Block = nnx.merge(graphs[at], weights[layer.stack][layer.block][layer.index])
        x_BTD, held[number] = block.extend(x_BTD, inputs_of(layer.kind), held[number], start_B, structure.placement)
    return decoder.final_norm(x_BTD), {"layers": tuple(held), "length": start_B + time}


def _first_layers(structure: Structure, weights: Weights) -> Weights:
    """Weights with unstacked blocks replaced by the first of them, which is enough to rebuild the module's graph."""
    stacks = {stack_name(index) for index in range(len(structure.config.stacks))}
    return {
        name: {block: layers[0] for block, layers in value.items()} if name in stacks else value
        for name, value in weights.items()
    }


def prefill(
    structure: Structure, weights: Weights, tokens_BT: jax.Array, lengths_B: jax.Array, cache: Cache
) -> tuple[jax.Array, Cache]:
    """Reads prompts, padded on the right, into an empty cache; the hidden state [B, D] of each one's last token."""
    hidden_BTD, cache = extend(structure, weights, tokens_BT, cache)
    last_BD = jnp.take_along_axis(hidden_BTD, (lengths_B - 1)[:, None, None], axis=1)[:, 0]
    # Padding was written into the cache too: the length leaves it out, and what is decoded overwrites it.
    return last_BD, {**cache, "length": lengths_B}


def decode(structure: Structure, weights: Weights, tokens_B: jax.Array, cache: Cache) -> tuple[jax.Array, Cache]:
    """Reads one token a slot; its hidden state [B, D] and the cache that holds it."""
    hidden_BTD, cache = extend(structure, weights, tokens_B[:, None], cache)
    return hidden_BTD[:, 0], cache
