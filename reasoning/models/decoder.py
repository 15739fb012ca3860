"""The decoder: stacks of blocks that are built with vmap and run under scan, so that depth costs no compile time.

Shapes: B batch, T time, S cache length, D model width, V vocabulary, E experts.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.ad_checkpoint import checkpoint_name
from jax.sharding import PartitionSpec

from reasoning.core.mesh import gathered
from reasoning.kernels.attention.backends import Attention
from reasoning.models.block import Aux, Block
from reasoning.models.config import BlockKind, ModelConfig, Stack, block_name, stack_name
from reasoning.models.lora import LoRA, adapt
from reasoning.models.multi_token import MultiToken, multi_token_name, shifted
from reasoning.models.parameters import Params, Placement, RMSNorm, parameter
from reasoning.models.routing import rebalanced
from reasoning.models.sequences import Group, grouped_inputs, packed_inputs

_BLOCK_INPUT = "block_input"

_OFFLOADED = jax.checkpoint_policies.save_and_offload_only_these_names(
    names_which_can_be_saved=[],
    names_which_can_be_offloaded=[_BLOCK_INPUT],
    offload_src="device",
    offload_dst="pinned_host",
)
"""Keeps what goes into a block in the host's memory until the backward pass comes to it, and recomputes the rest."""


@dataclass(frozen=True)
class Structure:
    """What is static about a decoder: config, Flax graph, logical axes of parameters, mesh, kernels."""

    config: ModelConfig
    graph: Any
    axes: Params
    placement: Placement
    attention: Attention


def _stacked_block(config: ModelConfig, kind: BlockKind, count: int, lora: LoRA | None, rngs: nnx.Rngs) -> Block:
    """``count`` blocks of a kind in one whose parameters carry a leading layers axis, with ``lora`` adapted."""

    @nnx.split_rngs(splits=count)
    @nnx.vmap(in_axes=0, out_axes=0, transform_metadata={nnx.PARTITION_NAME: "layers"})
    def build(rngs: nnx.Rngs) -> Block:
        block = Block(config, kind, rngs)
        if lora is not None:
            adapt(block, lora, rngs)
        return block

    return build(rngs)


class _Blocks(nnx.Module):
    """The blocks of a stack: all of a run of equal ones, in all repetitions of the pattern, in one ``Block``."""

    def __init__(self, config: ModelConfig, stack: Stack, lora: LoRA | None, rngs: nnx.Rngs):
        for index, (kind, length) in enumerate(stack.runs()):
            setattr(self, block_name(index), _stacked_block(config, kind, stack.count * length, lora, rngs))


class Decoder(nnx.Module):
    """Embedding, stacks, final norm and unembedding: parameters only; all state is passed and returned.

    With ``lora`` the stacks' matrices have adapters; blocks of multi-token prediction stay as they are.
    """

    def __init__(self, config: ModelConfig, lora: LoRA | None, rngs: nnx.Rngs):
        self.config = config
        width, vocabulary = config.width, config.vocabulary
        self.embedding = parameter(rngs, (vocabulary, width), config.embedding_std, ("vocabulary", "embed"))
        if config.learned_positions:
            self.positions = parameter(rngs, (config.context, width), config.embedding_std, ("none", "embed"))
        for index, stack in enumerate(config.stacks):
            setattr(self, stack_name(index), _Blocks(config, stack, lora, rngs))
        self.final_norm = RMSNorm(config)
        if not config.tied:
            std = config.head_scale * width**-0.5
            self.head = parameter(rngs, (width, vocabulary), std, ("embed", "vocabulary"))
        for depth in range(config.multi_token):
            setattr(self, multi_token_name(depth), MultiToken(config, rngs))

    def embed(self, tokens_BT: jax.Array, positions_BT: jax.Array) -> jax.Array:
        """Token embeddings, scaled or with learned positions where the config says so."""
        x_BTD = self.embedding[...][tokens_BT]
        if self.config.scaled_embedding:
            x_BTD = x_BTD * jnp.asarray(self.config.width**0.5, x_BTD.dtype)
        if self.config.learned_positions:
            x_BTD = x_BTD + self.positions[...][positions_BT]
        return x_BTD


def _rematerialised(config: ModelConfig, body: Callable) -> Callable:
    """``body`` with the config's choice of what the backward pass recomputes instead of storing."""
    if config.remat == "block":
        return jax.checkpoint(body)
    if config.remat == "dots":
        # Products without a batch axis are those with dense weights; attention's large scores are recomputed.
        return jax.checkpoint(body, policy=jax.checkpoint_policies.dots_with_no_batch_dims_saveable)
    if config.remat == "offload":

        def named(x: jax.Array, *rest: Any) -> Any:
            return body(checkpoint_name(x, _BLOCK_INPUT), *rest)

        return jax.checkpoint(named, policy=_OFFLOADED)
    return body


