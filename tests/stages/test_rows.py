"""Supervised training on rows: what a step learns from, and that an interruption changes nothing."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from tiny_stages import Surroundings, log_losses, reinforce, tune, work

from reasoning.core.artifact import Artifact
from reasoning.core.mesh import MeshShape
from reasoning.core.prng import data_seed
from reasoning.data.pipeline import token_batches
from reasoning.data.records import read_records
from reasoning.objectives.aggregation import constant_length
from reasoning.stages import GRPO, SFT
from reasoning.stages.checkpoint import model_of, params_of
from reasoning.stages.rows import planned_epochs
from reasoning.training.preemption import Interrupted

ROWS_CUT = MeshShape(data=1, fsdp=4, context=2)


def first_loss(base: Artifact, examples: Artifact, length: int | None) -> float:
    """The cross-entropy of the replies in the first batch under the base, in float64 from whole logits.

    ``length`` None: mean over the tokens that are learnt; otherwise their sum over rows x length.
    """
    batches = token_batches(
        read_records(examples.records_folder),
        batch_size=8,
        seed=data_seed(0, "sft"),
        process_index=0,
        process_count=1,
        prefetch=0,
    )
    rows = batches[0]
    mesh = Surroundings().context().mesh
    model = model_of(base, mesh)
    params = params_of(base, model, mesh)
    learnt = log_losses(model, params, [{name: values[row] for name, values in rows.items()} for row in range(8)])
    return sum(learnt) / (len(learnt) if length is None else 8 * length)


def test_a_step_learns_the_replies_of_the_batch_that_seed_and_step_name(
    base: Artifact, examples: Artifact, tmp_path: Path
):
    made = work(tune(steps=1), tmp_path, {"start": base, "data": examples})
    np.testing.assert_allclose(made.metrics()[0]["loss"], first_loss(base, examples, None), rtol=1e-5)


def test_the_aggregation_of_the_settings_is_the_one_that_weighs(base: Artifact, examples: Artifact, tmp_path: Path):
    made = work(tune(steps=1, aggregate=constant_length), tmp_path, {"start": base, "data": examples})
    [row] = made.metrics()
    np.testing.assert_allclose(row["loss"], first_loss(base, examples, 32), rtol=1e-5)
    np.testing.assert_allclose(row["cross_entropy"], first_loss(base, examples, None), rtol=1e-5)


def test_epochs_are_steps_by_the_number_of_rows(base: Artifact, examples: Artifact, tmp_path: Path):
    rows = len(read_records(examples.records_folder))
    made = work(tune(steps=0, epochs=1.5), tmp_path, {"start": base, "data": examples})
    steps = -(-3 * rows // 16)
    seen = [row["epoch"] for row in made.metrics()]
    np.testing.assert_allclose(seen, [8 * step / rows for step in range(1, steps + 1)], rtol=1e-12)
    assert tune(steps=0, epochs=1.5).plan() == {"epochs": 1.5}
    assert planned_epochs(tune(steps=0, epochs=1.5), examples) == {"steps": steps, "rows": 8 * steps}
    assert (
        planned_epochs(tune(steps=0, epochs=2, held_out=rows - 12), examples)["steps"] == 3
    )  # 24 of 12 rows, 8 a step
    assert planned_epochs(tune(), examples) == {}


@pytest.mark.slow
def test_microbatches_change_no_loss(base: Artifact, examples: Artifact, tmp_path: Path):
    inputs = {"start": base, "data": examples}
    whole = work(tune(), tmp_path / "whole", inputs)
    parts = work(tune(microbatches=4), tmp_path / "parts", inputs)
    losses = [[row["loss"] for row in made.metrics()] for made in (whole, parts)]
    np.testing.assert_allclose(losses[0], losses[1], atol=1e-5)


def test_an_interrupted_stage_goes_on_to_the_same_bits(base: Artifact, examples: Artifact, tmp_path: Path):
    inputs, stage = {"start": base, "data": examples}, tune(held_out=5, held_out_every=2)
    whole = work(stage, tmp_path / "whole", inputs)
    with pytest.raises(Interrupted):
        work(stage, tmp_path / "cut", inputs, Surroundings(stop_at=3))
    surroundings = Surroundings()
    resumed = work(stage, tmp_path / "cut", inputs, surroundings)
    assert [report.step for report in surroundings.reports] == [4, 5, 6]
    assert resumed.hash == whole.hash
    assert (resumed.path / "metrics.jsonl").read_bytes() == (whole.path / "metrics.jsonl").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("stage", [tune(), reinforce(steps=3)], ids=["sft", "grpo"])
def test_a_stage_whose_rows_are_cut_over_devices_goes_on_to_the_same_bits(
    stage: SFT | GRPO, base: Artifact, examples: Artifact, tmp_path: Path
):
    inputs, eight = {"start": base, "data": examples}, partial(Surroundings, devices=8, shape=ROWS_CUT)
    whole = work(stage, tmp_path / "whole", inputs, eight())
    with pytest.raises(Interrupted):
        work(stage, tmp_path / "cut", inputs, eight(stop_at=2))
    surroundings = eight()
    resumed = work(stage, tmp_path / "cut", inputs, surroundings)
    assert surroundings.reports[0].step == 3
    assert resumed.hash == whole.hash
    assert (resumed.path / "metrics.jsonl").read_bytes() == (whole.path / "metrics.jsonl").read_bytes()


def test_the_report_shows_loss_and_counts_tokens(base: Artifact, examples: Artifact, tmp_path: Path):
    surroundings = Surroundings()
    made = work(tune(steps=2), tmp_path, {"start": base, "data": examples}, surroundings)
    assert [report.values for report in surroundings.reports] == [{"loss": row["loss"]} for row in made.metrics()]
    assert [report.tokens for report in surroundings.reports] == [8 * 32, 2 * 8 * 32]
