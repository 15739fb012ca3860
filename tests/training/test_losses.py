"""The composed losses against the papers' formulas in float64 numpy, over a real model's whole logits.

Shapes: B rows, T time, V vocabulary.
"""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import full_softmax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import three_steps
from batched import token_batch
from divergences import definition, total_variation
from drawn import drawn
from policy_batches import GROUP, MODEL, NEW, off_policy, on_device, parameters, rollouts, weights_by_formula
from scipy.special import log_softmax

from reasoning.core.errors import InputError
from reasoning.kernels.token_log_probs import TokenLogProbs
from reasoning.models.config import Stack
from reasoning.models.model import build_model
from reasoning.objectives.aggregation import constant_length, sequence_mean, token_mean
from reasoning.objectives.divergence import JSD, forward, reverse
from reasoning.objectives.kl import k1, k2, k3
from reasoning.objectives.policy import GSPO, Clipped, PolicyLoss
from reasoning.training.batches import PolicyBatch
from reasoning.training.losses import distill, distill_on_policy, policy, supervised
from reasoning.training.step import Spread
from reasoning.training.token_scores import score

CLIP_LOW, CLIP_HIGH, BETA = 0.15, 0.3, 0.04
CLIPPED = Clipped(CLIP_LOW, CLIP_HIGH)


@pytest.fixture(scope="module")
def params() -> Any:
    return parameters()


TEACHER = build_model(replace(three_steps.TEACHER, stacks=(Stack(1),)))
AGGREGATIONS = [token_mean, sequence_mean, constant_length]


@pytest.mark.parametrize("aggregate", AGGREGATIONS)
def test_the_supervised_loss_is_the_weighted_cross_entropy_of_whole_logits(params: Any, aggregate: Any):
    batch = token_batch(on_device(three_steps.token_rows()), aggregate, NEW)
    loss, sums, _ = jax.jit(supervised(MODEL))(params, {}, batch)
    log_probs = full_softmax.log_probs_BTV(MODEL, params, batch)
    picked, entropy, mask = full_softmax.picked_BT(log_probs, batch), full_softmax.entropy_BT(log_probs), batch.mask
    expected = -(weights_by_formula(aggregate.__name__, np.asarray(mask), np.asarray(batch.segments)) * picked).sum()
    np.testing.assert_allclose(loss, expected, rtol=2e-6)
    check_sums(sums, {"cross_entropy": -picked, "entropy": entropy}, np.asarray(mask))


def check_sums(sums: dict[str, Any], expected: dict[str, np.ndarray], mask: np.ndarray) -> None:
    """Sums and counts over the tokens that count."""
    assert sums.keys() == expected.keys()
    for name, values in expected.items():
        if isinstance(sums[name], Spread):
            np.testing.assert_array_equal(sums[name].counted, mask)
            np.testing.assert_allclose(sums[name].values * mask, values * mask, rtol=1e-5, err_msg=name)
            continue
        total, count = sums[name]
        np.testing.assert_allclose(total, (values * mask).sum(), rtol=1e-5, atol=1e-5, err_msg=name)
        assert count == mask.sum()


def test_the_supervised_loss_is_that_of_the_next_token_and_a_share_of_those_further_on():
    """Multi-token prediction, arXiv 2412.19437, eq. 24 and 25."""
    config = replace(three_steps.CONFIG, stacks=(Stack(1),), multi_token=2, multi_token_coefficient=0.3)
    model, rows = build_model(config), token_batch(on_device(three_steps.token_rows()), token_mean, 48)
    params: Any = drawn(model.shapes, 0, 0.2)
    loss, sums, _ = jax.jit(supervised(model))(params, {}, rows)
    plain = build_model(replace(config, multi_token=0))
    own = {name: leaf for name, leaf in params.items() if name in plain.shapes}
    alone, _, _ = jax.jit(supervised(plain))(own, {}, rows)
    given = rows.tokens, rows.positions, rows.segments
    hidden, _ = jax.jit(model.hidden_states)(params, *given)
    states, _ = jax.jit(model.multi_token_states)(params, hidden, *given)
    tokens, segments, expected = np.asarray(rows.tokens), np.asarray(rows.segments), 0.0
    weight = np.asarray(rows.weights).max()  # token mean: one over the number of predictions
    for depth, of_depth in enumerate(states, start=1):
        log_probs = log_softmax(np.float64(of_depth) @ np.float64(model.unembedding(params)), axis=-1)
        terms = [
            -log_probs[row, place, tokens[row, place + depth + 1]]
            for row, place in np.ndindex(16, 48 - depth - 1)
            if segments[row, place] > 0 and len(set(segments[row, place : place + depth + 2])) == 1
        ]
        total, count = sums[f"cross_entropy/further_{depth}"]
        assert count == len(terms)
        np.testing.assert_allclose(total, sum(terms), rtol=1e-4)
        expected += 0.3 / 2 * weight * sum(terms)
    np.testing.assert_allclose(loss - alone, expected, rtol=1e-4)


