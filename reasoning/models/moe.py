"""A mixture of experts that drops no token, on one device or with experts spread over a mesh axis.

Tokens are sorted by expert and multiplied group by group (``jax.lax.ragged_dot``). With expert parallelism each device
holds some experts and some tokens: it gathers the tokens of its expert group, works on those meant for its experts,
and the results are summed and scattered back, so that the most uneven load needs no more memory than the most even one.

Shapes: B batch, T time, N tokens of a device, D model width, F hidden width of an expert, E experts, A active a token.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax.sharding import PartitionSpec

from reasoning.core.mesh import partition
from reasoning.models.config import Activation, ModelConfig, MoE
from reasoning.models.mlp import MLP, activate, gated
from reasoning.models.parameters import Placement, parameter, zeros
from reasoning.models.routing import affinities, choose_experts, expert_loads, imbalance

_EXPERT_AXIS, _HIDDEN_AXIS = "expert", "tensor"


class Experts(NamedTuple):
    """The matrices of the experts that a device holds: up [E, D, F], down [E, F, D], and a gate like up or none."""

    up_EDF: jax.Array
    down_EFD: jax.Array
    gate_EDF: jax.Array | None


def mix_experts(
    activation: Activation,
    experts: Experts,
    x_ND: jax.Array,
    chosen_NA: jax.Array,
    weights_NA: jax.Array,
    first: jax.Array | int,
) -> jax.Array:
    """The weighted sum [N, D] of the results of those chosen experts that are here, numbered from ``first``."""
    tokens, active = chosen_NA.shape
    held = experts.up_EDF.shape[0]
    number = chosen_NA.reshape(-1) - first
    elsewhere = (number < 0) | (number >= held)
    number = jnp.where(elsewhere, held, number)
    # Sorted by expert, choices of experts that are elsewhere last: each expert's rows are then one contiguous group.
    order = jnp.argsort(number, stable=True)
    sizes = jnp.sum(number[:, None] == jnp.arange(held), axis=0, dtype=jnp.int32)
    rows = x_ND[order // active]
    gate = None if experts.gate_EDF is None else jax.lax.ragged_dot(rows, experts.gate_EDF, sizes)
    hidden = activate(activation, jax.lax.ragged_dot(rows, experts.up_EDF, sizes), gate)
    # Rows beyond the last group belong to no expert here, and what a grouped product leaves there isn't defined.
    mine = ~elsewhere[order][:, None]
    results = jax.lax.ragged_dot(jnp.where(mine, hidden, 0), experts.down_EFD, sizes)
    # The inverse permutation brings each choice's result back to its token.
    results = jnp.where(mine, results, 0)[jnp.argsort(order)].reshape(tokens, active, -1)
    return jnp.einsum("nad,na->nd", results, weights_NA.astype(results.dtype))


def _mix_spread(
    activation: Activation, matrices: tuple, x_BTD: jax.Array, chosen_BTA: jax.Array, weights_BTA: jax.Array
) -> jax.Array:
    """``mix`` on one device of a mesh: gather the expert group's tokens, sum over hidden parts, scatter the results."""
    # All tokens of the group come here, whatever their experts: the shape is the same for any load, so none is dropped
    # for want of room, as all-to-all exchanges with a fixed capacity do.
    gathered = [
        jax.lax.all_gather(array, _EXPERT_AXIS, axis=0, tiled=True) for array in (x_BTD, chosen_BTA, weights_BTA)
    ]
    x_ND, chosen_NA, weights_NA = (array.reshape(-1, array.shape[-1]) for array in gathered)
    experts = Experts(*matrices)
    first = jax.lax.axis_index(_EXPERT_AXIS) * experts.up_EDF.shape[0]
    mixed = mix_experts(activation, experts, x_ND, chosen_NA, weights_NA, first)
    # Over "tensor" each device has a part of the hidden width, over "expert" some of the experts: their sums are each
    # token's result, of which every device gets those of its own tokens.
    summed = jax.lax.psum(mixed.reshape(gathered[0].shape), _HIDDEN_AXIS)
    return jax.lax.psum_scatter(summed, _EXPERT_AXIS, scatter_dimension=0, tiled=True)


