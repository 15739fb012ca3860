"""Files of completions: every number is the step's own, equal runs give equal files, and resuming rewrites them."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tiny_stages import BASE, NEW_TOKENS, OPTIMIZER, TRAIN, Surroundings, early_end, reinforce, work

from reasoning.core.artifact import Artifact
from reasoning.generation.engine import Rollouts
from reasoning.rollouts.record import Judged, of_completions, rollout_table, rows_of_group, to_the_bit
from reasoning.stages import OnPolicyDistill
from reasoning.stages.checkpoint import tokenizer_of
from reasoning.tasks.problems import Problem
from reasoning.training.metrics import rollout_files, rollouts_file
from reasoning.training.preemption import Interrupted
from reasoning.use.rollout_rows import LISTS

COLUMNS = [
    "step", "prompt", "group", "sample", "completion", "length", "truncated", "reward", "rewards/early_end",
    "rewards/sometimes", "advantage", "answer", "kind", "sampler_log_probs", "trainer_log_probs",
    "trainer_entropies",
]  # fmt: skip


def sometimes(completions: list[str], **columns: Any) -> list[float | None]:
    """A reward that applies to every other completion."""
    return [None if number % 2 else float(len(text)) for number, text in enumerate(completions)]


STAGE = reinforce(rewards=(early_end, sometimes), reward_weights=(1.0, 0.25), updates=2)


@pytest.fixture(scope="module")
def made(base: Artifact, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return work(STAGE, tmp_path_factory.mktemp("rollouts"), {"start": base})


def test_a_step_has_a_file_with_one_row_a_completion_in_the_order_of_the_groups(made: Artifact):
    assert list(rollout_files(made.path)) == [1, 2]
    table = pq.read_table(rollouts_file(made.path, 2))
    assert table.column_names == COLUMNS
    assert table["step"].to_pylist() == [2] * 16
    places = list(zip(table["group"].to_pylist(), table["sample"].to_pylist(), strict=True))
    assert places == [(group, sample) for group in range(4) for sample in range(4)]
    known = {problem.question: problem for problem in TRAIN.problems()}
    for row in table.to_pylist():
        assert (row["answer"], row["kind"]) == (known[row["prompt"]].answer, known[row["prompt"]].kind)


def test_rewards_add_up_and_advantages_follow_from_them(made: Artifact):
    for step, metrics in enumerate(made.metrics(), start=1):
        rows = pq.read_table(rollouts_file(made.path, step)).to_pylist()
        assert all((row["rewards/sometimes"] is None) == bool(row["sample"] % 2) for row in rows)
        totals = [row["rewards/early_end"] + 0.25 * (row["rewards/sometimes"] or 0) for row in rows]
        np.testing.assert_allclose([row["reward"] for row in rows], totals)
        assert [row["rewards/early_end"] for row in rows] == [float(not row["truncated"]) for row in rows]
        groups = np.array(totals).reshape(4, 4)
        scaled = (groups - groups.mean(1, keepdims=True)) / (groups.std(1, ddof=1, keepdims=True) + 1e-4)
        np.testing.assert_allclose([row["advantage"] for row in rows], scaled.reshape(-1), atol=1e-5)
        assert metrics["reward"] == pytest.approx(np.mean(totals))
        assert metrics["tokens"] == sum(row["length"] for row in rows)


def test_texts_and_log_probs_are_as_long_as_the_completion(made: Artifact):
    tokenizer = tokenizer_of(made)
    for row in pq.read_table(rollouts_file(made.path, 1)).to_pylist():
        encoded = len(tokenizer.encode(re.sub("\ufffd", "", row["completion"]))) + row["completion"].count("\ufffd")
        assert encoded == row["length"] - (not row["truncated"]) and row["length"] <= NEW_TOKENS
        assert {len(row[name]) for name in LISTS} == {row["length"]}


def test_the_trainers_log_probs_are_the_samplers_up_to_rounding_and_the_metric_tells_how_far(made: Artifact):
    rows = pq.read_table(rollouts_file(made.path, 2)).to_pylist()
    ours, theirs = (np.concatenate([row[name] for row in rows]) for name in ("sampler_log_probs", "trainer_log_probs"))
    np.testing.assert_allclose(ours, theirs, atol=1e-4)
    assert ours.min() < -1
    told = made.metrics()[1]["sampling/sampling_logp_difference/mean"]
    assert told == pytest.approx(np.abs(ours - theirs).mean(), rel=1e-4) and 0 < told < 1e-5


def test_the_trainers_entropies_are_those_that_its_first_update_measured(made: Artifact):
    rows = pq.read_table(rollouts_file(made.path, 1)).to_pylist()
    entropies = np.concatenate([row["trainer_entropies"] for row in rows])
    assert entropies.min() >= 0 and entropies.std() > 0.01
    # The metric is the mean over both updates on these rollouts, of which the second moved a little.
    assert made.metrics()[0]["entropy"] == pytest.approx(entropies.mean(), rel=0.05)


def test_without_a_scoring_pass_there_are_no_log_probs_of_the_trainer(base: Artifact, tmp_path: Path):
    made = work(reinforce(steps=1), tmp_path, {"start": base})
    table = pq.read_table(rollouts_file(made.path, 1))
    assert table["trainer_log_probs"].null_count == table["trainer_entropies"].null_count == 16
    assert 0 < made.metrics()[0]["sampling/sampling_logp_difference/mean"] < 1e-5  # the step has measured it anyway
    assert str(table.schema.field("trainer_log_probs").type) == "list<element: float>"


def test_equal_runs_and_a_resumed_one_give_the_same_bytes(made: Artifact, base: Artifact, tmp_path: Path):
    longer = replace(STAGE, steps=3)
    whole = work(longer, tmp_path / "whole", {"start": base})
    with pytest.raises(Interrupted):
        work(longer, tmp_path / "cut", {"start": base}, Surroundings(stop_at=1))
    cut = tmp_path / "cut" / "zero"
    rollouts_file(cut, 2).write_bytes(b"of a step that was never saved")
    rollouts_file(cut, 9).write_bytes(b"of another configuration")
    resumed = work(longer, tmp_path / "cut", {"start": base})
    for step in (1, 2, 3):
        assert rollouts_file(resumed.path, step).read_bytes() == rollouts_file(whole.path, step).read_bytes()
    assert list(rollout_files(resumed.path)) == [1, 2, 3]
    assert rollouts_file(whole.path, 1).read_bytes() == rollouts_file(made.path, 1).read_bytes()


def test_they_are_kept_as_often_as_asked_and_change_nothing(made: Artifact, base: Artifact, tmp_path: Path):
    every = {some: work(replace(STAGE, rollouts_every=some), tmp_path / str(some), {"start": base}) for some in (0, 2)}
    assert list(rollout_files(every[0].path)) == [] and not (every[0].path / "rollouts").exists()
    assert list(rollout_files(every[2].path)) == [2]
    assert every[0].hash == every[2].hash == made.hash
    assert every[0].metrics() == made.metrics()


def test_on_policy_distillation_keeps_what_the_student_said(base: Artifact, tmp_path: Path):
    sizes = {"steps": 2, "questions": 4, "samples": 4, "max_new_tokens": NEW_TOKENS, "rollouts_every": 2}
    stage = OnPolicyDistill(
        name="own", start=BASE, teacher=replace(BASE, name="twin"), problems=TRAIN, optimizer=OPTIMIZER, **sizes
    )
    made = work(stage, tmp_path, {"start": base, "teacher": base})
    assert list(rollout_files(made.path)) == [2]
    table = pq.read_table(rollouts_file(made.path, 2))
    assert table.column_names == [name for name in COLUMNS if not name.startswith("rewards/")]
    assert table["reward"].null_count == table["advantage"].null_count == 16
    assert made.metrics()[1]["tokens"] == sum(table["length"].to_pylist())


def test_a_stage_without_rewards_has_nulls_where_it_judges_nothing():
    rollouts = Rollouts(
        np.zeros((1, 2, 3)), np.array([[[-1.0, -2, 0], [-3, -4, -5]]]), np.array([[2, 3]]), np.array([[False, True]])
    )
    rows = rollout_table(7, [Problem("1+1?", "2", "sums")], rollouts, [["2", "3.."]], Judged()).to_pylist()
    assert [row["sampler_log_probs"] for row in rows] == [[-1, -2], [-3, -4, -5]]
    assert all(row[name] is None for row in rows for name in ("reward", "advantage", *LISTS[1:]))
    assert [(row["completion"], row["truncated"]) for row in rows] == [("2", False), ("3..", True)]


@pytest.mark.parametrize(("rows", "characters"), [(1, 10), (3, 2**24), (4000, 20), (200, 2**18)])
def test_rows_are_written_in_groups_that_a_reader_can_hold(rows: int, characters: int):
    table = pa.table({"completion": ["x" * characters] * rows})
    size = rows_of_group(table)
    assert size == 1 or size * table.nbytes <= 2**24 * rows
    assert size >= rows or (size + 1) * table.nbytes > 2**24 * rows  # No smaller than need be: a small file has one.


def test_values_at_the_places_that_predict_move_to_the_tokens_that_are_predicted():
    values = np.arange(24, dtype=np.float32).reshape(4, 6)
    moved = of_completions(values, [[1, 2], [1, 2, 3]], (2, 2, 3))
    np.testing.assert_array_equal(moved, [[[1, 2, 3], [7, 8, 9]], [[14, 15, 16], [20, 21, 22]]])


def test_one_process_gathers_its_own_numbers_as_they_are():
    numbers = np.array([1 / 3])
    assert to_the_bit(numbers) is numbers
