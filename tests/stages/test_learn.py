"""What all learning stages share: several updates a batch, probes, checks of rows, and what a hash leaves out."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import pytest
import tiny_stages
from tiny_stages import BASE, LENGTH, NEW_TOKENS, TEST, Surroundings, early_end, quiz, reinforce, tune, work

from reasoning.core.artifact import Artifact
from reasoning.core.errors import InputError
from reasoning.core.files import read_jsonl
from reasoning.core.mesh import MeshShape, build_mesh
from reasoning.core.prng import stage_key
from reasoning.data.chat.format import ChatFormat
from reasoning.evaluation.exam import ask
from reasoning.pipeline.graph import build_graph
from reasoning.pipeline.identity import identities
from reasoning.rewards.accuracy import lenient, strict
from reasoning.rewards.format import tagged
from reasoning.rollouts.text import encode_prompts
from reasoning.stages.checkpoint import tokenizer_of
from reasoning.stages.distill import Distill
from reasoning.stages.learn import repeated
from reasoning.stages.settings import KeepBest
from reasoning.stages.trainee import check_rows
from reasoning.training.preemption import Interrupted
from reasoning.training.sinks import Several


def hash_of(stage: Any) -> str:
    return identities(build_graph((stage,)), 0, {})[stage.name].hash


@pytest.mark.parametrize("stage", [BASE, tune(), reinforce()], ids=lambda stage: stage.name)
def test_probes_and_patience_change_no_hash_and_what_trains_does(stage: Any):
    watched = replace(stage, probe=quiz(), probe_every=2, skips_allowed=3)
    assert hash_of(watched) == hash_of(stage)
    slower = replace(stage.optimizer, learning_rate=1e-4)
    changed = [replace(stage, steps=7), replace(stage, microbatches=2), replace(stage, optimizer=slower)]
    assert len({hash_of(other) for other in (stage, *changed)}) == 4


def test_a_probe_changes_no_parameter_and_its_values_land_in_the_steps_that_are_due(
    base: Artifact, examples: Artifact, tmp_path: Path
):
    inputs = {"start": base, "data": examples}
    surroundings = Surroundings()
    watched = work(tune(probe=quiz(), probe_every=4), tmp_path / "watched", inputs, surroundings)
    rows = watched.metrics()
    names = {"probe/strict", "probe/lenient", "probe/tagged", "probe/mean_length"}
    assert [row["step"] for row in rows if names <= row.keys()] == [4, 6]
    assert not any(names & row.keys() for row in rows if row["step"] not in (4, 6))
    assert [report.step for report in surroundings.reports if "probe/strict" in report.values] == [4, 6]
    assert watched.hash == work(tune(), tmp_path / "alone", inputs).hash


def test_a_probe_tells_the_scores_of_the_parameters_that_it_was_asked_at(
    base: Artifact, examples: Artifact, tmp_path: Path
):
    made = work(tune(probe=quiz(), probe_every=6), tmp_path, {"start": base, "data": examples})
    candidate = tiny_stages.candidate(made)
    answers = ask(candidate, tiny_stages.questions_for(candidate), stage_key(0, "sft/probe"))
    last = made.metrics()[-1]
    assert last["probe/mean_length"] == answers.lengths.mean()
    assert last["probe/lenient"] == answers.scores["lenient"].mean()


def test_the_first_problems_of_a_probe_are_followed_down_the_steps(base: Artifact, examples: Artifact, tmp_path: Path):
    problems = replace(TEST, count=6)
    made = work(tune(probe=quiz(problems=problems), probe_every=4), tmp_path, {"start": base, "data": examples})
    rows = read_jsonl(made.path / "probes.jsonl")
    assert [(row["step"], row["problem"]) for row in rows] == [(step, number) for step in (4, 6) for number in range(4)]
    for row, problem in zip(rows, problems.problems()[:4] * 2, strict=True):
        assert (row["question"], row["answer"]) == (problem.question, problem.answer)
        reply = {"prompts": [""], "completions": [row["text"]], "answer": [row["answer"]], "chat": ChatFormat()}
        assert row["scores"] == {score.__name__: score(**reply)[0] for score in (strict, lenient, tagged)}


FORWARD = 2 * (4 * 16**2 + 2 * 16 * 32 + 16 * 80)
"""Operations a token, attention's products aside: two for each number of the matrices of attention, MLP and head."""


