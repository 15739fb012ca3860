"""What XLA's CPU compiler is asked for where a few slots decode: it is at its worst with products of a few rows.

By default it gives products to YNNPACK, which without AVX-512 takes up to twice as long as Eigen at 4 to 24 rows: it
reads the weights in columns a cache line wide, once for every few rows. From 32 rows on it is the faster one, and with
AVX-512 no sampler gained by Eigen (docs/LOG.md).

Shapes: B slots, W model width, V vocabulary.
"""

from pathlib import Path

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from reasoning.core import mesh as meshes
from reasoning.models.cache import Weights
from reasoning.models.model import LanguageModel, Model

_FEW = range(3, 25)

_BY_EIGEN = {"xla_cpu_experimental_ynn_fusion_type": ""}

_PROCESSOR = Path("/proc/cpuinfo")


def _has_avx512() -> bool:
    """Whether this machine's processor has AVX-512; False where nothing tells."""
    try:
        return " avx512f " in _PROCESSOR.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False


def compiler_options(mesh: Mesh, slots: int, dtype: jnp.dtype) -> dict[str, str] | None:
    """Of a program that decodes so many ``slots`` on each device, whose states are of ``dtype``; None: the default."""
    few = meshes.on_cpu(mesh) and slots in _FEW and dtype == jnp.float32
    return _BY_EIGEN if few and not _has_avx512() else None


def next_logits(model: LanguageModel, mesh: Mesh, weights: Weights, hidden_BW: jax.Array) -> jax.Array:
    """The float32 logits [B, V] of what follows states, before any soft cap."""
    head_WV = model.unembedding(weights)
    tied = isinstance(model, Model) and model.config.tied
    if not (tied and meshes.on_cpu(mesh) and hidden_BW.dtype == jnp.float32 and hidden_BW.shape[0] > 1):
        return jnp.dot(hidden_BW, head_WV, preferred_element_type=jnp.float32)
    # Of an embedding, [V, W], Eigen takes ten times as long for ``hidden x embedding^T`` as for ``embedding x
    # hidden^T``, YNNPACK up to 1.6 times; a single row is faster as it stands. A barrier keeps XLA from
    # making one of the other.
    logits_VB = jnp.dot(head_WV.T, hidden_BW.T, preferred_element_type=jnp.float32)
    return jax.lax.optimization_barrier(logits_VB).T
