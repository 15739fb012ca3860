"""A model of the user's own, from any library, that trains and samples with the same programs as ours.

It needs two functions: hidden states of token rows, and the unembedding. A Flax ``nnx`` module offers them after
``nnx.split``, a ``linen`` module through ``apply``. Without a cache of its own each new token reads all tokens again.

Shapes: B rows or slots, T new tokens, S length of a cache, D width, V vocabulary.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, PartitionSpec

from reasoning.core.errors import InputError
from reasoning.models.cache import Cache, Weights
from reasoning.models.model import no_further_tokens, unchanged
from reasoning.models.parameters import Params

HiddenStates = Callable[[Params, jax.Array, jax.Array, jax.Array], jax.Array]


@dataclass(frozen=True, eq=False)
class ForeignModel:
    """The functions of somebody else's architecture, under the names of ``models.model.LanguageModel``."""

    mesh: Mesh | None
    shapes: Params
    axes: Params
    context: int
    hidden_states: Callable[..., tuple[jax.Array, dict[str, Any]]]
    unembedding: Callable[[Params], jax.Array]
    soft_cap: float | None
    publish: Callable[[Params], Weights]
    cache_shapes: Callable[[int, int], Cache]
    prefill: Callable[..., tuple[jax.Array, Cache]]
    decode: Callable[..., tuple[jax.Array, Cache]]
    multi_token: int = 0
    multi_token_coefficient: float = 0.0
    rebalance: Callable[[Params, Any], Params] = unchanged
    multi_token_states: Callable[..., tuple[tuple[jax.Array, ...], dict[str, Any]]] = no_further_tokens


def foreign_model(
    params: Params,
    hidden_states: HiddenStates,
    unembedding: Callable[[Params], jax.Array],
    *,
    context: int,
    mesh: Mesh | None = None,
    axes: Params | None = None,
    soft_cap: float | None = None,
) -> ForeignModel:
    """The model of a user's functions; ``params`` is a nested dict of arrays, or of their shapes.

    - ``hidden_states(params, tokens_BT, positions_BT, segments_BT) -> [B, T, D]``, after the last norm; a token may see
      itself and earlier ones of its own segment (rows that hold one document each have one segment, and padding 0).
    - ``unembedding(params) -> [D, V]``; logits are their product, kept within ``soft_cap`` where one is given.
    - ``axes``: the logical axes of each parameter (``core.mesh.RULES``), as tuples; without them each device holds all.

    Warns that sampling will recompute. Raises InputError, with the shapes, where the two functions don't fit.
    """
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), params)
    _check(shapes, hidden_states, unembedding)
    warnings.warn(
        "this model brings no cache, so sampling reads all earlier tokens again for each new one; that is exact, and "
        "slow for long replies",
        stacklevel=2,
    )
    axes = jax.tree.map(lambda leaf: ("none",) * len(leaf.shape), shapes) if axes is None else axes
    return ForeignModel(
        mesh=mesh,
        shapes=shapes,
        axes=jax.tree.map(lambda leaf, names: PartitionSpec(*names), shapes, axes),
        context=context,
        hidden_states=lambda params, *rows: (hidden_states(params, *rows), {}),
        unembedding=unembedding,
        soft_cap=soft_cap,
        publish=lambda params: params,
        cache_shapes=_remembered_tokens,
        prefill=partial(_prefill, hidden_states),
        decode=partial(_decode, hidden_states),
    )


def _check(shapes: Params, hidden_states: HiddenStates, unembedding: Callable[[Params], jax.Array]) -> None:
    rows = jax.ShapeDtypeStruct((2, 3), jnp.int32)
    states, matrix = jax.eval_shape(hidden_states, shapes, rows, rows, rows), jax.eval_shape(unembedding, shapes)
    gave = [getattr(value, "shape", type(value).__name__) for value in (states, matrix)]
    if not all(isinstance(shape, tuple) for shape in gave):
        raise InputError(f"hidden_states and unembedding gave {gave[0]} and {gave[1]}; each must give one array")
    if states.shape[:2] != (2, 3) or len(states.shape) != 3 or matrix.shape[:1] != states.shape[2:]:
        raise InputError(
            f"hidden_states of 2 rows of 3 tokens gave {states.shape} and unembedding {matrix.shape}; they must be "
            "[2, 3, D] and [D, V]"
        )


def _remembered_tokens(slots: int, length: int) -> Cache:
    """The cache is the tokens so far, in the shape that the sampler grows and repeats caches in."""
    tokens = jax.ShapeDtypeStruct((slots, 1, length, 1), jnp.int32)
    return {"layers": ((tokens,),), "length": jax.ShapeDtypeStruct((slots,), jnp.int32)}


def _reread(hidden_states: HiddenStates, weights: Weights, tokens_BS: jax.Array, length_B: jax.Array) -> jax.Array:
    """The state [B, D] of each row's last token, from all of them."""
    order = jnp.arange(tokens_BS.shape[1])
    segments_BS = (order < length_B[:, None]).astype(jnp.int32)
    states_BSD = hidden_states(weights, tokens_BS, jnp.broadcast_to(order, tokens_BS.shape), segments_BS)
    return jnp.take_along_axis(states_BSD, (length_B - 1)[:, None, None], axis=1)[:, 0]


def _prefill(
    hidden_states: HiddenStates, weights: Weights, tokens_BT: jax.Array, lengths_B: jax.Array, cache: Cache
) -> tuple[jax.Array, Cache]:
    rows_B1, start_B = jnp.arange(tokens_BT.shape[0])[:, None], cache["length"]
    places_BT = start_B[:, None] + jnp.arange(tokens_BT.shape[1])
    held_B1S1 = cache["layers"][0][0].at[rows_B1, 0, places_BT, 0].set(tokens_BT)
    states_BD = _reread(hidden_states, weights, held_B1S1[:, 0, :, 0], start_B + lengths_B)
    return states_BD, {"layers": ((held_B1S1,),), "length": start_B + lengths_B}


def _decode(
    hidden_states: HiddenStates, weights: Weights, tokens_B: jax.Array, cache: Cache
) -> tuple[jax.Array, Cache]:
    length_B = cache["length"]
    rows = jnp.arange(tokens_B.shape[0])
    held_B1S1 = cache["layers"][0][0].at[rows, 0, length_B, 0].set(tokens_B)
    states_BD = _reread(hidden_states, weights, held_B1S1[:, 0, :, 0], length_B + 1)
    return states_BD, {"layers": ((held_B1S1,),), "length": length_B + 1}
