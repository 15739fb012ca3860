"""What a model says of the tokens of rows: what losses and scoring passes begin with.

Shapes: B rows, R groups of rows, T time, U places of a group, D model width, V vocabulary.
"""

from typing import Any

import jax

from reasoning.core.mesh import SHARD_AXES
from reasoning.kernels.backends import Choice, kernels_for
from reasoning.kernels.token_log_probs import TokenLogProbs, VocabularySharding, token_log_probs, weighted_log_probs
from reasoning.models.model import LanguageModel
from reasoning.models.parameters import Params
from reasoning.training.batches import TokenBatch
from reasoning.training.shared_prompts import ReplyGroups


def score(
    model: LanguageModel,
    params: Params,
    rows: TokenBatch,
    temperature: float = 1.0,
    kernels: Choice = "auto",
    groups: ReplyGroups | None = None,
) -> TokenLogProbs:
    """Log-probability, entropy and log-sum-exp of each row's targets, each [B, T]; logits are never made whole.

    With ``groups`` of rows that say where their replies are, those of replies' tokens, and 0 elsewhere.
    """
    return measured_scores(model, params, rows, temperature, kernels, groups)[0]


def measured_scores(
    model: LanguageModel,
    params: Params,
    rows: TokenBatch,
    temperature: float,
    kernels: Choice,
    groups: ReplyGroups | None,
) -> tuple[TokenLogProbs, dict[str, Any]]:
    """``score``, and what the model measured of its experts."""
    count, time = rows.tokens.shape
    layout = None if groups is None else groups.layout(model, count, time, rows.room)
    if layout is None or rows.replies is None:
        hidden_BTD, measured = hidden_states_of(model, params, rows)
        return scores_of(model, params, hidden_BTD, rows, temperature, kernels), measured
    read = layout.read(rows, rows.replies)
    own = read.rows
    hidden_RUD, measured = model.hidden_states(params, own.tokens, own.positions, own.segments, read.group)
    scores = scores_of(model, params, read.predicting(hidden_RUD), own, temperature, kernels)
    return TokenLogProbs(*(read.back(values, time) for values in scores)), measured


def hidden_states_of(model: LanguageModel, params: Params, rows: TokenBatch) -> tuple[jax.Array, dict[str, Any]]:
    """The model's hidden states [B, T, D] at every place of the rows, and what it measured beside them."""
    return model.hidden_states(params, rows.tokens, rows.positions, rows.segments)


def scores_of(
    model: LanguageModel,
    params: Params,
    hidden_BTD: jax.Array,
    rows: TokenBatch,
    temperature: float,
    kernels: Choice,
) -> TokenLogProbs:
    """``score`` from hidden states that are there already."""
    return token_log_probs(
        hidden_BTD,
        model.unembedding(params),
        rows.targets,
        temperature=temperature,
        **_head_options(model, kernels),
    )


def weighted_cross_entropy(
    model: LanguageModel, params: Params, hidden_BTD: jax.Array, rows: TokenBatch, kernels: Choice
) -> tuple[jax.Array, TokenLogProbs]:
    """The weighted sum of the tokens' cross-entropies, and their scores, which pass no gradient.

    A token's weight, of -log p, is known beforehand, so one pass of the head may give both and the gradients.
    """
    options = _head_options(model, kernels)
    return weighted_log_probs(hidden_BTD, model.unembedding(params), rows.targets, -rows.weights, **options)


def _head_options(model: LanguageModel, kernels: Choice) -> dict[str, Any]:
    """How the model's head is computed."""
    found = kernels_for(kernels, model.mesh)
    return {"soft_cap": model.soft_cap, "sharding": sharding_of(model), "kernels": found}


def sharding_of(model: LanguageModel) -> VocabularySharding | None:
    """How the model's unembedding lies on its mesh."""
    return None if model.mesh is None else VocabularySharding(model.mesh, embed_axis=SHARD_AXES)
