"""GRPO whose sampler isn't quite its trainer: what a stage measures of them, and what a correction does about it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import full_softmax
import numpy as np
import pytest
from tiny_stages import OPTIMIZER, Surroundings, reinforce, work

from reasoning.core.artifact import Artifact
from reasoning.objectives.correction import MaskedImportance, TruncatedImportance, sequence
from reasoning.stages.checkpoint import model_of, tokenizer_of
from reasoning.stages.trainee import trainee_of
from reasoning.training.policy_rows import every_group
from reasoning.training.state import new_state


def length(completions: list[str], **columns: Any) -> list[float]:
    """A reward that tells completions apart almost always."""
    return [float(len(text)) for text in completions]


def test_sampler_and_trainer_are_compared_at_every_step(base: Artifact, tmp_path: Path):
    for row in work(reinforce(microbatches=2), tmp_path, {"start": base}).metrics():
        ratios = [row[f"sampling/importance_sampling_ratio/{end}"] for end in ("min", "p01", "mean", "p99", "max")]
        assert ratios == sorted(ratios)
        np.testing.assert_allclose(ratios, 1, atol=1e-5)
        assert "sampling/rejected_ratio" not in row


def test_under_truncated_sampling_the_ratio_is_what_was_left_of_the_distribution(base: Artifact, tmp_path: Path):
    """And a correction weighs by it: p / q of a token is the probability of all that could be drawn."""
    stage = reinforce(top_k=3, correction=TruncatedImportance(), select=every_group, rewards=(length,))
    context = Surroundings().context()
    trainee = trainee_of(stage, base, context)
    source = replace(stage, rollouts_every=0).source(trainee, tokenizer_of(base), Path(), context, {})
    state = new_state(trainee.start(), OPTIMIZER.build(4))
    batch, _ = source(state, 0)
    assert batch.corrected is not None
    log_probs = full_softmax.log_probs_BTV(model_of(base, source.mesh), state.params, batch.rows)
    left, mask = np.exp(np.sort(log_probs, axis=-1)[..., -3:]).sum(-1), np.asarray(batch.rows.mask)
    assert 0.05 < left[mask == 1].min() < left[mask == 1].max() < 0.99
    np.testing.assert_allclose(batch.corrected.weights * mask, left * mask, rtol=1e-4)
    row = work(replace(stage, minibatches=2), tmp_path, {"start": base}).metrics()[0]
    np.testing.assert_allclose(row["sampling/importance_sampling_ratio/min"], left[mask == 1].min(), rtol=1e-4)
    np.testing.assert_allclose(row["sampling/importance_sampling_ratio/max"], left[mask == 1].max(), rtol=1e-4)
    assert row["sampling/rejected_ratio"] == 0


@pytest.mark.slow
def test_a_correction_changes_nothing_where_sampler_and_trainer_are_one(base: Artifact, tmp_path: Path):
    plain = work(reinforce(), tmp_path / "plain", {"start": base}).metrics()
    for name, correction in (("tis", TruncatedImportance()), ("mis", MaskedImportance(0.5, 2.0, sequence))):
        same = work(reinforce(correction=correction), tmp_path / name, {"start": base}).metrics()
        np.testing.assert_allclose([row["loss"] for row in same], [row["loss"] for row in plain], atol=1e-5)
        np.testing.assert_allclose([row["grad_norm"] for row in same], [row["grad_norm"] for row in plain], rtol=1e-4)
