"""What attention is asked for, by whichever kernel computes it.

Shapes: B batch, T queries, S keys, H query heads, K key/value heads, C channels.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp


@dataclass(frozen=True)
class Rule:
    """Causal attention of packed rows: a query reads itself and earlier keys of its own segment.

    ``scale`` multiplies the scores, ``soft_cap`` bounds them (None: not; Gemma 2, arXiv 2408.00118), and only the last
    ``window`` keys are read (0: all). What stands in the first ``shared`` places, and is of a segment above 0, is read
    by all segments behind them: texts that begin alike, and have at most ``alone`` places of their own.
    """

    scale: float
    soft_cap: float | None = None
    window: int = 0
    shared: int = 0
    alone: int = 0

    def allowed(self, query_places: jax.Array, key_places: jax.Array) -> jax.Array:
        """Which keys […, S] each query [T] may read by their places in the text, […, T, S]; segments aside."""
        distance_TS = query_places[..., :, None] - key_places[..., None, :]
        allowed_TS = distance_TS >= 0
        return allowed_TS & (distance_TS < self.window) if self.window else allowed_TS

    def together(self, query_segments: jax.Array, key_segments: jax.Array, places_S: jax.Array) -> jax.Array:
        """Which keys are of a query's segment, or of what all share, [B, T, S], by the keys' places in the row."""
        same_BTS = query_segments[:, :, None] == key_segments[:, None, :]
        return same_BTS | ((key_segments > 0) & (places_S < self.shared))[:, None] if self.shared else same_BTS


def segment_starts(segments_BS: jax.Array) -> jax.Array:
    """Where in its row the segment of each token begins, [B, S]; a segment's tokens stand together."""
    places_S = jnp.arange(segments_BS.shape[1])
    begins_BS = jnp.pad(segments_BS[:, 1:] != segments_BS[:, :-1], ((0, 0), (1, 0)), constant_values=True)
    return jax.lax.cummax(jnp.where(begins_BS, places_S, 0), axis=1)
