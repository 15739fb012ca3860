"""A reference that is renewed is the policy of that step, also after an interruption."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import three_steps
from drawn import placed
from tiny_stages import Surroundings, reinforce, work

from reasoning.core.artifact import Artifact
from reasoning.core.errors import InputError
from reasoning.core.mesh import MeshShape, build_mesh
from reasoning.kernels.token_log_probs import TokenLogProbs
from reasoning.models.config import Stack
from reasoning.models.lora import LoRA
from reasoning.models.model import build_model
from reasoning.stages.reference import Reference
from reasoning.stages.trainee import Trainee, trainee_of
from reasoning.training.batches import TokenBatch
from reasoning.training.checkpoints import Checkpointer
from reasoning.training.preemption import Interrupted
from reasoning.training.program import build_scoring


def given(params: Any, rows: TokenBatch) -> TokenLogProbs:
    """In place of log-probabilities, the parameters that they would be of."""
    nothing: Any = None
    return TokenLogProbs(params, nothing, nothing)


def test_it_becomes_what_trains_when_that_is_due_and_is_read_back_from_disk(base: Artifact, tmp_path: Path):
    trainee = trainee_of(reinforce(), base, Surroundings().context())
    rows: Any = None
    start = trainee.start()
    later = jax.tree.map(lambda leaf: leaf + 1, start)

    def fresh() -> Reference:
        return Reference(trainee, 2, Checkpointer(tmp_path, keep=2), given, given)

    reference = fresh()
    for step, trained, expected in ((0, start, start), (1, later, start), (2, later, later), (3, start, later)):
        reference.look(step, trained)
        jax.tree.map(np.testing.assert_array_equal, reference.log_probs(rows), expected)
    cursor = reference.get_state()
    again = fresh()
    again.set_state(cursor)
    again.look(3, start)
    jax.tree.map(np.testing.assert_array_equal, again.log_probs(rows), later)
    shutil.rmtree(tmp_path / "step_00000002")
    lost = fresh()
    lost.set_state(cursor)
    with pytest.raises(InputError, match="step_00000002"):
        lost.look(3, start)


@pytest.mark.slow
def test_it_is_held_in_the_dtype_of_the_computation_and_says_what_float32_parameters_would(tmp_path: Path):
    mesh = build_mesh(MeshShape(), jax.devices()[:1])
    model = build_model(replace(three_steps.CONFIG, compute_dtype="bfloat16", stacks=(Stack(1),)), mesh)
    start = placed(model, mesh)
    later = jax.tree.map(lambda leaf: 1.01 * leaf, start)
    rows = three_steps.supervised_case(model, start).batch
    score = build_scoring(model, mesh, 1.0)
    reference = Reference(Trainee(model, lambda: start), 2, Checkpointer(tmp_path, keep=2), score, score)
    for step, expected in ((0, start), (2, later)):
        reference.look(step, later)
        np.testing.assert_array_equal(reference.log_probs(rows), score(expected, rows).log_prob_BT)
        held, whole = jax.tree.leaves(reference.params), jax.tree.leaves(start)
        assert sum(leaf.nbytes for leaf in held) == sum(leaf.nbytes for leaf in whole) / 2


@pytest.mark.slow
def test_the_reference_is_renewed_and_an_interrupted_run_has_the_same(base: Artifact, tmp_path: Path):
    stage = reinforce(steps=5, kl_coefficient=0.5, reference_every=2, updates=2, lora=LoRA(2, 4.0))
    whole = work(stage, tmp_path / "whole", {"start": base})
    kls = [row["kl"] for row in whole.metrics()]
    never = work(replace(stage, reference_every=0), tmp_path / "never", {"start": base}).metrics()
    assert kls[:2] == [row["kl"] for row in never[:2]]
    assert kls[2] < never[2]["kl"] / 2 and kls[4] < never[4]["kl"] / 2
    for stop in (3, 4):
        with pytest.raises(Interrupted):
            work(stage, tmp_path / f"stopped_{stop}", {"start": base}, Surroundings(stop_at=stop))
        again = work(stage, tmp_path / f"stopped_{stop}", {"start": base})
        assert again.hash == whole.hash and [row["kl"] for row in again.metrics()] == kls