def _gathered(placement: Placement, axes: Params, weights: Params) -> Params:
    """Weights with their shards gathered; in backward their gradients are scattered again.

    ``axes`` are the weights' logical axes, of which a stack's begin with that of layers, which its scan slices away.
    """

    def gather(leaf: jax.Array, names: PartitionSpec) -> jax.Array:
        # Without the name of the axis of its shards the leaf must be whole along it, so XLA gathers it here, and sums
        # and scatters its gradient.
        return placement.constrain(leaf, gathered(names[-leaf.ndim :]))

    return jax.tree.map(gather, weights, axes)


def _gather_layer(placement: Placement, axes: Params, block: str, layer: Params) -> Params:
    """One layer's weights, gathered; ``axes`` are those of its stack's parameters, ``block`` its name among them."""
    return _gathered(placement, axes[block], layer)


def cast(tree: Params, dtype: str) -> Params:
    """Parameters in the dtype of the computation; done on shards, so that bfloat16 is gathered, half of float32.

    Routers stay as they are, since choosing experts in a narrow type would send tokens elsewhere.
    """

    def narrow(path: tuple, leaf: jax.Array) -> jax.Array:
        return leaf if path[-1].key in ("router", "router_bias", "logit_bias") else leaf.astype(dtype)

    return jax.tree.map_with_path(narrow, tree)


def _run_stack(
    config: ModelConfig,
    stack: Stack,
    blocks: _Blocks,
    x_BTD: jax.Array,
    block: Callable[[Block, jax.Array], tuple[jax.Array, Aux]],
    gather: Callable[[str, Params], Params],
) -> tuple[jax.Array, dict[str, Aux]]:
    """Scans ``block`` over the layers of a stack; each layer's weights are sliced and gathered inside the loop.

    A pattern of several runs is a scan over its repetitions, and within it one over each run, so that every run is
    compiled once. Beside the hidden states each run's auxiliary outputs, with a leading layers axis.
    """
    bodies, states = {}, {}
    for index in range(len(stack.runs())):
        name = block_name(index)
        graph, state = nnx.split(getattr(blocks, name))

        # ``name`` and ``graph`` are bound as defaults, or every body would see those of the last run.
        def body(x: jax.Array, layer: Params, name: str = name, graph: Any = graph) -> tuple[jax.Array, Aux]:
            # Gathered inside the loop, so one layer is whole at a time, and inside what is rematerialised, so backward
            # gathers it again instead of keeping all of them.
            return block(nnx.merge(graph, gather(name, layer)), x)

        bodies[name], states[name] = _rematerialised(config, body), nnx.to_pure_dict(state)

    def period(x: jax.Array, layers: dict[str, Params]) -> tuple[jax.Array, dict[str, Aux]]:
        aux = {}
        for name, one in bodies.items():
            x, aux[name] = jax.lax.scan(one, x, layers[name])
        return x, aux

    # One repetition needs no loop around its runs, and all repetitions of one run lie in its leading axis, first to
    # last, so the run's own scan covers them.
    if stack.count == 1 or len(bodies) == 1:
        return period(x_BTD, states)
    layers = jax.tree.map(lambda leaf: leaf.reshape(stack.count, -1, *leaf.shape[1:]), states)
    x_BTD, aux = jax.lax.scan(period, x_BTD, layers)
    return x_BTD, jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), aux)


def hidden_states(
    structure: Structure,
    params: Params,
    tokens_BT: jax.Array,
    positions_BT: jax.Array,
    segments_BT: jax.Array,
    group: Group | None = None,
) -> tuple[jax.Array, dict[str, Any]]:
    """Normed hidden states [B, T, D] of packed rows; a token attends to earlier ones of its own segment only.

    With a ``group`` tokens and positions, and the states, are [R, U] as it lays out rows that begin alike, and segments
    are those of the rows. Beside the states, where the model has experts: ``load``, a tree {stack: {block: [layers,
    E]}} of how many tokens with a segment above 0 each expert took, and ``balance``, each row's balance loss [B],
    summed over layers.
    """
    config, placement = structure.config, structure.placement
    # All at once and outside the scan, where a cast would be repeated by every backward pass that recomputes a block.
    decoder: Decoder = nnx.merge(structure.graph, cast(params, config.compute_dtype))
    x_BTD = placement.constrain_hidden(decoder.embed(tokens_BT, positions_BT))
    if group is None:
        inputs_of = packed_inputs(config, structure.attention, positions_BT, segments_BT)
    else:
        inputs_of = grouped_inputs(config, structure.attention, positions_BT, segments_BT, group)
        segments_BT = group.together(segments_BT)
    token_mask_BT = (segments_BT > 0).astype(jnp.float32)

    def block(one: Block, x: jax.Array) -> tuple[jax.Array, Aux]:
        return one(x, inputs_of(one.kind), token_mask_BT, placement)

    aux = {}
    for index, stack in enumerate(config.stacks):
        name = stack_name(index)
        gather = partial(_gather_layer, placement, structure.axes[name])
        x_BTD, aux[name] = _run_stack(config, stack, getattr(decoder, name), x_BTD, block, gather)
    return decoder.final_norm(x_BTD), _summary(aux)


