"""What XLA's CPU compiler is asked for where slots decode: it is at its worst with products of a few rows.

By default it gives products to YNNPACK, which without AVX-512 takes up to twice as long as Eigen at 4 to 24 rows: it
reads the weights in columns a cache line wide, once for every few rows. From 32 rows on it is the faster one, and with
AVX-512 no sampler gained by Eigen (docs/LOG.md).

Shapes: B slots, W model width, V vocabulary.
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from reasoning.core import mesh as meshes
from reasoning.core import processor
from reasoning.models.cache import Weights
from reasoning.models.model import LanguageModel, Model

_FEW = range(3, 25)

_BY_EIGEN = {"xla_cpu_experimental_ynn_fusion_type": ""}


def compiler_options(mesh: Mesh, slots: int, dtype: jnp.dtype) -> dict[str, str] | None:
    """Of a program that decodes so many ``slots`` on each device, whose states are of ``dtype``; None: the default."""
    few = meshes.on_cpu(mesh) and slots in _FEW and dtype == jnp.float32
    return _BY_EIGEN if few and not processor.has("avx512f") else None


def head_product(model: LanguageModel, mesh: Mesh, weights: Weights) -> Callable[[jax.Array], jax.Array]:
    """``hidden [B, W] -> logits [B, V]`` in float32, before any soft cap; to be made before the loop that calls it."""
    head_WV = model.unembedding(weights)
    plain = partial(jnp.dot, preferred_element_type=jnp.float32)
    narrow = head_WV.dtype == jnp.bfloat16
    tied = isinstance(model, Model) and model.config.tied and meshes.on_cpu(mesh)
    if not tied or (narrow and not processor.has("avx512_bf16")):
        return lambda hidden_BW: plain(hidden_BW, head_WV)
    # The embedding of a tied head is [V, W]: barriers keep XLA from making one way to multiply by it of another.
    barrier = jax.lax.optimization_barrier
    # Transposed, YNNPACK has no product in bfloat16 for it. A copy costs less than a token's product in float32 does.
    turned_WV = barrier(head_WV) if narrow else head_WV

    def logits(hidden_BW: jax.Array) -> jax.Array:
        several = hidden_BW.shape[0] > 1
        if narrow and several:
            return plain(hidden_BW, turned_WV)
        if narrow:
            # A single row is read along the embedding's rows, which XLA would make float32 of before the loop.
            hidden_BW, here_VW = barrier((hidden_BW, head_WV.T))
            return plain(hidden_BW, here_VW.T)
        # Eigen takes ten times as long for ``hidden x embedding^T`` as for ``embedding x hidden^T``, YNNPACK up to 1.6
        # times; a single row is faster as it stands.
        return barrier(plain(head_WV.T, hidden_BW.T)).T if several else plain(hidden_BW, head_WV)

    return logits
