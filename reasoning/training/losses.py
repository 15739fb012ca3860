"""Losses composed from a model and the objectives, in the form that ``make_step`` takes.

Shapes: B rows, T time, D model width, V vocabulary.
"""

from typing import Any

import jax
import jax.numpy as jnp

from reasoning.kernels.token_log_probs import TokenLogProbs, VocabularySharding, token_log_probs
from reasoning.models.model import Model
from reasoning.objectives.cross_entropy import cross_entropy
from reasoning.objectives.divergence import k3
from reasoning.objectives.policy import clipped_policy_gradient
from reasoning.training.batches import PolicyBatch, TokenBatch
from reasoning.training.state import Params
from reasoning.training.step import LossFunction, Sums


def score(model: Model, params: Params, rows: TokenBatch, temperature: float = 1.0) -> TokenLogProbs:
    """Log-probability, entropy and log-sum-exp of each row's targets, each [B, T]; logits are never made whole."""
    hidden_BTD, _ = model.hidden_states(params, rows.tokens, rows.positions, rows.segments)
    sharding = None if model.mesh is None else VocabularySharding(model.mesh)
    return token_log_probs(
        hidden_BTD, model.unembedding(params), rows.targets, temperature=temperature, sharding=sharding
    )


def total(values_BT: jax.Array, mask_BT: jax.Array) -> tuple[jax.Array, jax.Array]:
    """A per-token metric as (sum, count) over the tokens that count."""
    return jnp.sum(values_BT * mask_BT), jnp.sum(mask_BT)


def supervised(model: Model) -> LossFunction:
    """Cross-entropy of the next token, for pretraining and supervised fine-tuning alike."""

    def loss_fn(
        params: Params, extra: Any, frozen: Any, batch: TokenBatch, key: jax.Array
    ) -> tuple[jax.Array, Sums, Any]:
        scores = score(model, params, batch)
        loss_BT = cross_entropy(scores.log_prob_BT)
        sums = {
            "cross_entropy": total(loss_BT, batch.mask),
            "entropy": total(jax.lax.stop_gradient(scores.entropy_BT), batch.mask),
        }
        return jnp.sum(batch.weights * loss_BT), sums, {}

    return loss_fn


def policy(
    model: Model, *, clip_low: float, clip_high: float, kl_coefficient: float, temperature: float
) -> LossFunction:
    """GRPO's surrogate: clipped policy gradient plus ``kl_coefficient`` times the k3 estimate of KL to the reference.

    DeepSeekMath (arXiv 2402.03300), eq. 3 and 4; clip-higher: DAPO (arXiv 2503.14476), eq. 10.
    """

    def loss_fn(
        params: Params, extra: Any, frozen: Any, batch: PolicyBatch, key: jax.Array
    ) -> tuple[jax.Array, Sums, Any]:
        scores = score(model, params, batch.rows, temperature)
        surrogate = clipped_policy_gradient(
            scores.log_prob_BT, batch.old_log_probs, batch.advantages, clip_low=clip_low, clip_high=clip_high
        )
        loss_BT, mask_BT = surrogate.loss_BT, batch.rows.mask
        sums = {
            "entropy": total(jax.lax.stop_gradient(scores.entropy_BT), mask_BT),
            "clip_ratio/low_mean": total(surrogate.clipped_low_BT, mask_BT),
            "clip_ratio/high_mean": total(surrogate.clipped_high_BT, mask_BT),
        }
        if batch.reference_log_probs is not None:
            divergence_BT = k3(scores.log_prob_BT, batch.reference_log_probs)
            loss_BT = loss_BT + kl_coefficient * divergence_BT
            sums["kl"] = total(divergence_BT, mask_BT)
        return jnp.sum(batch.rows.weights * loss_BT), sums, {}

    return loss_fn