@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize("aggregate", AGGREGATIONS)
def test_the_policy_loss_is_the_clipped_surrogate_with_kl_of_the_papers(
    params: Any, aggregate: Any, temperature: float
):
    batch, log_probs = off_policy(params, aggregate, temperature)
    loss_fn = policy(MODEL, loss=CLIPPED, kl=k3, kl_coefficient=BETA, temperature=temperature)
    loss, sums, _ = jax.jit(loss_fn)(params, {}, batch)

    mask = np.asarray(batch.rows.mask)
    new = full_softmax.picked_BT(log_probs, batch.rows)
    old, reference, advantages = (
        np.asarray(leaf, np.float64) for leaf in (batch.old_log_probs, batch.reference_log_probs, batch.advantages)
    )
    ratio = np.exp(new - old)
    clipped = np.clip(ratio, 1 - CLIP_LOW, 1 + CLIP_HIGH)
    objective = np.minimum(ratio * advantages, clipped * advantages)  # PPO, eq. 7; GRPO, eq. 3; DAPO, eq. 10
    divergence = np.exp(reference - new) - (reference - new) - 1  # GRPO, eq. 4
    expected = -(
        weights_by_formula(aggregate.__name__, mask, np.asarray(batch.rows.segments)) * (objective - BETA * divergence)
    ).sum()
    np.testing.assert_allclose(loss, expected, rtol=1e-5)

    low, high = (ratio < 1 - CLIP_LOW) & (advantages < 0), (ratio > 1 + CLIP_HIGH) & (advantages > 0)
    assert (low * mask).sum() > 5 and (high * mask).sum() > 5
    entropy = full_softmax.entropy_BT(log_probs)
    named = {"entropy": entropy, "kl": divergence, "clip_ratio/low_mean": low, "clip_ratio/high_mean": high}
    apart = old - np.asarray(batch.sampler_log_probs, np.float64)
    named["sampling/sampling_logp_difference/mean"] = np.abs(apart)
    named["sampling/importance_sampling_ratio"] = np.exp(np.where(mask > 0, apart, 0))
    check_sums(sums, named, mask)


def test_kl_has_weights_of_its_own_where_its_groups_are_others(params: Any):
    batch, log_probs = off_policy(params, sequence_mean, 1.0)
    loss_fn = jax.jit(policy(MODEL, loss=CLIPPED, kl=k3, kl_coefficient=BETA, temperature=1.0))
    same = loss_fn(params, {}, replace(batch, kl_weights=batch.rows.weights))
    whole = loss_fn(params, {}, batch)
    np.testing.assert_allclose(same[0], whole[0], rtol=1e-5)
    jax.tree.map(lambda one, other: np.testing.assert_allclose(one, other, rtol=1e-5), same[1], whole[1])

    half = jnp.arange(len(batch.rows.mask))[:, None] < 8
    segments = batch.rows.segments
    rows = replace(
        batch.rows, mask=batch.rows.mask * half, weights=sequence_mean(batch.rows.mask * half, NEW, segments)
    )
    split = replace(batch, rows=rows, kl_weights=sequence_mean(batch.rows.mask, NEW, segments))
    loss, sums, _ = loss_fn(params, {}, split)
    without = loss_fn(params, {}, replace(split, reference_log_probs=None))[0]
    apart = np.asarray(batch.reference_log_probs, np.float64) - full_softmax.picked_BT(log_probs, batch.rows)
    divergence, mask = np.exp(apart) - apart - 1, np.asarray(batch.rows.mask)
    expected = BETA * (weights_by_formula("sequence_mean", mask, np.asarray(batch.rows.segments)) * divergence).sum()
    np.testing.assert_allclose(loss - without, expected, rtol=1e-4)
    np.testing.assert_allclose(sums["kl"][0] / sums["kl"][1], (divergence * mask).sum() / mask.sum(), rtol=1e-4)
    parts = [loss_fn(params, {}, jax.tree.map(lambda leaf, start=start: leaf[start::2], split))[0] for start in (0, 1)]
    np.testing.assert_allclose(sum(parts), loss, rtol=1e-5)


