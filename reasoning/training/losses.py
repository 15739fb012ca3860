"""Losses composed from a model and the objectives, in the form that ``make_step`` takes.

Equal arguments give one and the same function, by which ``build_step`` tells that two stages share their step.

Shapes: B rows, T time, D model width, V vocabulary.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp

from reasoning.core.hashes import check_hashes
from reasoning.kernels.backends import Choice, kernels_for
from reasoning.kernels.divergence import Divergence, check_divergence
from reasoning.kernels.token_divergence import token_divergence
from reasoning.models.model import LanguageModel
from reasoning.models.multi_token import shifted
from reasoning.models.parameters import Params
from reasoning.objectives.cross_entropy import cross_entropy
from reasoning.objectives.divergence import metric_name, with_hard_targets
from reasoning.objectives.kl import KLEstimate
from reasoning.objectives.policy import Surrogate
from reasoning.training.batches import Corrected, PolicyBatch, PolicyTokens, TokenBatch
from reasoning.training.shared_prompts import ReplyGroups
from reasoning.training.step import LossFunction, Spread, Sums
from reasoning.training.surrogate import RATIO, SAMPLER_APART, Weighed, check_surrogate, weighed_loss
from reasoning.training.token_scores import (
    Reading,
    hidden_states_of,
    reading_of,
    scores_of,
    sharding_of,
    summed_losses_of,
    weighted_cross_entropy,
)

_LOSSES = 32
"""How many losses of a kind are kept for the next stage that asks."""


def balanced(
    loss: jax.Array, sums: Sums, measured: dict[str, Any], rows: TokenBatch, name: str = "experts"
) -> tuple[jax.Array, Sums, dict[str, Any]]:
    """A loss with what its model measured of its experts: their balance loss is added, their load becomes an update.

    A row's balance loss weighs what its tokens weigh, so microbatches add up as those do.
    """
    if not measured:
        return loss, sums, {}
    balance_B = measured["balance"]
    loads = [load_LE for stack in measured["load"].values() for load_LE in stack.values()]
    uneven_L = jnp.concatenate([load.max(-1) / jnp.maximum(load.mean(-1), 1.0) for load in loads])
    sums = sums | {
        f"{name}/balance_loss": (jnp.sum(balance_B), jnp.asarray(float(balance_B.size))),
        f"{name}/max_load": (jax.lax.stop_gradient(jnp.sum(uneven_L)), jnp.asarray(float(uneven_L.size))),
    }
    return loss + jnp.sum(jnp.sum(rows.weights, axis=1) * balance_B), sums, {"load": measured["load"]}


def total(values_BT: jax.Array, mask_BT: jax.Array) -> tuple[jax.Array, jax.Array]:
    """A per-token metric as (sum, count) over the tokens that count."""
    return jnp.sum(values_BT * mask_BT), jnp.sum(mask_BT)


@lru_cache(_LOSSES)
def supervised(model: LanguageModel, *, kernels: Choice = "auto") -> LossFunction:
    """Cross-entropy of the next token, for pretraining and supervised fine-tuning alike."""

    def loss_fn(params: Params, frozen: Any, batch: TokenBatch) -> tuple[jax.Array, Sums, Any]:
        hidden_BTD, measured = hidden_states_of(model, params, batch)
        loss, scores = weighted_cross_entropy(model, params, hidden_BTD, batch, kernels)
        sums = {
            "cross_entropy": total(cross_entropy(scores.log_prob_BT), batch.mask),
            "entropy": total(scores.entropy_BT, batch.mask),
        }
        loss, sums, updates = balanced(loss, sums, measured, batch)
        further, further_sums, further_updates = _multi_token_loss(model, params, hidden_BTD, batch, kernels)
        return loss + further, sums | further_sums, _merged_updates(updates, further_updates)

    return loss_fn


def _multi_token_loss(
    model: LanguageModel, params: Params, hidden_BTD: jax.Array, batch: TokenBatch, kernels: Choice
) -> tuple[jax.Array | float, Sums, dict[str, Any]]:
    """The loss of multi-token prediction, its metrics and its updates; nothing for models without such blocks.

    DeepSeek-V3 (arXiv 2412.19437, eq. 24 and 25): the mean over depths of the cross-entropy of the token one place
    further at each, times the config's coefficient. A prediction weighs what the token that it predicts weighs.
    """
    depths = model.multi_token
    if not depths:
        return 0.0, {}, {}
    rows = (batch.tokens, batch.positions, batch.segments)
    states, measured = model.multi_token_states(params, hidden_BTD, *rows)
    total_loss, sums = jnp.zeros(()), {}
    for depth, states_BTD in enumerate(states, start=1):
        later: dict[str, Any] = {
            name: shifted(getattr(batch, name), batch.segments, depth) for name in ("mask", "weights")
        }
        targets_BT = shifted(batch.targets, batch.segments, depth, fill=-1)
        ahead = replace(batch, targets=targets_BT, **later)
        loss, scores = weighted_cross_entropy(model, params, states_BTD, ahead, kernels)
        total_loss = total_loss + loss
        sums[f"cross_entropy/further_{depth}"] = total(cross_entropy(scores.log_prob_BT), ahead.mask)
    loss, sums, updates = balanced(
        model.multi_token_coefficient / depths * total_loss, sums, measured, batch, "further_experts"
    )
    return loss, sums, updates


def _merged_updates(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """The updates of two parts of a loss, whose loads are of different blocks."""
    if not one or not other:
        return one or other
    return {"load": one["load"] | other["load"]}


def policy(
    model: LanguageModel,
    *,
    loss: Surrogate,
    kl: KLEstimate,
    kl_coefficient: float,
    temperature: float,
    kernels: Choice = "auto",
    groups: ReplyGroups | None = None,
) -> LossFunction:
    """A policy-gradient loss plus ``kl_coefficient`` times an estimate of KL to the reference, where there is one.

    GRPO is ``Clipped()`` and ``k3``: DeepSeekMath (arXiv 2402.03300), eq. 3 and 4. Metrics are means over the tokens
    that count, that of KL over those that weigh in it. ``sampling/sampling_logp_difference/mean`` is how far the
    sampler's log-probabilities are from the trainer's before the first update: more than rounding means that the
    sampler runs another model than the one that learns. A batch's correction multiplies the loss and not the KL, as in
    TRL. With ``groups`` a prompt is read once for all of its replies. Raises InputError for a loss that has no hash or
    other parameters, and, when it is traced, for one that gives something else than a ``PolicyLoss``.
    """
    check_hashes(loss=loss, kl=kl)
    check_surrogate(loss)
    return _policy(model, loss, kl, kl_coefficient, temperature, kernels, groups)


def _sampler_sums(new_BT: jax.Array, batch: PolicyBatch) -> Sums:
    """How far sampler and trainer are apart before the first update, over all that was drawn; what a correction did."""
    before_BT = jax.lax.stop_gradient(new_BT) if batch.old_log_probs is None else batch.old_log_probs
    corrected, mask_BT = batch.corrected, batch.rows.mask
    drawn_BT = mask_BT if corrected is None else corrected.drawn
    apart_BT = before_BT - batch.sampler_log_probs
    sums: Sums = {
        SAMPLER_APART: total(jnp.abs(apart_BT), drawn_BT),
        RATIO: Spread(jnp.exp(jnp.where(drawn_BT > 0, apart_BT, 0.0)), drawn_BT),
    }
    return sums if corrected is None else sums | _correction_sums(corrected, mask_BT)


def _correction_sums(corrected: Corrected, mask_BT: jax.Array) -> Sums:
    return {
        "sampling/importance_sampling_weight/mean": total(corrected.weights, corrected.drawn),
        "sampling/rejected_ratio": total(1 - mask_BT, corrected.drawn),
    }


@lru_cache(_LOSSES)
def _policy(
    model: LanguageModel,
    loss: Surrogate,
    kl: KLEstimate,
    kl_coefficient: float,
    temperature: float,
    kernels: Choice,
    groups: ReplyGroups | None,
) -> LossFunction:
    def weighed(new_BT: jax.Array, tokens: PolicyTokens) -> Weighed:
        return weighed_loss(loss, kl, kl_coefficient, new_BT, tokens)

    def loss_of(new_BT: jax.Array, tokens: PolicyTokens) -> jax.Array:
        return weighed(new_BT, tokens).loss_BT

    def loss_fn(params: Params, frozen: Any, batch: PolicyBatch) -> tuple[jax.Array, Sums, Any]:
        tokens, reading = batch.of_tokens, reading_of(model, batch.rows, groups)
        hidden, measured = reading.states(model, params)
        total_loss, scores = summed_losses_of(model, params, hidden, reading, loss_of, tokens, temperature, kernels)
        new_BT, mask_BT = jax.lax.stop_gradient(scores.log_prob_BT), tokens.mask
        _, metrics, kl_BT = weighed(new_BT, tokens)
        measured_BT = {"entropy": jax.lax.stop_gradient(scores.entropy_BT), **metrics}
        sums = _sampler_sums(new_BT, batch)
        sums |= {name: total(values_BT, mask_BT) for name, values_BT in measured_BT.items()}
        if kl_BT is not None:
            counted_BT = mask_BT if tokens.kl_weights is None else (tokens.kl_weights > 0).astype(jnp.float32)
            sums["kl"] = total(kl_BT, counted_BT)
        return balanced(total_loss, sums, measured, batch.rows)

    return loss_fn


def distill(
    teacher: LanguageModel,
    student: LanguageModel,
    *,
    divergence: Divergence,
    temperature: float = 1.0,
    cross_entropy_coefficient: float = 0.0,
    vocabulary: int | None = None,
    kernels: Choice = "auto",
) -> LossFunction:
    """The divergence of ``student`` from ``teacher`` at every token of data that counts, times ``temperature`` squared.

    Logit distillation (Hinton et al., arXiv 1503.02531). ``frozen`` are the teacher's parameters. Above 0,
    ``cross_entropy_coefficient`` adds the cross-entropy of the rows' own tokens over all of the student's vocabulary.
    Both distributions are over the first ``vocabulary`` tokens; None: over all, of which both have as many. Raises
    InputError for a divergence that is no function or has no hash, and, when it is traced, for models of other sizes.
    """
    check_divergence(divergence)
    return _distill(
        teacher, student, divergence, temperature, temperature, cross_entropy_coefficient, vocabulary, kernels, None
    )


@lru_cache(_LOSSES)
def _distill(
    teacher: LanguageModel,
    student: LanguageModel,
    divergence: Divergence,
    temperature: float,
    balanced_at: float,
    cross_entropy_coefficient: float,
    vocabulary: int | None,
    kernels: Choice,
    groups: ReplyGroups | None,
) -> LossFunction:
    """The divergence at ``temperature``, times ``balanced_at`` squared, and a share of cross-entropy."""
    divergence_of = _divergence_of(teacher, student, divergence, temperature, vocabulary, kernels)

    def loss_fn(params: Params, frozen: Params, batch: TokenBatch) -> tuple[jax.Array, Sums, Any]:
        reading = reading_of(student, batch, groups)
        hidden, measured = reading.states(student, params)
        divergence_BT = divergence_of(params, frozen, hidden, reading)
        cross_entropy_BT = jnp.zeros_like(divergence_BT)
        sums = {metric_name(divergence): total(jax.lax.stop_gradient(divergence_BT), batch.mask)}
        if cross_entropy_coefficient > 0:
            scores = scores_of(student, params, hidden, reading.rows, 1.0, kernels)
            cross_entropy_BT = reading.back(cross_entropy(scores.log_prob_BT))
            sums["cross_entropy"] = total(jax.lax.stop_gradient(cross_entropy_BT), batch.mask)
        loss_BT = with_hard_targets(
            divergence_BT, cross_entropy_BT, temperature=balanced_at, coefficient=cross_entropy_coefficient
        )
        return balanced(jnp.sum(batch.weights * loss_BT), sums, measured, batch)

    return loss_fn


def distill_on_policy(
    teacher: LanguageModel,
    student: LanguageModel,
    *,
    divergence: Divergence,
    temperature: float,
    vocabulary: int | None = None,
    kernels: Choice = "auto",
    groups: ReplyGroups | None = None,
) -> LossFunction:
    """The divergence of ``student`` from ``teacher`` at every token of the student's own completions.

    On-policy distillation (GKD, arXiv 2306.13649, section 3), whose sampling passes no gradient. Both distributions
    are at the sampler's ``temperature``, since that is the policy whose texts these are, and unlike in ``distill`` the
    loss isn't multiplied by its square, which there keeps the balance with hard targets. With ``groups``, of models
    that are both ``shareable``, each reads a prompt once for all of its replies. All else is as there.
    """
    check_divergence(divergence)
    return _distill(teacher, student, divergence, temperature, 1.0, 0.0, vocabulary, kernels, groups)


def _divergence_of(
    teacher: LanguageModel,
    student: LanguageModel,
    divergence: Divergence,
    temperature: float,
    vocabulary: int | None,
    kernels: Choice,
) -> Callable[[Params, Params, jax.Array, Reading], jax.Array]:
    """A function of both models' parameters, the student's states and how rows are read, to the divergence [B, T]."""

    def divergence_of(params: Params, frozen: Params, hidden: jax.Array, reading: Reading) -> jax.Array:
        values = token_divergence(
            hidden,
            student.unembedding(params),
            reading.states(teacher, frozen)[0],
            teacher.unembedding(frozen),
            divergence=divergence,
            soft_caps=(student.soft_cap, teacher.soft_cap),
            temperature=temperature,
            vocabulary=vocabulary,
            sharding=sharding_of(student),
            kernels=kernels_for(kernels, student.mesh),
        )
        return reading.back(values)

    return divergence_of
