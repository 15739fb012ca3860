"""Rotary positions and the ways in which families stretch them.

Shapes: B batch, T time, H heads, C rotated channels.
"""

import math

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from reasoning.models.config import Rope


def frequencies(rope: Rope, channels: int) -> np.ndarray:
    """Radians a position that each pair of ``channels`` turns by (RoFormer, arXiv 2104.09864, eq. 15), float32 [C / 2].

    Stretched as ``Rope`` says: positions divided (arXiv 2306.15595), Llama 3.1's bands, or YaRN (arXiv 2309.00071,
    eq. 17 to 23).
    """
    plain = 1.0 / rope.base ** (np.arange(0, channels, 2, dtype=np.float64) / channels)
    if rope.scaling == "none":
        kept = np.ones_like(plain)
    elif rope.scaling == "linear":
        kept = np.zeros_like(plain)
    elif rope.scaling == "llama3":
        turns = rope.original_context * plain / (2 * math.pi)
        kept = np.clip((turns - rope.low_frequency) / (rope.high_frequency - rope.low_frequency), 0.0, 1.0)
    else:
        kept = _yarn_kept(rope, channels)
    return (kept * plain + (1.0 - kept) * plain / rope.factor).astype(np.float32)


def _yarn_kept(rope: Rope, channels: int) -> np.ndarray:
    """How much of each pair's own frequency YaRN keeps: all where it turns fast, nothing where it turns slowly."""

    def channel_of(turns: float) -> float:
        """The pair that turns so often within the original context."""
        return channels * math.log(rope.original_context / (turns * 2 * math.pi)) / (2 * math.log(rope.base))

    first, last = channel_of(rope.beta_fast), channel_of(rope.beta_slow)
    if rope.truncate:
        first, last = math.floor(first), math.ceil(last)
    first, last = max(first, 0), min(last, channels - 1)
    ramp = (np.arange(channels // 2, dtype=np.float64) - first) / max(last - first, 1e-3)
    return 1.0 - np.clip(ramp, 0.0, 1.0)


def cos_sin(positions_BT: Int[Array, "B T"], rope: Rope, channels: int) -> Float[Array, "2 B T half"]:
    """Cosines and sines of these positions' angles, float32, one a pair of channels."""
    angles = positions_BT[..., None].astype(jnp.float32) * frequencies(rope, channels)
    return jnp.stack([jnp.cos(angles), jnp.sin(angles)]) * rope.attention_factor


def rotate(heads_BTHC: Float[Array, "B T H C"], cos_sin_2BTh: Float[Array, "2 B T half"]) -> Float[Array, "B T H C"]:
    """Rotates channel i with channel i + C/2 (the half-split layout of Hugging Face checkpoints)."""
    cos, sin = cos_sin_2BTh[0][:, :, None, :], cos_sin_2BTh[1][:, :, None, :]
    first, second = jnp.split(heads_BTHC.astype(jnp.float32), 2, axis=-1)
    rotated = jnp.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)
    return jnp.asarray(rotated, heads_BTHC.dtype)
