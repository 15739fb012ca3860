"""Log-probabilities the plain way, in float64 numpy from whole logits: what the fused kernels are compared with.

Shapes: B rows, T time, V vocabulary.
"""

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


def picked_BT(log_probs: np.ndarray, rows: Any) -> np.ndarray:
    """The log-probability [B, T] of each place's target."""
    return np.take_along_axis(log_probs, np.asarray(rows.targets)[..., None], axis=-1)[..., 0]


def entropy_BT(log_probs: np.ndarray) -> np.ndarray:
    """The entropy [B, T] of the distribution at each place, in nats."""
    return -(np.exp(log_probs) * log_probs).sum(-1)
