"""Evaluation: the table's numbers are those of the saved replies, and finished parts survive an interruption."""

import json
import math
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_stages
from tiny_stages import BASE, Surroundings, examine, quiz, reinforce, tune, work

from reasoning.core.artifact import Artifact
from reasoning.core.errors import InputError
from reasoning.core.files import read_json
from reasoning.rewards.accuracy import lenient
from reasoning.stages.evaluate import Evaluate
from reasoning.training.preemption import Interrupted


def first_digit_is_even(completions: list[str], **columns: Any) -> list[float]:
    """A score that a hardly trained model meets now and then, so that the numbers under test are no zeros."""
    digits = [[int(letter) for letter in text if letter.isdigit()] for text in completions]
    return [float(bool(found) and found[0] % 2 == 0) for found in digits]


EXAM = quiz(scores=(first_digit_is_even, lenient), samples=4)


@pytest.fixture(scope="session")
def tuned(workshop: Path, base: Artifact, examples: Artifact) -> Artifact:
    return work(tune(), workshop, {"start": base, "data": examples})


@pytest.fixture(scope="module")
def stage() -> Evaluate:
    return examine(BASE, tune(), exam=EXAM, ks=(2, 4))


@pytest.fixture(scope="module")
def evaluated(workshop: Path, stage: Evaluate, base: Artifact, tuned: Artifact) -> Artifact:
    return work(stage, workshop, {"checkpoints": (base, tuned)})


def test_every_number_of_the_table_follows_from_the_saved_replies(evaluated: Artifact):
    table = read_json(evaluated.path / "results.json")["checkpoints"]
    assert list(table) == ["base", "sft"]
    seen = []
    for checkpoint, scores in table.items():
        rows = [row for row in evaluated.samples() if row["checkpoint"] == checkpoint]
        assert [row["problem"] for row in rows] == [0, 1, 2, 3]
        found = {name: score["mean"] for name, score in scores.items()}
        for name in ("first_digit_is_even", "lenient"):
            greedy = [row["scores"][name] for row in rows]
            right = [row["sample_scores"][name] for row in rows]
            assert found[f"{name}/greedy"] == np.mean(greedy)
            assert math.isclose(found[f"{name}/pass@1"], np.mean(right))
            for k in (2, 4):
                any_of_k = [[max(chosen) for chosen in combinations(four, k)] for four in right]
                assert math.isclose(found[f"{name}/pass@{k}"], np.mean(any_of_k))
        assert math.isclose(found["tagged"], np.mean([row["sample_scores"]["tagged"] for row in rows]))
        assert math.isclose(found["length"], np.mean([row["sample_lengths"] for row in rows]))
        seen += [row["sample_scores"]["first_digit_is_even"] for row in rows]
    assert 0 < np.mean(seen) < 1
    assert {score["n"] for scores in table.values() for score in scores.values()} == {4}


def test_the_saved_scores_are_those_of_the_saved_texts(evaluated: Artifact):
    for row in evaluated.samples():
        assert row["sample_scores"]["first_digit_is_even"] == first_digit_is_even(row["samples"])
        assert row["scores"]["first_digit_is_even"] == first_digit_is_even([row["greedy"]])[0]


def test_intervals_hold_their_means_and_the_artifact_has_the_means(evaluated: Artifact):
    table = read_json(evaluated.path / "results.json")["checkpoints"]
    for checkpoint, scores in table.items():
        for name, score in scores.items():
            assert score["low"] <= score["mean"] <= score["high"]
            assert evaluated.results[f"{checkpoint}/{name}"] == score["mean"]
    assert evaluated.kind == "results" and len(evaluated.results) == 2 * (2 * 4 + 2)


def test_all_checkpoints_are_asked_the_same_held_out_problems(evaluated: Artifact):
    rows = evaluated.samples()
    questions = {name: [row["question"] for row in rows if row["checkpoint"] == name] for name in ("base", "sft")}
    assert questions["base"] == questions["sft"] == [problem.question for problem in tiny_stages.TEST.problems()]


def test_an_evaluation_done_twice_gives_the_same_bytes(
    evaluated: Artifact, stage: Evaluate, base: Artifact, tuned: Artifact, tmp_path: Path
):
    again = work(stage, tmp_path, {"checkpoints": (base, tuned)})
    for name in ("results.json", "samples.jsonl"):
        assert (again.path / name).read_bytes() == (evaluated.path / name).read_bytes()


def test_the_seed_of_the_run_draws_the_samples_and_leaves_the_greedy_replies(
    evaluated: Artifact, stage: Evaluate, base: Artifact, tuned: Artifact, tmp_path: Path
):
    other = work(stage, tmp_path, {"checkpoints": (base, tuned)}, Surroundings(seed=1))
    pairs = list(zip(evaluated.samples(), other.samples(), strict=True))
    assert [row["greedy"] for row, _ in pairs] == [row["greedy"] for _, row in pairs]
    assert all(row["samples"] != again["samples"] for row, again in pairs)


def test_an_interrupted_evaluation_keeps_the_checkpoints_that_it_has_examined(
    evaluated: Artifact, stage: Evaluate, base: Artifact, tuned: Artifact, tmp_path: Path, monkeypatch: Any
):
    examined = []
    examine_one = Evaluate.examine

    def counting(self: Evaluate, artifact: Artifact, context: Any) -> dict:
        examined.append(artifact.stage)
        return examine_one(self, artifact, context)

    monkeypatch.setattr(Evaluate, "examine", counting)
    with pytest.raises(Interrupted):
        work(stage, tmp_path, {"checkpoints": (base, tuned)}, Surroundings(stop_at=1))
    surroundings = Surroundings(stop_at=2)  # a stop that comes when all is done changes nothing
    resumed = work(stage, tmp_path, {"checkpoints": (base, tuned)}, surroundings)
    assert examined == ["base", "sft"]
    assert [(report.step, report.steps) for report in surroundings.reports] == [(1, 2), (2, 2)]
    assert json.loads((resumed.path / "results.json").read_text()) == read_json(evaluated.path / "results.json")


def test_what_is_no_checkpoint_is_refused_by_its_name(corpus: Artifact, tmp_path: Path):
    with pytest.raises(InputError, match="stage corpus left records, no checkpoint"):
        work(examine(BASE), tmp_path, {"checkpoints": (corpus,)})


def test_more_answers_than_samples_and_a_single_problem_are_refused():
    with pytest.raises(InputError, match="pass@5 can't be estimated from 4 samples"):
        examine(BASE, exam=EXAM, ks=(2, 5))
    alone = tiny_stages.replace(tiny_stages.TEST, count=1)
    with pytest.raises(InputError, match="an exam of 1 problem has no interval"):
        examine(BASE, exam=quiz(problems=alone))


def test_the_plan_counts_greedy_replies_and_samples():
    plan = examine(BASE, reinforce(), exam=EXAM, ks=()).plan()
    assert plan == {"replies": 2 * 4 * 5, "sampled tokens at most": 2 * 4 * 5 * 8}
