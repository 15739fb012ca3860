"""GRPO: it learns what is rewarded, its numbers are those of its rollouts, and its variations do what they say."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import full_softmax
import numpy as np
import pyarrow.parquet as pq
import pytest
from tiny_stages import HALVES, NEW_TOKENS, REFUSED, Surroundings, early_end, quiz, reinforce, source_and_state, work

from reasoning.core.artifact import Artifact
from reasoning.core.errors import InputError
from reasoning.core.mesh import MeshShape, build_mesh
from reasoning.objectives.policy import Clipped
from reasoning.rewards.numbers import number
from reasoning.stages.checkpoint import model_of
from reasoning.training.metrics import rollouts_file
from reasoning.training.policy_rows import every_group

TRL_NAMES = {
    "reward", "reward_std", "frac_reward_zero_std", "completions/mean_length", "completions/clipped_ratio",
    "clip_ratio/low_mean", "clip_ratio/high_mean", "entropy",
}  # fmt: skip


def length(completions: list[str], **columns: Any) -> list[float]:
    """A reward that tells completions apart almost always."""
    return [float(len(text)) for text in completions]


def constant(completions: list[str], **columns: Any) -> list[float]:
    return [0.3] * len(completions)


def test_it_learns_what_is_rewarded(base: Artifact, tmp_path: Path):
    surroundings = Surroundings()
    made = work(reinforce(steps=8), tmp_path, {"start": base}, surroundings)
    rewards = [row["reward"] for row in made.metrics()]
    assert rewards[0] < 0.6 and np.mean(rewards[-3:]) > 0.9
    assert made.kind == "checkpoint" and made.hash != base.hash
    assert [report.values["reward"] for report in surroundings.reports] == rewards
    assert surroundings.reports[-1].tokens == 8 * 4 * 4 * NEW_TOKENS


def test_metrics_have_the_names_of_trl(base: Artifact, tmp_path: Path):
    rewards = {"rewards": (early_end, length), "reward_weights": (2.0, 0.5)}
    made = work(reinforce(kl_coefficient=20.0, **rewards), tmp_path, {"start": base})
    assert [row["epoch"] for row in made.metrics()] == [0.5, 1.0]  # 4 of 8 problems a step
    row = made.metrics()[0]
    assert row.keys() >= TRL_NAMES | {"rewards/early_end/mean", "rewards/length/mean", "kl"}
    expected = 2 * row["rewards/early_end/mean"] + 0.5 * row["rewards/length/mean"]
    np.testing.assert_allclose(row["reward"], expected, rtol=1e-6)


@pytest.mark.slow
def test_kl_to_the_start_is_zero_before_the_first_update_and_grows(base: Artifact, tmp_path: Path):
    loose = work(reinforce(steps=4, kl_coefficient=1e-6), tmp_path / "loose", {"start": base}).metrics()
    tight = work(reinforce(steps=4, kl_coefficient=20.0), tmp_path / "tight", {"start": base}).metrics()
    assert abs(loose[0]["kl"]) < 1e-6 and abs(tight[0]["kl"]) < 1e-6
    assert loose[3]["kl"] > 0.05
    assert 0 < tight[3]["kl"] < loose[3]["kl"] / 2


def test_without_a_coefficient_there_is_no_kl_and_no_reference(base: Artifact, tmp_path: Path):
    assert all("kl" not in row for row in work(reinforce(), tmp_path, {"start": base}).metrics())
    source, state = source_and_state(reinforce(), base)
    batch, _ = source(state, 0)
    assert batch.reference_log_probs is None and batch.old_log_probs is None


def test_several_updates_compare_with_the_policy_that_sampled(base: Artifact, tmp_path: Path):
    source, state = source_and_state(reinforce(updates=2, temperature=0.7, kl_coefficient=0.1), base)
    batch, _ = source(state, 0)
    model = model_of(base, source.mesh)
    expected = full_softmax.picked_BT(full_softmax.log_probs_BTV(model, state.params, batch.rows, 0.7), batch.rows)
    mask = np.asarray(batch.rows.mask)
    assert mask.sum() > 16
    np.testing.assert_allclose(batch.old_log_probs * mask, expected * mask, atol=1e-4)
    np.testing.assert_allclose(batch.reference_log_probs * mask, expected * mask, atol=1e-4)


@pytest.mark.slow
def test_only_a_second_update_can_be_clipped(base: Artifact, tmp_path: Path):
    once = work(reinforce(), tmp_path / "once", {"start": base}).metrics()
    tight = reinforce(updates=2, loss=Clipped(0.0, 0.0))
    twice = work(tight, tmp_path / "twice", {"start": base}).metrics()

    def clipped(row: dict[str, float]) -> float:
        return row["clip_ratio/low_mean"] + row["clip_ratio/high_mean"]

    assert [clipped(row) for row in once] == [0, 0]
    assert 0.1 < clipped(twice[0]) <= 0.5  # the mean of a first update without and a second one with clips
    assert once[0]["reward"] == twice[0]["reward"]  # the same rollouts


def test_groups_without_signal_teach_nothing(base: Artifact, tmp_path: Path):
    idle = work(reinforce(rewards=(constant,)), tmp_path / "idle", {"start": base})
    assert idle.hash == base.hash
    row = idle.metrics()[0]
    assert (row["reward"], row["reward_std"], row["frac_reward_zero_std"], row["grad_norm"]) == (0.3, 0, 1, 0)
    assert "entropy" not in row  # no token counts, and the entropy of none is not 0


def test_a_users_own_reward_works_and_may_not_apply(base: Artifact, tmp_path: Path):
    def sometimes(prompts: list[str], completions: list[str], kind: list[str], **kwargs: Any) -> list[float | None]:
        return [None if number % 2 else 1.0 for number, _ in enumerate(kind)]

    rewards = {"rewards": (early_end, sometimes), "reward_weights": (1.0, 4.0)}
    row = work(reinforce(steps=1, **rewards), tmp_path, {"start": base}).metrics()[0]
    assert row["rewards/sometimes/mean"] == 1
    np.testing.assert_allclose(row["reward"], row["rewards/early_end/mean"] + 4 / 2)


def test_a_reward_that_returns_too_few_values_stops_the_stage_by_its_name(base: Artifact, tmp_path: Path):
    def short(completions: list[str], **columns: Any) -> list[float]:
        return [1.0]

    with pytest.raises(InputError, match=r"test_grpo.short \(test_grpo.py:\d+\) returned 1 values for 16 completions"):
        work(reinforce(rewards=(short,)), tmp_path, {"start": base})


def test_a_prompt_without_room_is_refused_before_anything_is_sampled(base: Artifact, tmp_path: Path):
    surroundings = Surroundings()
    with pytest.raises(InputError, match="28 new ones make 34, more than the model's context of 32"):
        work(reinforce(max_new_tokens=28), tmp_path, {"start": base}, surroundings)
    assert surroundings.reports == []


def test_rows_that_the_devices_can_not_share_are_refused_before_any_work():
    mesh = build_mesh(MeshShape(data=4, tensor=2))
    reinforce(questions=2, samples=6, microbatches=3).check(mesh)
    with pytest.raises(InputError, match="zero: 3 questions x 6 samples = 18 rows can't be shared evenly by 4"):
        reinforce(questions=3, samples=6).check(mesh)


def test_a_problem_that_a_reward_cannot_judge_is_refused_before_any_work():
    stage, mesh = reinforce(problems=HALVES), build_mesh(MeshShape())
    stage.check(mesh)
    with pytest.raises(InputError, match=REFUSED):
        replace(stage, rewards=(number,)).check(mesh)


@pytest.mark.slow
def test_microbatches_change_no_loss(base: Artifact, tmp_path: Path):
    whole = work(reinforce(), tmp_path / "whole", {"start": base}).metrics()
    parts = work(reinforce(microbatches=2), tmp_path / "parts", {"start": base}).metrics()
    np.testing.assert_allclose([row["loss"] for row in whole], [row["loss"] for row in parts], atol=1e-5)


def test_probes_are_asked_when_due(base: Artifact, tmp_path: Path):
    made = work(reinforce(steps=3, probe=quiz(), probe_every=2), tmp_path, {"start": base})
    assert [row["step"] for row in made.metrics() if "probe/strict" in row] == [2, 3]


def test_a_stage_whose_rewards_tell_nothing_apart_warns_once(base: Artifact, tmp_path: Path):
    surroundings = Surroundings()
    work(reinforce(steps=4, rewards=(constant,)), tmp_path, {"start": base}, surroundings)
    [warning] = surroundings.warnings
    assert warning.startswith(
        "stage zero: in the last 3 steps up to step 3 every reward was 0.3, so nothing was learnt"
    )


def test_the_plan_counts_completions():
    plan = reinforce().plan()
    assert plan == {"steps": 2, "completions": 32, "sampled tokens at most": 32 * NEW_TOKENS}


def test_settings_by_which_nothing_is_ever_learnt_are_refused():
    def reinforced(rewards: Any) -> Any:
        return rewards - 0.5

    with pytest.raises(InputError, match="all reward_weights are 0"):
        reinforce(reward_weights=(0.0,))
    mesh = build_mesh(MeshShape())
    for settings in ({}, {"select": every_group}, {"advantage": reinforced}):
        with pytest.raises(InputError, match="samples = 1, and advantage and select compare .* nothing is ever learnt"):
            reinforce(questions=8, samples=1, **settings).check(mesh)
    reinforce(questions=8, samples=1, advantage=reinforced, select=every_group).check(mesh)
    for setting in ({"reference_every": 2}, {"kl_select": every_group}):
        with pytest.raises(InputError, match="kl_coefficient is 0"):
            reinforce(**setting)


def test_minibatches_that_can_not_be_shared_out_are_refused():
    mesh = build_mesh(MeshShape(data=4, tensor=2))
    reinforce(questions=4, samples=4, minibatches=4).check(mesh)
    with pytest.raises(InputError, match="4 questions can't be split evenly into 3 minibatches; .* multiple of 3"):
        reinforce(questions=4, samples=4, minibatches=3).check(mesh)
    with pytest.raises(InputError, match="a minibatch of 6 rows can't be shared evenly by 4 data-parallel"):
        reinforce(questions=4, samples=6, minibatches=4).check(mesh)


def test_minibatches_are_parts_of_one_rollout_and_each_gets_an_update(base: Artifact, tmp_path: Path):
    settings = {"rewards": (length,), "select": every_group}
    source, state = source_and_state(reinforce(**settings), base)
    whole, metrics = source(state, 0)
    source, state = source_and_state(reinforce(minibatches=2, **settings), base)
    parts, same = source(state, 0)
    assert len(parts) == 2 and {**metrics, "flops": 0} == {**same, "flops": 0}  # scoring is what flops have more
    for place, part in enumerate(parts):
        for name in ("tokens", "mask", "targets"):
            groups = np.asarray(getattr(whole.rows, name)).reshape(2, 2, 4, -1)[:, place]
            np.testing.assert_array_equal(getattr(part.rows, name), groups.reshape(8, -1))
        np.testing.assert_array_equal(part.advantages, whole.advantages.reshape(2, 2, 4, -1)[:, place].reshape(8, -1))
        np.testing.assert_allclose(part.rows.weights.sum(), 1, rtol=1e-5)
        assert part.old_log_probs is not None
    tight = reinforce(steps=1, minibatches=2, loss=Clipped(0.0, 0.0), **settings)
    made = work(tight, tmp_path, {"start": base})
    [trainer] = pq.read_table(rollouts_file(made.path, 1), columns=["trainer_log_probs"]).columns
    [sampler] = pq.read_table(rollouts_file(made.path, 1), columns=["sampler_log_probs"]).columns
    for ours, theirs in zip(trainer.to_pylist(), sampler.to_pylist(), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4)  # each completion has its own again
    # The last minibatch's policy is no longer the one that sampled.
    assert made.metrics()[0]["clip_ratio/low_mean"] + made.metrics()[0]["clip_ratio/high_mean"] > 0.01
