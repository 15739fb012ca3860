"""Rows that are held out: measured, never learnt from."""

from pathlib import Path

import numpy as np
import pytest
from tiny_stages import Surroundings, log_losses, tune, work

from reasoning.core.artifact import Artifact
from reasoning.core.errors import InputError
from reasoning.data.records import read_records, take_rows
from reasoning.stages.checkpoint import model_of, params_of
from reasoning.stages.held_out import split_rows
from reasoning.stages.settings import KeepBest
from reasoning.training.optimizers import AdamW
from reasoning.training.preemption import Interrupted


def test_rows_held_out_are_measured_and_never_learnt_from(base: Artifact, examples: Artifact, tmp_path: Path):
    rows = read_records(examples.records_folder)
    held = len(rows) - 8  # what is learnt from is one batch, so each step sees all of it
    stage = tune(steps=3, held_out=held, held_out_every=2)
    made = work(stage, tmp_path, {"start": base, "data": examples})
    metrics = made.metrics()
    assert [row["step"] for row in metrics if "eval_loss" in row] == [2, 3]
    assert len({row["tokens"] for row in metrics}) == 1 and [row["epoch"] for row in metrics] == [1, 2, 3]
    learnt, held_out = split_rows(stage, rows, 0)
    texts = [row["tokens"].tobytes() for part in (learnt, held_out) for row in take_rows(part, range(len(part)))]
    assert sorted(texts) == sorted(row["tokens"].tobytes() for row in take_rows(rows, range(len(rows))))
    assert metrics[0]["tokens"] == sum(int(row["loss_mask"].sum()) for row in take_rows(learnt, range(8)))
    mesh = Surroundings().context().mesh
    model = model_of(made, mesh)
    losses = log_losses(model, params_of(made, model, mesh), take_rows(held_out, range(held)))
    assert metrics[-1]["eval_loss"] == pytest.approx(np.mean(losses), rel=1e-5)


def test_the_parameters_of_the_lowest_held_out_loss_are_left_also_after_an_interruption(
    base: Artifact, examples: Artifact, tmp_path: Path
):
    inputs = {"start": base, "data": examples}
    settings = {"held_out": 16, "optimizer": AdamW(1.0, warmup=20)}  # so fast that the loss soon rises
    stage = tune(steps=4, best=KeepBest(every=1), **settings)
    with pytest.raises(Interrupted):
        work(stage, tmp_path / "best", inputs, Surroundings(stop_at=3))
    made = work(stage, tmp_path / "best", inputs)
    seen = [row["eval_loss"] for row in made.metrics()]
    best = seen.index(min(seen)) + 1
    assert 1 < best < 4 and (made.results["best/step"], made.results["eval_loss"]) == (best, min(seen))
    last = work(tune(steps=best, **settings), tmp_path / "shorter", inputs)
    assert made.hash == last.hash and last.metrics()[-1]["eval_loss"] == min(seen)


def test_measuring_changes_nothing_of_what_is_learnt(base: Artifact, examples: Artifact, tmp_path: Path):
    inputs = {"start": base, "data": examples}
    often = work(tune(steps=2, held_out=5, held_out_every=1), tmp_path / "often", inputs)
    seldom = work(tune(steps=2, held_out=5), tmp_path / "seldom", inputs)
    assert often.hash == seldom.hash
    assert ["eval_loss" in row for row in seldom.metrics()] == [False, True]
    assert often.metrics()[-1]["eval_loss"] == seldom.metrics()[-1]["eval_loss"]


@pytest.mark.slow
def test_how_many_rows_are_measured_at_once_does_not_change_the_measure(
    base: Artifact, examples: Artifact, tmp_path: Path
):
    measures = []
    for microbatches in (1, 4):  # 5 rows in one batch of 8, and in three of 2
        stage = tune(steps=1, held_out=5, microbatches=microbatches)
        made = work(stage, tmp_path / str(microbatches), {"start": base, "data": examples})
        measures.append(made.metrics()[-1]["eval_loss"])
    assert measures[0] == pytest.approx(measures[1], rel=1e-5)


def test_rows_that_leave_nothing_to_learn_from_and_an_interval_of_nothing_are_refused(
    base: Artifact, examples: Artifact, tmp_path: Path
):
    inputs, mesh = {"start": base, "data": examples}, Surroundings().context().mesh
    with pytest.raises(InputError, match="held_out = 1000 leaves nothing of the"):
        work(tune(held_out=1000), tmp_path, inputs)
    with pytest.raises(InputError, match=r"held_out_every = 2 and no held_out rows.*set sft.held_out"):
        tune(held_out_every=2).check(mesh)
