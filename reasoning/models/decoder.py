"""The decoder: stacks of blocks that are built with vmap and run under scan, so that depth costs no compile time.

Shapes: B batch, T time, S cache length, D model width, V vocabulary.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.sharding import PartitionSpec

from reasoning.models.config import ModelConfig, Stack
from reasoning.models.layers import Block, Constrain, RMSNorm, parameter, rotary_angles

Params = dict[str, Any]


@dataclass(frozen=True)
class Structure:
    """What is static about a decoder: its config, its Flax graph, its parameters' logical axes, its constraints."""

    config: ModelConfig
    graph: Any
    axes: Params
    constrain: Constrain


class Period(nnx.Module):
    """One repetition of a stack's pattern: its blocks in order."""

    def __init__(self, config: ModelConfig, stack: Stack, rngs: nnx.Rngs):
        self.size = len(stack.pattern)
        for index, kind in enumerate(stack.pattern):
            setattr(self, f"block_{index}", Block(config, kind, rngs))

    def blocks(self) -> tuple[Block, ...]:
        """The blocks, first to last."""
        return tuple(getattr(self, f"block_{index}") for index in range(self.size))


def repeated(config: ModelConfig, stack: Stack, rngs: nnx.Rngs) -> Period:
    """``stack.count`` periods in one module whose parameters carry a leading layers axis."""

    @nnx.split_rngs(splits=stack.count)
    @nnx.vmap(in_axes=0, out_axes=0, transform_metadata={nnx.PARTITION_NAME: "layers"})
    def build(rngs: nnx.Rngs) -> Period:
        return Period(config, stack, rngs)

    return build(rngs)


class Decoder(nnx.Module):
    """Embedding, stacks, final norm and unembedding: parameters only; all state is passed and returned."""

    def __init__(self, config: ModelConfig, rngs: nnx.Rngs):
        self.config = config
        width, vocabulary = config.width, config.vocabulary
        self.embedding = parameter(rngs, (vocabulary, width), config.embedding_std, ("vocabulary", "embed"))
        if config.learned_positions:
            self.positions = parameter(rngs, (config.context, width), config.embedding_std, ("none", "embed"))
        for index, stack in enumerate(config.stacks):
            setattr(self, f"stack_{index}", repeated(config, stack, rngs))
        self.final_norm = RMSNorm(config)
        if not config.tied:
            std = config.head_scale * width**-0.5
            self.head = parameter(rngs, (width, vocabulary), std, ("embed", "vocabulary"))

    def embed(self, tokens_BT: jax.Array, positions_BT: jax.Array) -> jax.Array:
        """Token embeddings, plus learned positions where the config has them."""
        x_BTD = self.embedding[...][tokens_BT]
        if self.config.learned_positions:
            x_BTD = x_BTD + self.positions[...][positions_BT]
        return x_BTD

    def angles(self, positions_BT: jax.Array) -> jax.Array:
        """Rotary angles of these positions."""
        return rotary_angles(positions_BT, self.config.head_size, self.config.rope_base)


def rematerialised(config: ModelConfig, body: Callable) -> Callable:
    """``body`` with the config's choice of what the backward pass recomputes instead of storing."""
    if config.remat == "block":
        return jax.checkpoint(body)
    if config.remat == "dots":
        return jax.checkpoint(body, policy=jax.checkpoint_policies.dots_with_no_batch_dims_saveable)
    return body


def gathered(constrain: Constrain, layer: Params, axes: Params) -> Params:
    """One layer's weights with their fsdp shards gathered; in backward their gradients are scattered again."""

    def gather(leaf: jax.Array, names: PartitionSpec) -> jax.Array:
        return constrain(leaf, tuple(None if name == "embed" else name for name in names[1:]))

    return jax.tree.map(gather, layer, axes)


def cast(tree: Params, dtype: str) -> Params:
    """Parameters in the dtype of the computation; done on shards, so before anything is gathered."""
    return jax.tree.map(lambda leaf: leaf.astype(dtype), tree)


def run_stack(
    config: ModelConfig,
    stack: Period,
    x_BTD: jax.Array,
    block: Callable[[Block, jax.Array], jax.Array],
    gather: Callable[[Params], Params],
) -> jax.Array:
    """Scans ``block`` over the layers of a stack; each layer's weights are sliced and gathered inside the loop."""
    graph, state = nnx.split(stack)

    def body(x: jax.Array, layer: Params) -> tuple[jax.Array, None]:
        period: Period = nnx.merge(graph, gather(layer))
        for one in period.blocks():
            x = block(one, x)
        return x, None

    return jax.lax.scan(rematerialised(config, body), x_BTD, nnx.to_pure_dict(state))[0]


def hidden_states(
    structure: Structure, params: Params, tokens_BT: jax.Array, positions_BT: jax.Array, segments_BT: jax.Array
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Normed hidden states [B, T, D] of packed rows; a token attends to earlier ones of its own segment only."""
    config, constrain = structure.config, structure.constrain
    decoder: Decoder = nnx.merge(structure.graph, cast(params, config.compute_dtype))
    x_BTD = constrain(decoder.embed(tokens_BT, positions_BT), ("batch", "time", None))
    order = jnp.arange(tokens_BT.shape[1])
    allowed = (order[:, None] >= order[None, :])[None] & (segments_BT[:, :, None] == segments_BT[:, None, :])
    angles = decoder.angles(positions_BT)

    def block(one: Block, x: jax.Array) -> jax.Array:
        return one(x, angles, allowed, constrain)

    for index in range(len(config.stacks)):
        name = f"stack_{index}"
        gather = partial(gathered, constrain, axes=structure.axes[name])
        x_BTD = run_stack(config, getattr(decoder, name), x_BTD, block, gather)
    return decoder.final_norm(x_BTD), {}


def unembedding(structure: Structure, params: Params) -> jax.Array:
    """The matrix [D, V] whose product with hidden states would be the logits, in the dtype of the computation."""
    matrix = params["embedding"].T if structure.config.tied else params["head"]
    return matrix.astype(structure.config.compute_dtype)
