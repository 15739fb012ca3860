"""The loss of reward models and the pass that scores, composed from a model with a head.

Shapes: B rows, T time.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from reasoning.core.mesh import row_sharding
from reasoning.models.heads import Head, head_logits
from reasoning.models.model import Model
from reasoning.models.parameters import Params
from reasoning.objectives.binary_cross_entropy import binary_cross_entropy
from reasoning.training.batches import LabelledBatch, TokenBatch
from reasoning.training.losses import balanced, total
from reasoning.training.step import LossFunction, Sums

_REMEMBERED = 32
"""How many losses and passes are kept for the next stage that asks."""


@lru_cache(_REMEMBERED)
def labelled(model: Model, head: Head) -> LossFunction:
    """The binary cross-entropy of a headed model's logits at every place that has a label.

    ``accuracy`` is the share of places where model and label are on the same side of ½.
    """

    def loss_fn(params: Params, frozen: Any, batch: LabelledBatch) -> tuple[jax.Array, Sums, Any]:
        rows = batch.rows
        hidden_BTD, measured = model.hidden_states(params, rows.tokens, rows.positions, rows.segments)
        logits_BT = head_logits(head, params, hidden_BTD)
        loss_BT = binary_cross_entropy(logits_BT, batch.labels)
        agree_BT = (logits_BT > 0) == (batch.labels > 0.5)
        sums = {
            "cross_entropy": total(jax.lax.stop_gradient(loss_BT), rows.mask),
            "accuracy": total(agree_BT.astype(jnp.float32), rows.mask),
        }
        return balanced(jnp.sum(rows.weights * loss_BT), sums, measured, rows)

    return loss_fn


@lru_cache(_REMEMBERED)
def build_judging(model: Model, head: Head, mesh: Mesh) -> Callable[[Params, TokenBatch], jax.Array]:
    """The jitted pass that gives the probability [B, T] of "right" at each place of rows."""

    def probabilities(params: Params, rows: TokenBatch) -> jax.Array:
        hidden_BTD, _ = model.hidden_states(params, rows.tokens, rows.positions, rows.segments)
        return jax.nn.sigmoid(head_logits(head, params, hidden_BTD))

    return jax.jit(probabilities, out_shardings=row_sharding(mesh))