class MixtureOfExperts(nnx.Module):
    """A router, its experts, and those that every token takes."""

    def __init__(self, config: ModelConfig, moe: MoE, activation: Activation, rngs: nnx.Rngs):
        width, hidden, experts = config.width, moe.mlp_width, moe.experts
        std, out_std = width**-0.5, (hidden * 2 * config.layers) ** -0.5
        self.moe = moe
        self.activation: Activation = activation
        self.router = parameter(rngs, (width, experts), std, ("embed", "none"))
        if moe.router == "sigmoid":
            self.router_bias = zeros((experts,), ("none",))
        if gated(activation):
            self.gate = parameter(rngs, (experts, width, hidden), std, ("experts", "embed", "mlp"))
        self.up = parameter(rngs, (experts, width, hidden), std, ("experts", "embed", "mlp"))
        self.down = parameter(rngs, (experts, hidden, width), out_std, ("experts", "mlp", "embed"))
        if moe.shared:
            self.shared = MLP(config, activation, moe.shared * hidden, rngs)

    def __call__(
        self, x_BTD: jax.Array, token_mask_BT: jax.Array | None, placement: Placement
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """The block's output [B, T, D], and of tokens in the mask ``load`` [E] and the rows' ``balance`` loss [B].

        Without ``token_mask_BT`` (decoding) there are no such auxiliary outputs.
        """
        moe = self.moe
        # In float32 (``cast`` leaves the router alone): close scores must not change places by rounding.
        logits_BTE = jnp.einsum("btd,de->bte", x_BTD, self.router[...], preferred_element_type=jnp.float32)
        scores_BTE = affinities(moe, logits_BTE)
        bias_E = self.router_bias[...] if moe.router == "sigmoid" else None
        chosen_BTA, weights_BTA = choose_experts(moe, scores_BTE, bias_E)
        experts = Experts(self.up[...], self.down[...], self.gate[...] if gated(self.activation) else None)
        mixed = self._mix(experts, x_BTD, chosen_BTA, weights_BTA, placement)
        if moe.shared:
            mixed = mixed + self.shared(x_BTD)
        if token_mask_BT is None:
            return mixed, {}
        load_BE = expert_loads(moe, chosen_BTA, token_mask_BT)
        balance_B = moe.balance_loss * imbalance(moe, scores_BTE, load_BE, token_mask_BT)
        return mixed, {"load": jnp.sum(load_BE, axis=0), "balance": balance_B}

    def _mix(
        self, experts: Experts, x_BTD: jax.Array, chosen_BTA: jax.Array, weights_BTA: jax.Array, placement: Placement
    ) -> jax.Array:
        mesh = placement.mesh
        if mesh is None or mesh.size == 1:
            x_ND, chosen_NA, weights_NA = (
                array.reshape(-1, array.shape[-1]) for array in (x_BTD, chosen_BTA, weights_BTA)
            )
            return mix_experts(self.activation, experts, x_ND, chosen_NA, weights_NA, 0).reshape(x_BTD.shape)
        tokens = partition(("batch", "time", None))
        # Declared whole along "embed" (fsdp), which ``gather_layer`` has seen to.
        into, out_of = PartitionSpec(_EXPERT_AXIS, None, _HIDDEN_AXIS), PartitionSpec(_EXPERT_AXIS, _HIDDEN_AXIS, None)
        spread = jax.shard_map(
            functools.partial(_mix_spread, self.activation),
            mesh=mesh,
            in_specs=((into, out_of, into), tokens, tokens, tokens),
            out_specs=tokens,
        )
        return spread(tuple(experts), x_BTD, chosen_BTA, weights_BTA)
