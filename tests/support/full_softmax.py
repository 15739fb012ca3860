"""Log-probabilities the plain way, in float64 numpy from whole logits: what the fused kernels are compared with.

Shapes: B rows, T time, V vocabulary.
"""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np


def log_probs_BTV(model: Any, params: Any, rows: Any, temperature: float = 1.0) -> np.ndarray:
    """The log-softmax [B, T, V] of the model's logits, divided by the temperature, at every place of ``rows``."""
    hidden_BTD, _ = jax.jit(model.hidden_states)(params, rows.tokens, rows.positions, rows.segments)
    head_DV = np.asarray(model.unembedding(params), np.float64)
    logits_BTV = np.asarray(hidden_BTD, np.float64) @ head_DV / temperature
    logits_BTV -= logits_BTV.max(-1, keepdims=True)
    return logits_BTV - np.log(np.exp(logits_BTV).sum(-1, keepdims=True))


def of_text(model: Any, params: Any, before: Sequence[int], after: Sequence[int]) -> float:
    """The log-probability of tokens behind others, by one pass over a whole row as training runs it.

    The row is as long as the model's context: texts of any length are one program, and nothing sees what comes later.
    """
    row_1T = np.zeros((1, model.context), np.int32)
    row_1T[0, : len(before) + len(after)] = [*before, *after]
    places_1T = np.arange(model.context, dtype=np.int32)[None]
    hidden_1TD, _ = jax.jit(model.hidden_states)(params, row_1T, places_1T, np.ones_like(row_1T))
    logits_TV = np.asarray(hidden_1TD[0], np.float64) @ np.asarray(model.unembedding(params), np.float64)
    log_probs_TV = logits_TV - np.logaddexp.reduce(logits_TV, axis=-1, keepdims=True)
    return sum(log_probs_TV[len(before) + at - 1, token] for at, token in enumerate(after))


def picked_BT(log_probs: np.ndarray, rows: Any) -> np.ndarray:
    """The log-probability [B, T] of each place's target."""
    return np.take_along_axis(log_probs, np.asarray(rows.targets)[..., None], axis=-1)[..., 0]


def entropy_BT(log_probs: np.ndarray) -> np.ndarray:
    """The entropy [B, T] of the distribution at each place, in nats."""
    return -(np.exp(log_probs) * log_probs).sum(-1)
