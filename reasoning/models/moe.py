"""A mixture of experts that drops no token, on one device or with experts spread over a mesh axis.

Tokens are sorted by expert and multiplied group by group (``kernels.grouped``). With expert parallelism each device
holds some experts and some tokens: it gathers the tokens of its expert group, works on those meant for its experts,
and the results are summed and scattered back, so that the most uneven load needs no more memory than the most even one.
Of many tokens it does so piece by piece.

Shapes: B batch, T time, N tokens of a device, D model width, F hidden width of an expert, E experts, A active a token.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax.sharding import Mesh, PartitionSpec

from reasoning.core.mesh import partition
from reasoning.kernels.grouped import GroupedProduct
from reasoning.models.config import Activation, ModelConfig, MoE
from reasoning.models.mlp import MLP, activate, gated
from reasoning.models.parameters import Placement, parameter, zeros
from reasoning.models.routing import affinities, choose_experts, expert_loads, imbalance

_EXPERT_AXIS, _HIDDEN_AXIS = "expert", "tensor"

_PIECE_BYTES = 2**30
"""What the rows of tokens, one for each expert of each, may take at a time."""

_Matrices = tuple[Any, ...]
_Mix = Callable[[_Matrices, jax.Array, jax.Array, jax.Array], jax.Array]
"""``(matrices, x_ND, chosen_NA, weights_NA) -> mixed_ND``; the matrices are those of ``Experts``."""


class Experts(NamedTuple):
    """The matrices of the experts that a device holds: up [E, D, F], down [E, F, D], and a gate like up or none.

    Their biases, of all of them or of none, are up [E, F], down [E, D] and gate [E, F].
    """

    up_EDF: jax.Array
    down_EFD: jax.Array
    gate_EDF: jax.Array | None
    up_bias_EF: jax.Array | None = None
    down_bias_ED: jax.Array | None = None
    gate_bias_EF: jax.Array | None = None


# A gather's derivative is a scatter, which TPUs are slow at; that of a permutation is the inverse permutation.


@jax.custom_vjp
def _permuted(x_MD: jax.Array, order_M: jax.Array, inverse_M: jax.Array) -> jax.Array:
    """Rows in that order."""
    return x_MD[order_M]


def _permuted_forward(x_MD: jax.Array, order_M: jax.Array, inverse_M: jax.Array) -> tuple[jax.Array, jax.Array]:
    return x_MD[order_M], inverse_M


def _permuted_backward(inverse_M: jax.Array, upstream_MD: jax.Array) -> tuple[jax.Array, None, None]:
    return upstream_MD[inverse_M], None, None


_permuted.defvjp(_permuted_forward, _permuted_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _dealt(active: int, x_ND: jax.Array, order_M: jax.Array, inverse_M: jax.Array) -> jax.Array:
    """Of each token ``active`` rows, which are M = N A, in that order of the M."""
    return x_ND[order_M // active]


def _dealt_forward(
    active: int, x_ND: jax.Array, order_M: jax.Array, inverse_M: jax.Array
) -> tuple[jax.Array, jax.Array]:
    return _dealt(active, x_ND, order_M, inverse_M), inverse_M


def _dealt_backward(active: int, inverse_M: jax.Array, upstream_MD: jax.Array) -> tuple[jax.Array, None, None]:
    return upstream_MD[inverse_M].reshape(-1, active, upstream_MD.shape[1]).sum(axis=1), None, None


_dealt.defvjp(_dealt_forward, _dealt_backward)


def mix_experts(
    grouped: GroupedProduct,
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
    inverse = jnp.argsort(order)
    sizes = jnp.sum(number[:, None] == jnp.arange(held), axis=0, dtype=jnp.int32)
    rows: jax.Array = _dealt(active, x_ND, order, inverse)
    expert = jnp.minimum(number[order], held - 1)

    def product(rows: jax.Array, matrices: jax.Array, biases: jax.Array | None) -> jax.Array:
        products = grouped.product(rows, matrices, sizes)
        return products if biases is None else products + biases[expert]

    gate = None if experts.gate_EDF is None else product(rows, experts.gate_EDF, experts.gate_bias_EF)
    hidden = activate(activation, product(rows, experts.up_EDF, experts.up_bias_EF), gate)
    # Rows beyond the last group belong to no expert here, and what a grouped product leaves there isn't defined.
    mine = ~elsewhere[order][:, None]
    results = product(jnp.where(mine, hidden, 0), experts.down_EFD, experts.down_bias_ED)
    # The inverse permutation brings each choice's result back to its token.
    returned: jax.Array = _permuted(jnp.where(mine, results, 0), inverse, order)
    results = returned.reshape(tokens, active, -1)
    return jnp.einsum("nad,na->nd", results, weights_NA.astype(results.dtype))


def _mix_here(
    grouped: GroupedProduct,
    activation: Activation,
    matrices: _Matrices,
    x_ND: jax.Array,
    chosen_NA: jax.Array,
    weights_NA: jax.Array,
) -> jax.Array:
    """``mix_experts`` on one device that holds them all."""
    return mix_experts(grouped, activation, Experts(*matrices), x_ND, chosen_NA, weights_NA, 0)


def _mix_gathered(
    grouped: GroupedProduct,
    activation: Activation,
    matrices: _Matrices,
    x_ND: jax.Array,
    chosen_NA: jax.Array,
    weights_NA: jax.Array,
) -> jax.Array:
    """``mix_experts`` on one device of a mesh: gather the expert group's tokens, sum over hidden parts, scatter."""
    # All tokens of the group come here, whatever their experts: the shape is the same for any load, so none is dropped
    # for want of room, as all-to-all exchanges with a fixed capacity do.
    x_ND, chosen_NA, weights_NA = (
        jax.lax.all_gather(array, _EXPERT_AXIS, axis=0, tiled=True) for array in (x_ND, chosen_NA, weights_NA)
    )
    experts = Experts(*matrices)
    if experts.down_bias_ED is not None:
        # Each part of the hidden width gives a part of the result, and only one of them may bring the bias.
        brings = jax.lax.axis_index(_HIDDEN_AXIS) == 0
        experts = experts._replace(down_bias_ED=jnp.where(brings, experts.down_bias_ED, 0))
    first = jax.lax.axis_index(_EXPERT_AXIS) * experts.up_EDF.shape[0]
    mixed = mix_experts(grouped, activation, experts, x_ND, chosen_NA, weights_NA, first)
    # Over "tensor" each device has a part of the hidden width, over "expert" some of the experts: their sums are each
    # token's result, of which every device gets those of its own tokens.
    summed = jax.lax.psum(mixed, _HIDDEN_AXIS) if grouped.typed else _summed(mixed)
    return jax.lax.psum_scatter(summed, _EXPERT_AXIS, scatter_dimension=0, tiled=True)