def test_no_reference_means_no_kl_term(params: Any):
    batch, log_probs = off_policy(params, token_mean, 1.0)
    batch = replace(batch, reference_log_probs=None)
    loss_fn = policy(MODEL, loss=CLIPPED, kl=k3, kl_coefficient=BETA, temperature=1.0)
    loss, sums, _ = jax.jit(loss_fn)(params, {}, batch)
    ratio = np.exp(full_softmax.picked_BT(log_probs, batch.rows) - np.asarray(batch.old_log_probs, np.float64))
    advantages = np.asarray(batch.advantages, np.float64)
    objective = np.minimum(ratio * advantages, np.clip(ratio, 1 - CLIP_LOW, 1 + CLIP_HIGH) * advantages)
    weights = weights_by_formula("token_mean", np.asarray(batch.rows.mask), np.asarray(batch.rows.segments))
    np.testing.assert_allclose(loss, -(weights * objective).sum(), rtol=1e-5)
    assert "kl" not in sums


def scores_of(params: Any, batch: PolicyBatch, temperature: float) -> TokenLogProbs:
    return jax.jit(lambda params, rows: score(MODEL, params, rows, temperature))(params, batch.rows)


def reinforce_gradient(params: Any, batch: PolicyBatch, rewards: np.ndarray, temperature: float) -> Any:
    """Minus the policy gradient of Williams 1992 with the group's mean as baseline, over rows x longest completion.

    Written over plain logits and JAX's own log-softmax, one row at a time.
    """
    baseline = rewards.reshape(-1, GROUP).mean(axis=1).repeat(GROUP)

    def log_likelihoods(params: Any) -> jax.Array:
        rows = batch.rows
        hidden, _ = MODEL.hidden_states(params, rows.tokens, rows.positions, rows.segments)
        log_probs = jax.nn.log_softmax(hidden @ MODEL.unembedding(params) / temperature, axis=-1)
        picked = jnp.take_along_axis(log_probs, rows.targets[..., None], axis=-1)[..., 0]
        return jnp.sum(picked * rows.mask, axis=1)

    def objective(params: Any) -> jax.Array:
        return jnp.sum((rewards - baseline) * log_likelihoods(params)) / (len(rewards) * NEW)

    return jax.tree.map(jnp.negative, jax.jit(jax.grad(objective))(params))


@pytest.mark.slow
def test_on_policy_its_gradient_is_reinforce_with_the_group_as_baseline(params: Any):
    batch, temperature = rollouts(constant_length), 0.7
    _, rewards = three_steps.rollout_rows()
    expected = reinforce_gradient(params, batch, rewards, temperature)
    loss_fn = policy(MODEL, loss=Clipped(), kl=k3, kl_coefficient=0.0, temperature=temperature)
    on_policy = jax.jit(jax.grad(lambda params, batch: loss_fn(params, {}, batch)[0]))
    ours = on_policy(params, batch)
    norm = np.sqrt(sum(float(jnp.sum(leaf**2)) for leaf in jax.tree.leaves(expected)))
    assert norm > 0.01
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5 * norm), ours, expected)
    scored = replace(batch, old_log_probs=scores_of(params, batch, temperature).log_prob_BT)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5 * norm), on_policy(params, scored), expected)


def test_the_scoring_pass_gives_log_probabilities_at_the_temperature_that_sampled(params: Any):
    batch = rollouts(token_mean)
    scores = scores_of(params, batch, 0.5)
    log_probs = full_softmax.log_probs_BTV(MODEL, params, batch.rows, 0.5)
    mask = np.asarray(batch.rows.mask)
    np.testing.assert_allclose(
        scores.log_prob_BT * mask, full_softmax.picked_BT(log_probs, batch.rows) * mask, atol=2e-5
    )
    np.testing.assert_allclose(scores.entropy_BT * mask, full_softmax.entropy_BT(log_probs) * mask, atol=2e-5)


