"""Decoding with a key/value cache that is passed in and returned; the first axis of every leaf is the slot.

Shapes: B slots, T new tokens, S cache length, D model width, K key/value heads, C channels.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from reasoning.core import mesh as meshes
from reasoning.models.attention import AttentionInputs, KeysValues
from reasoning.models.block import Block
from reasoning.models.config import BlockKind, stack_name
from reasoning.models.decoder import Decoder, Structure, cast
from reasoning.models.parameters import Params, Placement
from reasoning.models.sequences import rotary_of

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

    The leaves are keys and values; of latent attention the latents and the rotary keys, with K = 1. A layer with a
    sliding window holds no more than that: position p lies at place p % S of its S. On CPUs all are float32, which
    bfloat16 fits into: XLA scatters and multiplies float32 there, and would make it of whole caches for each token.
    """
    config = structure.config
    if config.latent is None:
        sizes = ((config.key_heads, config.head_size),) * 2
    else:
        sizes = ((1, config.latent.kv_lora_rank), (1, config.latent.qk_rope_head_dim))
    dtype = jnp.dtype("float32" if meshes.on_cpu(structure.placement.mesh) else config.compute_dtype)

    def leaves(kind: BlockKind) -> tuple[jax.ShapeDtypeStruct, ...]:
        held = min(length, kind.window or length)
        return tuple(jax.ShapeDtypeStruct((slots, heads, held, channels), dtype) for heads, channels in sizes)

    layers = tuple(leaves(layer.kind) for layer in config.each_layer())
    return {"layers": layers, "length": jax.ShapeDtypeStruct((slots,), jnp.int32)}


def _positions_held(end_B: jax.Array, places: int) -> jax.Array:
    """The position that each place of a ring holds in rows of so many tokens, [B, S]; below 0 where there is none."""
    last_B1 = end_B[:, None] - 1
    return last_B1 - (last_B1 - jnp.arange(places)) % places


def _inputs_of(
    structure: Structure, positions_BT: jax.Array, end_B: jax.Array
) -> Callable[[BlockKind, int], AttentionInputs]:
    """What each kind of block with a cache of so many places reads; equal ones are made once for all layers.

    Rows begin at ``positions_BT[:, 0]``, and hold ``end_B`` tokens afterwards.
    """
    config, time = structure.config, positions_BT.shape[1]
    rotary = rotary_of(config, positions_BT, unrolled=True)
    on_cpu = meshes.on_cpu(structure.placement.mesh)
    made: dict[tuple[int, int], tuple[jax.Array, jax.Array | None]] = {}

    def mask_of(window: int, places: int) -> tuple[jax.Array, jax.Array | None]:
        if window != places:
            # The one causal rule masks what is later, what isn't written yet, and what an earlier call left beyond the
            # slot's length.
            distance_BTS = positions_BT[:, :, None] - jnp.arange(places)
            near_BTS = distance_BTS < window if window else True
            return (distance_BTS >= 0) & near_BTS, None
        held_BS = _positions_held(end_B, places)
        if time == 1:
            return held_BS[:, None] >= 0, None
        start_B1 = positions_BT[:, :1]
        read_BS = jnp.concatenate([_positions_held(start_B1[:, 0], places), positions_BT], axis=1)
        distance_BTS = positions_BT[:, :, None] - read_BS[:, None]
        mask_BTS = (read_BS >= 0)[:, None] & (distance_BTS >= 0) & (distance_BTS < window)
        return mask_BTS, jnp.where(held_BS >= start_B1, held_BS - start_B1, -1)

    def inputs_of(kind: BlockKind, places: int) -> AttentionInputs:
        at = kind.window, places
        if at not in made:
            made[at] = mask_of(*at)
        return AttentionInputs(rotary(kind), *made[at], structure.attention.decoding, on_cpu)

    return inputs_of


def extend(structure: Structure, weights: Weights, tokens_BT: jax.Array, cache: Cache) -> tuple[jax.Array, Cache]:
    """Hidden states [B, T, D] of T tokens a slot that follow what the cache holds, and the cache with them in it."""
    return _extend(structure, weights, tokens_BT, jnp.full(tokens_BT.shape[:1], tokens_BT.shape[1]), cache)


def _extend(
    structure: Structure, weights: Weights, tokens_BT: jax.Array, counts_B: jax.Array, cache: Cache
) -> tuple[jax.Array, Cache]:
    """``extend`` where only the first ``counts_B`` tokens of a slot count, and the others are padding.

    What lies beyond a slot's length is never attended to and is overwritten by what comes next.
    """
    decoder: Decoder = nnx.merge(structure.graph, _first_layers(structure, weights))
    # Each slot goes on at its own length.
    start_B, held = cache["length"], list(cache["layers"])
    positions_BT, end_B = start_B[:, None] + jnp.arange(tokens_BT.shape[1]), start_B + counts_B
    inputs_of = _inputs_of(structure, positions_BT, end_B)
    x_BTD = decoder.embed(tokens_BT, positions_BT)
    runs: dict[tuple[str, str], Callable[..., tuple[jax.Array, KeysValues]]] = {}
    for number, layer in enumerate(structure.config.each_layer()):
        # Unrolled, since the layers are unstacked (``publish``).
        at = (layer.stack, layer.block)
        if at not in runs:
            runs[at] = _layer(structure.placement, nnx.split(getattr(getattr(decoder, layer.stack), layer.block))[0])
        inputs = inputs_of(layer.kind, held[number][0].shape[2])
        one = weights[layer.stack][layer.block][layer.index]
        x_BTD, held[number] = runs[at](one, x_BTD, inputs, held[number], start_B)
    return decoder.final_norm(x_BTD), {"layers": tuple(held), "length": end_B}


def _layer(placement: Placement, graph: Any) -> Callable[..., tuple[jax.Array, KeysValues]]:
    """``(weights, x_BTD, inputs, held, start_B)`` of one layer of a run to its states and cache."""

    @jax.jit  # so that equal layers, which are unrolled, are traced and lowered once
    def layer(
        weights: Params, x_BTD: jax.Array, inputs: AttentionInputs, held: KeysValues, start_B: jax.Array
    ) -> tuple[jax.Array, KeysValues]:
        block: Block = nnx.merge(graph, weights)
        return block.extend(x_BTD, inputs, held, start_B, placement)

    return layer


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
    """Reads prompts, or what follows of them, padded on the right; the hidden state [B, D] of each one's last token.

    Of a slot that has no token left the state means nothing, and its cache stays as it is.
    """
    hidden_BTD, cache = _extend(structure, weights, tokens_BT, lengths_B, cache)
    return jnp.take_along_axis(hidden_BTD, (lengths_B - 1)[:, None, None], axis=1)[:, 0], cache


def decode(structure: Structure, weights: Weights, tokens_B: jax.Array, cache: Cache) -> tuple[jax.Array, Cache]:
    """Reads one token a slot; its hidden state [B, D] and the cache that holds it."""
    hidden_BTD, cache = extend(structure, weights, tokens_B[:, None], cache)
    return hidden_BTD[:, 0], cache
