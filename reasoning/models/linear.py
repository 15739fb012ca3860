"""The product of activations and a weight, with a backward pass that makes no transposed copy of anything wide.

JAX derives ``transpose(g^T x)`` for the weight; XLA's CPU compiler then fuses the transposition into whatever made g,
which computes that array twice, once against the grain. ``x^T g`` gives the same numbers, and transposes whichever of
the two is narrower. Other backends don't mind.

XLA's CPU compiler has no product of bfloat16 that gives bfloat16, nor any of a single row: it makes float32 of the
weight first, for every token. With results in float32, and two rows, it multiplies bfloat16 where the processor can,
2.5 times as fast for a few rows, twice for many (docs/LOG.md). That is for what only samples and scores.
"""

import functools
import math

import jax
import jax.numpy as jnp

from reasoning.core import processor


def linear(x: jax.Array, weight: jax.Array, axes: int = 1) -> jax.Array:
    """Contracts the last ``axes`` axes of ``x`` [B, T, …] with the first of ``weight``; gives [B, T, the others]."""
    return jnp.asarray(_linear(axes, x, weight))


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _linear(axes: int, x: jax.Array, weight: jax.Array) -> jax.Array:
    return _product(axes, x, weight)


def _product(axes: int, x: jax.Array, weight: jax.Array) -> jax.Array:
    # Only where processors multiply it themselves: others are faster with the weight in float32.
    if not (x.dtype == weight.dtype == jnp.bfloat16 and processor.has("avx512_bf16")):
        return jnp.tensordot(x, weight, axes)

    def rounded(x: jax.Array, weight: jax.Array) -> jax.Array:
        single = math.prod(x.shape[: x.ndim - axes]) == 1
        rows = jnp.concatenate([x, x]) if single else x
        product = jnp.tensordot(rows, weight, axes, preferred_element_type=jnp.float32).astype(jnp.bfloat16)
        return product[:1] if single else product

    return jax.lax.platform_dependent(x, weight, cpu=rounded, default=functools.partial(jnp.tensordot, axes=axes))


def _forward(axes: int, x: jax.Array, weight: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    # As it is: what rules of recomputation keep are products that they see, on whatever backend.
    return jnp.tensordot(x, weight, axes), (x, weight)


def _backward(axes: int, saved: tuple[jax.Array, jax.Array], upstream: jax.Array) -> tuple[jax.Array, jax.Array]:
    x, weight = saved
    rows, free = tuple(range(x.ndim - axes)), weight.ndim - axes
    outputs = tuple(range(upstream.ndim - free, upstream.ndim))
    gradient_x = jax.lax.dot_general(upstream, weight, ((outputs, tuple(range(axes, weight.ndim))), ((), ())))
    over_rows = ((rows, rows), ((), ()))
    # A product over rows transposes its first operand: that is to be the narrower of the two. With g first the result
    # comes out transposed as well, but that is only of a weight's size. XLA would put this transposition into the
    # product, which YNNPACK then doesn't take: with both it is a quarter slower on CPUs (docs/LOG.md).
    if math.prod(weight.shape[axes:]) >= math.prod(weight.shape[:axes]):
        return gradient_x, jax.lax.dot_general(x, upstream, over_rows)
    gradient = jax.lax.dot_general(upstream, x, over_rows)
    gradient = jax.lax.platform_dependent(gradient, cpu=jax.lax.optimization_barrier, default=lambda whole: whole)
    return gradient_x, gradient.transpose(*range(free, weight.ndim), *range(free))


_linear.defvjp(_forward, _backward)