def multi_token_states(
    structure: Structure,
    params: Params,
    hidden_BTD: jax.Array,
    tokens_BT: jax.Array,
    positions_BT: jax.Array,
    segments_BT: jax.Array,
) -> tuple[tuple[jax.Array, ...], dict[str, Any]]:
    """Normed states [B, T, D] that predict the token two places on, three, …, from what ``hidden_states`` gave.

    Beside them auxiliary outputs as those of ``hidden_states`` (arXiv 2412.19437, section 2.2). The first depth reads
    the decoder's normed states, as released checkpoints do.
    """
    config, placement = structure.config, structure.placement
    decoder: Decoder = nnx.merge(structure.graph, cast(params, config.compute_dtype))
    inputs_of = packed_inputs(config, structure.attention, positions_BT, segments_BT)
    inputs = inputs_of(config.stacks[-1].pattern[-1])
    token_mask_BT = (segments_BT > 0).astype(jnp.float32)
    states, aux = [], {}
    for depth in range(config.multi_token):
        name = multi_token_name(depth)
        block: MultiToken = getattr(decoder, name)
        graph, state = nnx.split(block)

        def body(x: jax.Array, following: jax.Array, weights: Params, graph: Any = graph, name: str = name) -> Any:
            one: MultiToken = nnx.merge(graph, _gathered(placement, structure.axes[name], weights))
            return one(x, following, inputs, token_mask_BT, placement)

        following_BTD = decoder.embed(shifted(tokens_BT, segments_BT, depth + 1), positions_BT)
        hidden_BTD, block_aux = _rematerialised(config, body)(hidden_BTD, following_BTD, nnx.to_pure_dict(state))
        aux[name] = {"block": jax.tree.map(lambda values: values[None], block_aux)}
        states.append(block.final_norm(hidden_BTD))
    return tuple(states), _summary(aux)


def _summary(aux: dict[str, dict[str, Aux]]) -> dict[str, Any]:
    of_experts = [(stack, block, values) for stack, blocks in aux.items() for block, values in blocks.items() if values]
    if not of_experts:
        return {}
    load: dict[str, dict[str, jax.Array]] = {}
    for stack, block, values in of_experts:
        load.setdefault(stack, {})[block] = values["load"]
    return {"load": load, "balance": sum(jnp.sum(values["balance"], axis=0) for _, _, values in of_experts)}


def rebalance(structure: Structure, params: Params, load: dict[str, dict[str, jax.Array]]) -> Params:
    """Parameters whose routers' biases have moved towards an even ``load``, which is that of ``hidden_states``."""
    kinds = {(layer.stack, layer.block): layer.kind for layer in structure.config.each_layer()}
    last = structure.config.stacks[-1].pattern[-1]  # that of blocks of multi-token prediction
    params = dict(params)
    for name, blocks in load.items():
        for block, load_LE in blocks.items():
            moe = kinds.get((name, block), last).moe
            if moe is not None and moe.bias_rate:
                leaves = params[name][block]
                bias = leaves["moe"]["router_bias"]
                moved = {**leaves["moe"], "router_bias": rebalanced(moe, bias, load_LE.reshape(bias.shape))}
                params[name] = {**params[name], block: {**leaves, "moe": moved}}
    return params


def soft_capped(logits: jax.Array, cap: float | None) -> jax.Array:
    """Logits that stay within ``cap`` (Gemma 2, arXiv 2408.00118, section 2); None: as they are."""
    return logits if cap is None else cap * jnp.tanh(logits / cap)


def unembedding(structure: Structure, params: Params) -> jax.Array:
    """The matrix [D, V] whose product with hidden states would be the logits, in the dtype of the computation."""
    matrix = params["embedding"].T if structure.config.tied else params["head"]
    return matrix.astype(structure.config.compute_dtype)