def test_tokens_with_loss_and_operations_are_counted_over_the_whole_stage(
    base: Artifact, examples: Artifact, tmp_path: Path
):
    inputs = {"start": base, "data": examples}
    made = work(tune(), tmp_path / "whole", inputs)
    rows = made.metrics()
    assert made.results == {name: sum(row[name] for row in rows) for name in ("tokens", "flops")}
    assert {row["flops"] for row in rows} == {3 * 8 * LENGTH * (FORWARD + 4 * 16 * LENGTH)}
    assert all(0 < row["tokens"] < 8 * LENGTH for row in rows)
    with pytest.raises(Interrupted):
        work(tune(), tmp_path / "cut", inputs, Surroundings(stop_at=2))
    assert work(tune(), tmp_path / "cut", inputs).results == made.results


@pytest.mark.slow
def test_sampled_tokens_prompts_read_once_and_scoring_passes_are_counted(base: Artifact, tmp_path: Path):
    plain, scored = (
        work(reinforce(steps=1, **more), tmp_path / str(len(more)), {"start": base}).metrics()[0]
        for more in ({}, {"updates": 2, "kl_coefficient": 0.1})
    )
    stage = reinforce()
    prompts = encode_prompts(stage.problems.problems(), stage.chat, tokenizer_of(base), NEW_TOKENS, LENGTH)
    time = max(map(len, prompts)) + NEW_TOKENS  # less than 16, which rows would be padded to
    assert time < 16
    forward = FORWARD + 4 * 16 * time
    places = 4 * (time - NEW_TOKENS) + 16 * NEW_TOKENS  # of an update: a prompt once for its four replies
    assert plain["tokens"] == round(16 * plain["completions/mean_length"]) == scored["tokens"]
    read, rest = divmod(plain["flops"] - 3 * places * forward, forward)
    assert rest == 0 and 4 * 4 <= read - plain["tokens"] <= 4 * 8
    assert scored["flops"] - plain["flops"] == (3 + 1 + 1) * places * forward


def test_the_metrics_go_to_the_sink_that_the_context_opens(base: Artifact, examples: Artifact, tmp_path: Path):
    opened: list[tuple[str, int]] = []

    def open_sink(stage: str, first: int) -> Several:
        opened.append((stage, first))
        return Several()

    context = replace(Surroundings().context(), open_sink=open_sink)
    tune(steps=1).run({"start": base, "data": examples}, tmp_path, context)
    assert opened == [("sft", 1)]


def test_a_probe_that_is_never_due_is_never_asked(base: Artifact, examples: Artifact, tmp_path: Path):
    made = work(tune(steps=1, probe=quiz()), tmp_path, {"start": base, "data": examples})
    assert not any(name.startswith("probe/") for row in made.metrics() for name in row)


def test_a_probe_that_does_not_fit_is_refused_before_training(base: Artifact, examples: Artifact, tmp_path: Path):
    surroundings = Surroundings()
    stage = tune(probe=quiz(max_new_tokens=29), probe_every=6)
    with pytest.raises(InputError, match="more than the model's context of 32"):
        work(stage, tmp_path, {"start": base, "data": examples}, surroundings)
    assert surroundings.reports == []


def test_several_updates_give_the_means_of_their_metrics_and_the_last_count_of_skips():
    def step(state: Any, frozen: Any, batch: Any) -> tuple[Any, dict[str, Any]]:
        state = state + 1
        one = jnp.ones(())
        ends = {"ratio/min": (state, one), "ratio/max": (10 - state, one), "none/max": (0 * one, 0 * one)}
        return state, {"entropy": (batch * state, 4 * one), "loss": (state, one), "skipped": (state, one), **ends}

    state, sums = repeated(step, 3)(jnp.float32(0), {}, jnp.float32(8))
    assert sums.pop("none/max")[1] == 0
    means = {name: float(total / count) for name, (total, count) in sums.items()}
    expected = {"entropy": 8 * 2 / 4, "loss": 2, "skipped": 3, "ratio/min": 1, "ratio/max": 9}
    assert float(state) == 3 and means == expected
    assert repeated(step, 1) is step


