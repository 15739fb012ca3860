"""Reward models: what they learn of labelled replies, what they leave, and how that scores."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_stages
from planned import not_run, not_traced, place_of
from tiny_stages import BASE, NEW_TOKENS, OPTIMIZER, TRAIN, Surroundings, questions_for, reinforce, work

from reasoning.core.artifact import Artifact
from reasoning.core.errors import InputError
from reasoning.evaluation.methods import Greedy
from reasoning.evaluation.scorer_reward import ScorerReward
from reasoning.evaluation.scorers import Scorer, minimum
from reasoning.evaluation.selection import BestOf, ByScorer, Selections, Weighted
from reasoning.evaluation.verifier import Verifier
from reasoning.models.flops import forward_flops
from reasoning.stages.label_replies import LabelReplies
from reasoning.stages.reward_model import RewardModel, scorer_of
from reasoning.training.preemption import Interrupted


def has_even(completions: list[str], **columns: Any) -> list[float]:
    """1 for replies of which the first character is in the first half of the alphabet of digits."""
    return [float(text[:1] < "5") for text in completions]


LABELS = LabelReplies(
    name="labels",
    start=BASE,
    problems=TRAIN,
    right=has_even,
    max_new_tokens=NEW_TOKENS,
    length=32,
    samples=16,
    batch=4,
    slots=16,
)
MODEL = RewardModel(
    name="prm", start=BASE, data=LABELS, optimizer=OPTIMIZER, steps=30, batch=8, held_out=8, held_out_every=15
)


@pytest.fixture(scope="module")
def labels(workshop: Path, base: Artifact) -> Artifact:
    return work(LABELS, workshop, {"start": base})


@pytest.fixture(scope="module")
def prm(workshop: Path, base: Artifact, labels: Artifact) -> Artifact:
    return work(MODEL, workshop, {"start": base, "data": labels})


def test_it_learns_what_is_right_and_tells_so_of_rows_that_it_did_not_see(prm: Artifact):
    losses = [row["loss"] for row in prm.metrics() if "loss" in row]
    assert losses[0] == pytest.approx(np.log(2), rel=1e-5) and losses[-1] < losses[0]
    assert prm.kind == "scorer" and prm.results["auc"] > 0.6 and 0 <= prm.results["accuracy"] <= 1


def test_a_scorer_reads_steps_as_training_did_whatever_stands_beside(prm: Artifact, base: Artifact):
    candidate = tiny_stages.candidate(base)
    mesh = Surroundings().context().mesh
    scorer = scorer_of(prm, mesh, "auto", 2)
    assert isinstance(scorer, Scorer) and scorer.separator == ""
    prompts = [*questions_for(candidate).prompts[:3]]
    replies, ends = [[5, 6, 7], [5], [8, 9, 10, 11, 6]], [[0, 2], [0], [1, 2, 4]]
    together = scorer.scores(prompts, replies, ends)
    for prompt, reply, end, scores in zip(prompts, replies, ends, together, strict=True):
        assert scores.shape == (len(end),) and ((scores > 0) & (scores < 1)).all()
        [alone] = scorer_of(prm, mesh, "auto", 64).scores([prompt], [reply], [end])
        np.testing.assert_allclose(alone, scores, rtol=1e-5)
        [sooner] = scorer.scores([prompt], [reply[: end[0] + 1]], [[end[0]]])
        np.testing.assert_allclose(sooner, scores[:1], rtol=1e-5)  # What follows a step doesn't change its score.
    cost = scorer.cost(prompts, replies, ends)
    assert cost.tokens_R.tolist() == [len(prompt) + len(reply) for prompt, reply in zip(prompts, replies, strict=True)]
    assert (cost.flops_R > 0).all()
    with pytest.raises(InputError, match="exceeds the reward model's context of 32"):
        scorer.scores([[5] * 30], [[5] * 3], [[2]])


@pytest.mark.slow
def test_training_that_was_stopped_gives_the_same_parameters(prm: Artifact, base: Artifact, labels: Artifact, tmp_path):
    given = {"start": base, "data": labels}
    with pytest.raises(Interrupted):
        work(MODEL, tmp_path, given, Surroundings(stop_at=7))
    again = work(MODEL, tmp_path, given)
    assert (again.hash, again.results["auc"]) == (prm.hash, prm.results["auc"])


@pytest.mark.slow
def test_an_exam_by_scorers_that_is_stopped_gives_the_same_bytes(prm: Artifact, base: Artifact, tmp_path: Path):
    asked = Verifier(question="{question}{reply}?", yes="1", no="2", separator="=")
    votes = (BestOf(size=3, by=ByScorer(scorer="prm", aggregate=minimum)), Weighted(size=3, by=ByScorer(scorer="self")))
    exam = tiny_stages.examine(
        BASE, scorers=(MODEL,), verifiers=(replace(asked, name="self"),), methods=(Greedy(), Selections(ways=votes))
    )
    given = {"checkpoints": (base,), "scorers": (prm,)}
    whole = work(exam, tmp_path / "whole", given)
    assert {"base/strict/best_prm_minimum@3", "base/strict/weighted_self_last@3"} <= whole.results.keys()
    with pytest.raises(Interrupted):
        work(exam, tmp_path / "cut", given, Surroundings(stop_at=1))
    cut = work(exam, tmp_path / "cut", given)
    for name in ("results.json", "samples.jsonl"):
        assert (cut.path / name).read_bytes() == (whole.path / name).read_bytes()


def test_a_scorer_that_an_exam_does_not_have_is_refused_before_anything_runs():
    methods = (Selections(ways=(BestOf(size=3, by=ByScorer(scorer="orm")),)),)
    with pytest.raises(InputError, match="the method selections asks the scorer orm, and the exam's scorers are prm"):
        tiny_stages.examine(BASE, scorers=(MODEL,), methods=methods)
    with pytest.raises(InputError, match="two scorers are named prm; rename one"):
        tiny_stages.examine(BASE, scorers=(MODEL,), verifiers=(Verifier(name="prm"),))


def test_what_is_no_scorer_and_what_can_not_be_probed_is_refused(base: Artifact):
    with pytest.raises(InputError, match="stage base left checkpoint, no scorer; name a stages.RewardModel"):
        scorer_of(base, Surroundings().context().mesh, "auto", 2)
    probed = RewardModel(**{**vars(MODEL), "probe": tiny_stages.quiz(), "probe_every": 1})
    with pytest.raises(InputError, match="a reward model writes no replies"):
        probed.check(Surroundings().context().mesh)


def test_it_runs_the_programs_that_it_told(base: Artifact, labels: Artifact, tmp_path: Path):
    stage = replace(MODEL, steps=2, held_out_every=1)
    assert not_run(stage, tmp_path, {"start": base, "data": labels}) == []
    programs = {one.name: one for one in stage.programs(place_of(Surroundings().context().mesh))}
    assert programs["judge"].calls == 1 and programs["update"].calls == 2
    config = BASE.model
    unembedding = 2 * 8 * 32 * config.width * (config.vocabulary - 1)  # which the head stands in place of
    assert programs["judge"].flops == forward_flops(config, 8 * 32, 32) - unembedding
    assert programs["update"].flops == 3 * programs["judge"].flops


def test_reinforcement_learning_is_rewarded_by_what_was_trained(prm: Artifact, base: Artifact, tmp_path: Path):
    stage = reinforce(steps=1, rewards=(ScorerReward(scorer="prm"),), scorers=(MODEL,))
    told = [one for one in stage.programs(place_of(Surroundings().context().mesh)) if one.name.startswith("prm")]
    left: list[Artifact] = []
    untold = not_traced(told, lambda: left.append(work(stage, tmp_path, {"start": base, "scorers": (prm,)})))
    assert [one.name for one in told] == ["prm: batch", "prm: judge"] and untold == []
    [row] = left[0].metrics()
    assert 0 < row["reward"] == row["rewards/prm_last/mean"] < 1 and row["reward_std"] > 0
