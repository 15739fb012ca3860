"""What a model says of the tokens of rows: what losses and scoring passes begin with.

Shapes: B rows, R groups of rows, T time, U places of a group, D model width, V vocabulary.
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from reasoning.core.mesh import SHARD_AXES
from reasoning.kernels.backends import Choice, kernels_for
from reasoning.kernels.token_log_probs import TokenLogProbs, VocabularySharding, summed_losses, token_log_probs
from reasoning.kernels.token_loss import TokenLoss, is_by_token
from reasoning.models.model import LanguageModel
from reasoning.models.parameters import Params
from reasoning.training.batches import TokenBatch
from reasoning.training.shared_prompts import Read, ReplyGroups


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
    reading = reading_of(model, rows, groups)
    hidden, _ = reading.states(model, params)
    return TokenLogProbs(*map(reading.back, scores_of(model, params, hidden, reading.rows, temperature, kernels)))


@dataclass(frozen=True, eq=False)
class Reading:
    """Rows as models read them: whole, or prompts once for all of their replies."""

    rows: TokenBatch
    time: int
    shared: Read | None = None

    def states(self, model: LanguageModel, params: Params) -> tuple[jax.Array, dict[str, Any]]:
        """The states that predict the targets of ``rows``, and what the model measured of its experts."""
        if self.shared is None:
            return hidden_states_of(model, params, self.rows)
        rows, group = self.rows, self.shared.group
        hidden_RUD, measured = model.hidden_states(params, rows.tokens, rows.positions, rows.segments, group)
        return self.shared.predicting(hidden_RUD), measured

    def back(self, values: jax.Array) -> jax.Array:
        """Values of the targets of ``rows`` at the places [B, T] that predict them."""
        return values if self.shared is None else self.shared.back(values, self.time)

    def there(self, values_BT: jax.Array) -> jax.Array:
        """The reverse: values of places [B, T] at the targets of ``rows``, and 0 at those that are no token's."""
        if self.shared is None:
            return values_BT
        shape = jax.ShapeDtypeStruct(self.rows.targets.shape, values_BT.dtype)
        return jax.linear_transpose(self.back, shape)(values_BT)[0]


def reading_of(model: LanguageModel, rows: TokenBatch, groups: ReplyGroups | None) -> Reading:
    """How ``model`` reads rows, and any other ``shareable`` one on its mesh."""
    count, time = rows.tokens.shape
    layout = None if groups is None else groups.layout(model, count, time, rows.room)
    if layout is None or rows.replies is None:
        return Reading(rows, time)
    shared = layout.read(rows, rows.replies)
    return Reading(shared.rows, time, shared)


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
    """The weighted sum of the tokens' cross-entropies, and their scores, which pass no gradient."""
    options = _head_options(model, kernels)
    return summed_losses(hidden_BTD, model.unembedding(params), rows.targets, jnp.multiply, -rows.weights, **options)


def summed_losses_of(
    model: LanguageModel,
    params: Params,
    hidden: jax.Array,
    reading: Reading,
    loss: TokenLoss,
    tokens: Any,
    temperature: float,
    kernels: Choice,
) -> tuple[jax.Array, TokenLogProbs]:
    """The sum of ``loss(log_probs, tokens)``, and the scores [B, T], whose gradients aren't to be used.

    ``tokens`` are arrays [B, T] that weigh nothing where nothing is predicted. Where the loss treats each of them by
    itself, one pass of the head may give the sum and its gradients; else it takes two.
    """
    if not is_by_token(loss, tokens):
        own = scores_of(model, params, hidden, reading.rows, temperature, kernels)
        scores = TokenLogProbs(*map(reading.back, own))
        return jnp.sum(loss(scores.log_prob_BT, tokens)), scores
    given = hidden, model.unembedding(params), reading.rows.targets, loss, jax.tree.map(reading.there, tokens)
    total, own = summed_losses(*given, temperature=temperature, **_head_options(model, kernels))
    return total, TokenLogProbs(*map(reading.back, own))


def _head_options(model: LanguageModel, kernels: Choice) -> dict[str, Any]:
    """How the model's head is computed."""
    found = kernels_for(kernels, model.mesh)
    return {"soft_cap": model.soft_cap, "sharding": sharding_of(model), "kernels": found}


def sharding_of(model: LanguageModel) -> VocabularySharding | None:
    """How the model's unembedding lies on its mesh.

    Of axes with one device nothing is said: a collective over them is a copy, and a wait, on a CPU all the same.
    """
    if model.mesh is None:
        return None
    apart = {name for name, size in model.mesh.shape.items() if size > 1}
    columns = "tensor" if "tensor" in apart else None
    return VocabularySharding(
        model.mesh, vocabulary_axis=columns, embed_axis=tuple(name for name in SHARD_AXES if name in apart) or None
    )
