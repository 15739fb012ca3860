"""Stages that sample run what they told: publishing, sampling, assembling, scoring, the update, probes."""

from dataclasses import replace

import jax
from planned import not_run, place_of
from tiny_stages import BASE, NEW_TOKENS, OPTIMIZER, TRAIN, Surroundings, quiz, reinforce

from reasoning.models.flops import forward_flops
from reasoning.objectives.correction import TruncatedImportance
from reasoning.stages.distill import OnPolicyDistill
from reasoning.stages.on_policy_programs import asked_on_policy
from reasoning.stages.programs import learned_of, trained_model
from reasoning.training.shared_prompts import computed_places

MESH = Surroundings().context().mesh
LONGEST = {"padded_lengths": (1,)}
"""All rows get as long as they can."""


def test_reinforcement_runs_the_programs_that_it_told(base, tmp_path):
    stage = reinforce(kl_coefficient=0.1, updates=2, minibatches=2, probe=quiz(), probe_every=1, **LONGEST)
    assert not_run(stage, tmp_path, {"start": base}) == []


def test_with_a_correction_too(base, tmp_path):
    stage = reinforce(top_k=5, correction=TruncatedImportance(), **LONGEST)
    assert not_run(stage, tmp_path, {"start": base}) == []


def test_on_policy_distillation_too(base, tmp_path):
    teacher = replace(BASE, name="teacher")
    stage = OnPolicyDistill(
        name="opd",
        start=BASE,
        teacher=teacher,
        problems=TRAIN,
        optimizer=OPTIMIZER,
        steps=1,
        questions=4,
        samples=4,
        max_new_tokens=NEW_TOKENS,
        **LONGEST,
    )
    assert not_run(stage, tmp_path, {"start": base, "teacher": base}) == []


def test_what_stays_alive_is_told_and_nothing_counts_twice():
    programs = {one.name: one for one in reinforce(kl_coefficient=0.1, updates=2).programs(place_of(MESH))}
    assert set(programs) == {"publish", "sample", "assemble", "score", "score reference", "update"}
    everything = {"parameters", "optimizer", "reference"}
    assert set(programs["sample"].beside) == everything == set(programs["assemble"].beside)
    assert set(programs["publish"].beside) == set(programs["score"].beside) == {"optimizer", "reference"}
    assert set(programs["score reference"].beside) == {"parameters", "optimizer"}
    assert set(programs["update"].beside) == {"reference"}


def test_calls_and_tokens_are_those_of_the_rollouts():
    stage = reinforce(steps=3, updates=2, minibatches=2)
    programs = {one.name: one for one in stage.programs(place_of(MESH))}
    assert programs["update"].calls == 3 * 4 and programs["score"].calls == 3 * 2 and programs["sample"].calls == 3
    assert programs["sample"].tokens == 16 * NEW_TOKENS and programs["sample"].trips["writing"] == NEW_TOKENS
    model = trained_model(stage, place_of(MESH))
    learned = learned_of(stage, place_of(MESH), model, stage.objective(model, "auto", stage.groups(9)), 3)
    longest = asked_on_policy(stage, learned.place, learned.model).longest
    length, groups = longest + NEW_TOKENS, stage.groups(longest)
    assert jax.tree.leaves(programs["update"].arguments[2])[0].shape == (8, length)
    places = computed_places(groups, model, 8, length)
    assert places < 8 * length and programs["update"].flops == 3 * forward_flops(model.config, places, length)