def test_tokens_outside_the_mask_change_nothing(params: Any):
    batch, _ = off_policy(params, token_mean, 1.0)
    loss_fn = policy(MODEL, loss=CLIPPED, kl=k3, kl_coefficient=BETA, temperature=1.0)
    outside = 1 - batch.rows.mask
    spoilt = replace(
        batch,
        advantages=batch.advantages + 7 * outside,
        old_log_probs=batch.old_log_probs - 3 * outside,
        reference_log_probs=batch.reference_log_probs + 2 * outside,
    )
    (loss, sums, _), (other, other_sums, _) = (jax.jit(loss_fn)(params, {}, one) for one in (batch, spoilt))
    np.testing.assert_allclose(loss, other, rtol=1e-6)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), sums, other_sums)


def test_ratios_that_overflow_outside_the_mask_change_no_loss_and_no_gradient(params: Any):
    batch, _ = off_policy(params, token_mean, 1.0)
    loss_fn = policy(MODEL, loss=CLIPPED, kl=k3, kl_coefficient=BETA, temperature=1.0)
    value = jax.jit(jax.value_and_grad(lambda params, batch: loss_fn(params, {}, batch)[0]))
    loss, gradients = value(params, batch)
    assert np.isfinite(loss)
    for name in ("old_log_probs", "reference_log_probs"):
        for distance in (200.0, -200.0, np.inf, np.nan):
            far = jnp.where(batch.rows.mask > 0, getattr(batch, name), distance)
            other, others = value(params, replace(batch, **{name: far}))
            assert loss == other
            jax.tree.map(np.testing.assert_array_equal, gradients, others)


@pytest.mark.parametrize("aggregate", AGGREGATIONS)
@pytest.mark.parametrize(
    ("divergence", "name"), [(forward, "kl"), (reverse, "kl"), (JSD(0.3), "jsd"), (total_variation, "total_variation")]
)
def test_the_distillation_loss_is_the_weighted_divergence_of_whole_distributions_and_a_share_of_cross_entropy(
    params: Any, divergence: Any, name: str, aggregate: Any
):
    batch = token_batch(on_device(three_steps.token_rows()), aggregate, NEW)
    frozen = drawn(TEACHER.shapes, 3, 0.2)
    temperature, coefficient = 1.6, 0.25
    loss_fn = distill(
        TEACHER, MODEL, divergence=divergence, temperature=temperature, cross_entropy_coefficient=coefficient
    )
    loss, sums, _ = jax.jit(loss_fn)(params, frozen, batch)

    log_q = full_softmax.log_probs_BTV(MODEL, params, batch, temperature)
    log_p = full_softmax.log_probs_BTV(TEACHER, frozen, batch, temperature)
    divergence_BT = definition(divergence, log_p, log_q)
    surprise = -full_softmax.picked_BT(full_softmax.log_probs_BTV(MODEL, params, batch), batch)
    mask = np.asarray(batch.mask)
    weights = weights_by_formula(aggregate.__name__, mask, np.asarray(batch.segments))
    expected = (weights * (temperature**2 * divergence_BT + coefficient * surprise)).sum()  # Hinton et al., section 2
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    check_sums(sums, {name: divergence_BT, "cross_entropy": surprise}, mask)


WIDE_TEACHER = build_model(replace(three_steps.TEACHER, stacks=(Stack(1),), vocabulary=56))


@pytest.mark.parametrize("on_policy", [False, True], ids=["data", "on policy"])
def test_models_of_other_vocabularies_are_compared_over_the_tokens_that_they_share(params: Any, on_policy: bool):
    batch = token_batch(on_device(three_steps.token_rows()), token_mean, NEW)
    frozen = drawn(WIDE_TEACHER.shapes, 3, 0.2)
    temperature, shared = 0.5, 41
    build = distill_on_policy if on_policy else partial(distill, cross_entropy_coefficient=0.25)
    loss_fn = build(WIDE_TEACHER, MODEL, divergence=reverse, temperature=temperature, vocabulary=shared)
    value_and_grad = jax.value_and_grad(lambda params: loss_fn(params, frozen, batch)[:2], has_aux=True)
    (loss, sums), gradient = jax.jit(value_and_grad)(params)
    log_q, log_p = (
        log_softmax(full_softmax.log_probs_BTV(model, weights, batch, temperature)[..., :shared], axis=-1)
        for model, weights in ((MODEL, params), (WIDE_TEACHER, frozen))
    )
    divergence_BT = definition(reverse, log_p, log_q)
    surprise = -full_softmax.picked_BT(full_softmax.log_probs_BTV(MODEL, params, batch), batch)
    weights = weights_by_formula("token_mean", np.asarray(batch.mask), np.asarray(batch.segments))
    check_sums(sums, {"kl": divergence_BT} | ({} if on_policy else {"cross_entropy": surprise}), np.asarray(batch.mask))
    # Hinton et al., section 2, have the square for the hard targets' sake; GKD, section 3, has none.
    loss_BT = divergence_BT if on_policy else temperature**2 * divergence_BT + 0.25 * surprise
    np.testing.assert_allclose(loss, (weights * loss_BT).sum(), rtol=1e-5)
    further = np.abs(gradient["head"][:, shared:])
    assert further.max() == 0 if on_policy else further.min() > 0  # the cross-entropy is over all of the student's


