"""Fine-tuning: it goes on from its start, learns the replies, and refuses data that was tokenized otherwise."""

from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest
import tiny_stages
from tiny_stages import CORPUS, Surroundings, tune, work

from reasoning.core.artifact import Artifact
from reasoning.core.errors import InputError
from reasoning.core.mesh import MeshShape, build_mesh
from reasoning.data.sources import Generated
from reasoning.stages.checkpoint import model_of, params_of, tokenizer_of


def params(artifact: Artifact) -> dict:
    mesh = Surroundings().context().mesh
    return params_of(artifact, model_of(artifact, mesh), mesh)


def test_it_lowers_the_loss_of_the_replies(base: Artifact, examples: Artifact, tmp_path: Path):
    made = work(tune(steps=12), tmp_path, {"start": base, "data": examples})
    losses = [row["loss"] for row in made.metrics()]
    assert np.mean(losses[-3:]) < losses[0] - 0.3
    assert made.kind == "checkpoint" and tokenizer_of(made).model == tokenizer_of(base).model


def test_it_begins_with_the_parameters_of_its_start(base: Artifact, examples: Artifact, tmp_path: Path):
    still = replace(tiny_stages.OPTIMIZER, learning_rate=1e-12)
    made = work(tune(steps=1, optimizer=still), tmp_path, {"start": base, "data": examples})
    jax.tree.map(lambda ours, start: np.testing.assert_allclose(ours, start, atol=1e-9), params(made), params(base))


def test_data_of_another_tokenizer_is_refused_by_name(base: Artifact, tmp_path: Path):
    other = replace(CORPUS, name="letters", sources=(Generated(tiny_stages.plain, count=9),))
    letters = work(other, tmp_path)
    with pytest.raises(InputError, match="stage sft: its data letters was tokenized otherwise than its start base"):
        work(tune(), tmp_path, {"start": base, "data": letters})


def test_a_start_without_parameters_and_data_without_rows_are_refused(
    base: Artifact, corpus: Artifact, examples: Artifact, tmp_path: Path
):
    with pytest.raises(InputError, match="stage corpus left records, no checkpoint"):
        work(tune(), tmp_path, {"start": corpus, "data": examples})
    with pytest.raises(InputError, match="stage sft: its data base left checkpoint, no rows"):
        work(tune(), tmp_path, {"start": base, "data": base})


def test_a_batch_that_the_devices_can_not_share_is_refused_before_any_work():
    with pytest.raises(InputError, match="stage sft: 12 rows can't be shared evenly by 8 data-parallel devices"):
        tune(batch=12).check(build_mesh(MeshShape(data=2, fsdp=4)))


def test_the_plan_counts_rows():
    assert tune().plan() == {"steps": 6, "rows": 48}
