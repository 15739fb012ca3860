"""Losses that treat each token by itself, and how a function is known to be one.

Of such a loss a token's weight, its derivative in the token's own log-probability, is known as soon as that is, so that
the head's gradients can be made while a chunk's logits are there.

Legend: B rows, T time.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.extend import core as jax_core

from reasoning.core.errors import InputError

TokenLoss = Callable[[Array, Any], Array]
"""``loss(log_probs, values)``: each token's part of a loss, in the shape of its arrays, from the target's
log-probability and from a tree of further arrays of that shape. It mustn't close over arrays."""

_SHAPES = (2, 3), (5, 7)
"""Shapes of which neither number is the other's, nor any product's."""

_ELEMENTWISE = frozenset(
    "abs add add_any and broadcast_in_dim clamp convert_element_type copy div eq erf exp exp2 expm1 ge gt integer_pow "
    "is_finite jit le log log1p logistic lt max min mul ne neg not or pow rsqrt select_n sign sqrt square "
    "stop_gradient sub tanh xor".split()
)
"""Operations of JAX's that make each number from those in the same place; of one that isn't here nothing is known."""


def weights_of(loss: TokenLoss, log_probs: Array, values: Any) -> Array:
    """The derivative of the loss in each token's log-probability."""
    of_tokens, pull_back = jax.vjp(lambda own: loss(own, values), log_probs)
    return pull_back(jnp.ones_like(of_tokens))[0]


def is_by_token(loss: TokenLoss, values: Any) -> bool:
    """Whether a token's weight depends on nothing but that token's own numbers, whatever the shape of the arrays.

    The derivative is traced for arrays of the shape that ``values`` have, and of two others. It must be made of
    elementwise operations of whole arrays and of numbers that are written in it: a sum over a row, a table, or a shape
    that is computed with, is found. What can't be told is said not to be, as are losses that refuse other shapes.
    """
    own_shape = jax.tree.leaves(values)[0].shape
    whole = _traced(loss, values, own_shape)
    try:
        others = [_traced(loss, values, shape) for shape in _SHAPES]
    except (InputError, TypeError, ValueError):
        return False
    shapes = own_shape, *_SHAPES
    texts = {_without_shape(str(one), shape) for one, shape in zip((whole, *others), shapes, strict=True)}
    return len(texts) == 1 and not whole.consts and _is_elementwise(others[0].jaxpr, _SHAPES[0])


def _traced(loss: TokenLoss, values: Any, shape: tuple[int, ...]) -> jax_core.ClosedJaxpr:
    def of_shape(leaf: Any) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(shape, leaf.dtype)

    def weights(log_probs: Array, values: Any) -> Array:
        return weights_of(loss, log_probs, values)

    return jax.make_jaxpr(weights)(jax.ShapeDtypeStruct(shape, jnp.float32), jax.tree.map(of_shape, values))


def _without_shape(text: str, shape: tuple[int, ...]) -> str:
    """A program's text, in which arrays of this shape have a name in its place, without breaks of its lines."""
    joined = "".join(text.split())
    return joined.replace(f"[{','.join(map(str, shape))}]", "[B,T]")


def _is_elementwise(jaxpr: jax_core.Jaxpr, shape: tuple[int, ...]) -> bool:
    """Whether all operations are elementwise ones of numbers and of arrays of this shape."""
    return all(
        equation.primitive.name in _ELEMENTWISE
        and all(getattr(value.aval, "shape", None) in ((), shape) for value in (*equation.invars, *equation.outvars))
        and all(
            _is_elementwise(inner.jaxpr, shape)
            for inner in equation.params.values()
            if isinstance(inner, jax_core.ClosedJaxpr)
        )
        for equation in jaxpr.eqns
    )