def test_rows_that_the_devices_can_not_share_are_refused_with_all_numbers():
    mesh = build_mesh(MeshShape(data=2, fsdp=2, tensor=2))
    check_rows("zero", 24, 3, mesh, "24 rows")
    with pytest.raises(InputError) as complaint:
        check_rows("zero", 20, 2, mesh, "5 prompts x group 4 = 20 rows")
    assert str(complaint.value) == (
        "stage zero: 5 prompts x group 4 = 20 rows can't be shared evenly by 2 microbatches on 4 data-parallel "
        "devices; make them a multiple of 8, or change microbatches or the mesh"
    )


def test_a_damaged_parent_is_refused_and_not_trained_on(base: Artifact, examples: Artifact, tmp_path: Path):
    copy = tmp_path / "copy"
    shutil.copytree(base.path, copy)
    (copy / "checkpoint" / "manifest.json").unlink()
    with pytest.raises(InputError, match="manifest.json does not exist"):
        work(tune(), tmp_path, {"start": replace(base, path=copy), "data": examples})
    assert not (tmp_path / "sft" / "metrics.jsonl").exists()


def test_the_best_checkpoint_is_left_instead_of_the_last_and_results_say_which(base: Artifact, tmp_path: Path):
    stage = reinforce(steps=4, best=KeepBest(exam=quiz(scores=(early_end,)), score=early_end, every=1))
    made = work(stage, tmp_path / "best", {"start": base})
    seen = [row["best/early_end"] for row in made.metrics()]
    best = seen.index(max(seen)) + 1
    assert (made.results["best/step"], made.results["best/early_end"]) == (best, max(seen))
    assert made.hash == work(reinforce(steps=best), tmp_path / "shorter", {"start": base}).hash
    assert hash_of(stage) != hash_of(replace(stage, best=None))


def test_more_rows_than_any_memory_holds_are_refused():
    mesh = build_mesh(MeshShape())
    with pytest.raises(InputError, match="stage zero: 2000000000 rows are too many for one step; at most 16,777,216"):
        check_rows("zero", 2_000_000_000, 1, mesh, "2000000000 rows")


VAST = replace(tiny_stages.OPTIMIZER, learning_rate=1e6)


@pytest.mark.parametrize("kind", ["pretrain", "sft", "grpo", "distill"])
def test_a_learning_rate_that_blows_a_model_up_is_warned_of_and_recorded_and_a_usual_one_is_not(
    kind: str, corpus: Artifact, examples: Artifact, base: Artifact, tmp_path: Path
):
    student = replace(BASE, name="student")
    stages = {
        "pretrain": (replace(BASE, steps=3), {"data": corpus}),
        "sft": (tune(steps=3), {"start": base, "data": examples}),
        "grpo": (reinforce(steps=3), {"start": base}),
        "distill": (
            Distill(
                name="distilled",
                start=student,
                teacher=BASE,
                data=tiny_stages.DEMONSTRATIONS,
                optimizer=tiny_stages.OPTIMIZER,
                steps=3,
                batch=8,
            ),
            {"teacher": base, "data": examples},
        ),
    }
    stage, inputs = stages[kind]
    if kind == "distill":  # a student that is its teacher's equal would learn nothing
        inputs["start"] = work(replace(student, steps=1), tmp_path, {"data": corpus})
    surroundings = Surroundings()
    assert not any(name.startswith("exploded") for name in work(stage, tmp_path / "well", inputs, surroundings).results)
    assert surroundings.warnings == []
    made = work(replace(stage, optimizer=VAST), tmp_path / "vast", inputs, surroundings)
    assert made.results["exploded/parameters"] > 1e4
    (warning,) = surroundings.warnings
    assert warning.startswith(f"stage {stage.name}: its training exploded: its parameters end with a root mean square")