@jax.custom_vjp
def _summed(mixed_ND: jax.Array) -> jax.Array:
    """The sum over hidden parts where ``shard_map`` doesn't know that it is the same on all of their devices.

    It then gives each an equal share of the sum's gradient, and would add the shares by an exchange of its own.
    """
    return jax.lax.psum(mixed_ND, _HIDDEN_AXIS)


_summed.defvjp(
    lambda mixed_ND: (_summed(mixed_ND), None),
    lambda _, share_ND: (share_ND * jax.lax.axis_size(_HIDDEN_AXIS),),
)


def _in_pieces(mix: _Mix, mesh: Mesh | None, typed: bool, matrices: _Matrices, *tokens: jax.Array) -> jax.Array:
    """``mix`` of all tokens [B, T, …] of a device, some after others where all would take too much memory.

    A piece is as many tokens as ``_PIECE_BYTES`` hold the rows of, those of all devices that work on it together.
    """
    group = 1 if mesh is None else mesh.shape[_EXPERT_AXIS]
    axes = () if mesh is None or not typed else mesh.axis_names
    x_ND, chosen_NA, weights_NA = (array.reshape(-1, array.shape[-1]) for array in tokens)
    count, active = chosen_NA.shape
    pieces = -(-count * group * active * x_ND.shape[1] * x_ND.dtype.itemsize // _PIECE_BYTES)
    if pieces <= 1:
        return mix(matrices, x_ND, chosen_NA, weights_NA).reshape(tokens[0].shape)

    def split(array: jax.Array, fill: int) -> jax.Array:
        filled = jnp.pad(array, ((0, -count % pieces), (0, 0)), constant_values=fill)
        return filled.reshape(pieces, -1, array.shape[1])

    # What fills the last piece up goes to expert -1, which is nowhere.
    parts = split(x_ND, 0), split(chosen_NA, -1), split(weights_NA, 0)
    # Typed as differing over all of the mesh, so that their gradients are of this device's tokens alone, and are added
    # over the mesh once and not once a piece.
    own = _varying(matrices, tuple(axis for axis in axes if axis not in (_EXPERT_AXIS, _HIDDEN_AXIS)))
    mixed: jax.Array = _piecewise(mix, axes, own, *parts)
    return mixed.reshape(-1, x_ND.shape[1])[:count].reshape(tokens[0].shape)


def _varying(arrays: Any, axes: tuple[str, ...]) -> Any:
    return jax.tree.map(lambda array: jax.lax.pcast(array, axes, to="varying"), arrays) if axes else arrays


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _piecewise(
    mix: _Mix,
    axes: tuple[str, ...],
    matrices: _Matrices,
    x_PND: jax.Array,
    chosen_PNA: jax.Array,
    weights_PNA: jax.Array,
) -> jax.Array:
    """``mix`` of one piece after another. Its own backward pass, so that matrices' gradients are summed in float32."""
    return jax.lax.map(lambda piece: mix(matrices, *piece), (x_PND, chosen_PNA, weights_PNA))


def _pieces_forward(mix: _Mix, axes: tuple[str, ...], *arguments: Any) -> tuple[jax.Array, tuple]:
    return _piecewise(mix, axes, *arguments), arguments


def _pieces_backward(mix: _Mix, axes: tuple[str, ...], saved: tuple, upstream_PND: jax.Array) -> tuple:
    matrices, *pieces = saved

    def add(sums: _Matrices, piece: tuple) -> tuple[_Matrices, tuple[jax.Array, jax.Array]]:
        above_ND, x_ND, chosen_NA, weights_NA = piece
        pull = jax.vjp(lambda matrices, x, weights: mix(matrices, x, chosen_NA, weights), matrices, x_ND, weights_NA)[1]
        of_matrices, of_x, of_weights = pull(above_ND)
        return jax.tree.map(lambda total, one: total + one.astype(total.dtype), sums, of_matrices), (of_x, of_weights)

    zeros = _varying(jax.tree.map(lambda matrix: jnp.zeros(matrix.shape, jnp.float32), matrices), axes)
    sums, (of_x, of_weights) = jax.lax.scan(add, zeros, (upstream_PND, *pieces))
    of_matrices = jax.tree.map(lambda total, matrix: total.astype(matrix.dtype), sums, matrices)
    return of_matrices, of_x, None, of_weights


_piecewise.defvjp(_pieces_forward, _pieces_backward)


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
        if moe.biases:
            self.logit_bias = zeros((experts,), ("none",))
            self.up_bias = zeros((experts, hidden), ("experts", "mlp"))
            self.down_bias = zeros((experts, width), ("experts", "none"))
            if gated(activation):
                self.gate_bias = zeros((experts, hidden), ("experts", "mlp"))
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
        if moe.biases:
            logits_BTE = logits_BTE + self.logit_bias[...]
        scores_BTE = affinities(moe, logits_BTE)
        bias_E = self.router_bias[...] if moe.router == "sigmoid" else None
        chosen_BTA, weights_BTA = choose_experts(moe, scores_BTE, bias_E)
        mixed = self._mix(self._experts(), x_BTD, chosen_BTA, weights_BTA, placement)
        if moe.shared:
            mixed = mixed + self.shared(x_BTD)
        if token_mask_BT is None:
            return mixed, {}
        load_BE = expert_loads(moe, chosen_BTA, token_mask_BT)
        balance_B = moe.balance_loss * imbalance(moe, scores_BTE, load_BE, token_mask_BT)
        return mixed, {"load": jnp.sum(load_BE, axis=0), "balance": balance_B}

    def _experts(self) -> Experts:
        has_gate = gated(self.activation)
        matrices = Experts(self.up[...], self.down[...], self.gate[...] if has_gate else None)
        if not self.moe.biases:
            return matrices
        gate_bias = self.gate_bias[...] if has_gate else None
        return matrices._replace(up_bias_EF=self.up_bias[...], down_bias_ED=self.down_bias[...], gate_bias_EF=gate_bias)

    def _mix(
        self, experts: Experts, x_BTD: jax.Array, chosen_BTA: jax.Array, weights_BTA: jax.Array, placement: Placement
    ) -> jax.Array:
        mesh, grouped, tokens = placement.mesh, placement.grouped, (x_BTD, chosen_BTA, weights_BTA)
        if mesh is None or mesh.size == 1:
            here = functools.partial(_mix_here, grouped, self.activation)
            return _in_pieces(here, None, grouped.typed, tuple(experts), *tokens)
        by_token = partition(("batch", "time", None))
        # Declared whole along "embed" (fsdp), which ``gather_layer`` has seen to.
        into, out_of = PartitionSpec(_EXPERT_AXIS, None, _HIDDEN_AXIS), PartitionSpec(_EXPERT_AXIS, _HIDDEN_AXIS, None)
        mix = functools.partial(_mix_gathered, grouped, self.activation)
        inner, outer = PartitionSpec(_EXPERT_AXIS, _HIDDEN_AXIS), PartitionSpec(_EXPERT_AXIS, None)
        spread = jax.shard_map(
            functools.partial(_in_pieces, mix, mesh, grouped.typed),
            mesh=mesh,
            in_specs=((into, out_of, into, inner, outer, inner), *[by_token] * 3),
            out_specs=by_token,
            check_vma=grouped.typed,
        )
        return spread(tuple(experts), *tokens)