def test_without_a_coefficient_the_tokens_of_the_data_do_not_matter(params: Any):
    batch = token_batch(on_device(three_steps.token_rows()), token_mean, NEW)
    frozen = drawn(TEACHER.shapes, 3, 0.2)
    loss_fn = jax.jit(distill(TEACHER, MODEL, divergence=forward))
    loss, sums, _ = loss_fn(params, frozen, batch)
    other, _, _ = loss_fn(params, frozen, replace(batch, targets=(batch.targets + 1) % 48))
    assert loss == other and sums.keys() == {"kl"}


def test_a_loss_is_the_same_function_for_the_same_arguments():
    assert supervised(MODEL) is supervised(MODEL) and supervised(MODEL) is not supervised(TEACHER)
    settings = {"loss": Clipped(), "kl": k3, "kl_coefficient": 0.0, "temperature": 1.0}
    assert policy(MODEL, **settings) is policy(MODEL, **settings)
    assert policy(MODEL, **settings) is not policy(MODEL, **(settings | {"loss": Clipped(0.2, 0.3)}))
    assert distill(TEACHER, MODEL, divergence=JSD(0.3)) is distill(TEACHER, MODEL, divergence=JSD(0.3))
    assert distill(TEACHER, MODEL, divergence=forward) is not distill(TEACHER, MODEL, divergence=reverse)


def test_the_estimate_of_kl_is_the_one_that_is_named(params: Any):
    batch, log_probs = off_policy(params, token_mean, 1.0)
    apart = full_softmax.picked_BT(log_probs, batch.rows) - np.asarray(batch.reference_log_probs, np.float64)
    mask = np.asarray(batch.rows.mask)
    for estimate, values in ((k1, apart), (k2, apart**2 / 2)):
        loss_fn = policy(MODEL, loss=CLIPPED, kl=estimate, kl_coefficient=BETA, temperature=1.0)
        kl = jax.jit(loss_fn)(params, {}, batch)[1]["kl"][0]
        np.testing.assert_allclose(kl, (values * mask).sum(), rtol=1e-4, atol=1e-3)


def test_microbatches_add_up_to_the_loss_of_whole_completions(params: Any):
    batch, _ = off_policy(params, sequence_mean, 1.0)
    loss_fn = jax.jit(policy(MODEL, loss=GSPO(0.01, 0.01), kl=k3, kl_coefficient=0.0, temperature=1.0))
    whole, sums, _ = loss_fn(params, {}, batch)
    parts = [loss_fn(params, {}, jax.tree.map(lambda leaf, start=start: leaf[start::2], batch)) for start in (0, 1)]
    np.testing.assert_allclose(sum(part[0] for part in parts), whole, rtol=1e-5)
    assert sum(part[1]["clip_ratio/low_mean"][0] for part in parts) == sums["clip_ratio/low_mean"][0] > 0


@dataclass
class Mutable:
    def __call__(self, new_BT: Any, old_BT: Any, advantages_BT: Any, mask_BT: Any) -> PolicyLoss:
        return PolicyLoss(new_BT, {})


def test_a_loss_that_cannot_be_called_or_remembered_is_refused_when_it_is_composed():
    with pytest.raises(InputError, match=r"loss is .*Mutable\(\), which has no hash.*a frozen dataclass"):
        policy(MODEL, loss=Mutable(), kl=k3, kl_coefficient=0.0, temperature=1.0)
    with pytest.raises(InputError, match=r"kl\.k3 can't be called"):
        policy(MODEL, loss=k3, kl=k3, kl_coefficient=0.0, temperature=1.0)
