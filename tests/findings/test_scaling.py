"""Accuracy against tokens: what each method reached and took, what is on the frontier, and what may be claimed."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scaling_run import PROBLEMS, write_scaling_run
from tiny_stages import MODEL
from written_run import place_of

from reasoning.core.artifact import Artifact
from reasoning.core.errors import InputError
from reasoning.core.statistics import difference_over_problems, together
from reasoning.evaluation.results import Replies
from reasoning.findings.facts import Facts, gather
from reasoning.findings.scaling import scaling_of
from reasoning.findings.stages import StageFacts
from reasoning.models.config import to_json
from reasoning.stages.checkpoint import CONFIG

EVEN_P = (np.arange(PROBLEMS) % 2 == 0).astype(float)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_scaling_run(tmp_path_factory.mktemp("scaling") / "run")


def test_each_method_has_its_accuracy_and_its_tokens_the_cheapest_first(run: Path):
    scaling = scaling_of(gather(run), "exam")
    found = {row.method: (row.tokens.mean, row.accuracy.mean, row.frontier) for row in scaling.checkpoints["base"]}
    # Votes of two: of an even problem 1 + 1 of two; of an odd one the first two tie for the first, which is wrong.
    assert found == {
        "greedy (direct)": (2, 0.0, True),
        "greedy": (8, 0.5, True),
        "pass@1": (10, (3 + 2) / 8, True),
        "majority@2": (20, (1 + 0.5) / 2, True),
        "beam@3": (33, 1.0, True),
        "best_own@4": (40, 1.0, False),
        "majority@4": (40, 0.5, False) if found["majority@4"][1] == 0.5 else (40, 1.0, False),
        "pass@4": (40, 1.0, False),
    }
    assert list(found)[:5] == ["greedy (direct)", "greedy", "pass@1", "majority@2", "beam@3"]
    assert scaling.score == "own" and scaling.references == {"base": "majority@2"}


def test_differences_are_paired_to_the_cheapest_majority_and_claimed_together(run: Path):
    rows = {row.method: row for row in scaling_of(gather(run), "exam").checkpoints["base"]}
    two_P = (1 + EVEN_P) / 2  # votes of two samples
    assert rows["majority@2"].difference is None and rows["pass@4"].difference is None and rows["pass@4"].ceiling
    told = {name: row.difference for name, row in rows.items() if row.difference is not None}
    alone = difference_over_problems(np.ones(PROBLEMS), two_P)
    found = told["beam@3"]
    assert found is not None and (found.mean, found.low, found.high) == (alone.mean, alone.low, alone.high)
    values = {
        "greedy (direct)": np.zeros(PROBLEMS),
        "greedy": EVEN_P,
        "pass@1": (2 + EVEN_P) / 4,
        "beam@3": np.ones(PROBLEMS),
        "best_own@4": np.ones(PROBLEMS),
        "majority@4": np.array([row for row in np.where(EVEN_P > 0, 1.0, rows["majority@4"].accuracy.mean * 2 - 1)]),
    }
    expected = together([difference_over_problems(each, two_P) for each in values.values()])
    assert {name: told[name].p_value for name in values} == {
        name: one.p_value for name, one in zip(values, expected, strict=True)
    }


def with_model(facts: Facts, folder: Path) -> Facts:
    """The same facts, and the checkpoint's model at hand."""
    folder.mkdir()
    (folder / CONFIG).write_text(json.dumps(to_json(MODEL)))
    artifact = Artifact(folder, "checkpoint", "base", "", {})
    return replace(facts, stages=(*facts.stages, StageFacts("base", "", artifact, {})))


def test_flops_are_those_of_each_token_over_all_before_it_and_of_scorers(run: Path, tmp_path: Path):
    facts, prompt = gather(run), 7
    [evaluation] = facts.evaluations

    def read(row: Replies) -> Replies:
        judged = {"steps": {"prm": ((0.5,),)}, "reads": {"prm": ((20, 1e6),)}} if row.method == "beam@3" else {}
        return replace(row, prompt=prompt, **judged)

    samples = {
        checkpoint: {number: [read(row) for row in rows] for number, rows in by_problem.items()}
        for checkpoint, by_problem in evaluation.samples.items()
    }
    facts = replace(facts, evaluations=(replace(evaluation, samples=samples),))
    scaling = scaling_of(with_model(facts, tmp_path / "base"), "exam")
    rows = {row.method: row for row in scaling.checkpoints["base"]}
    # Width 16, two heads of 8, an MLP of 32, one layer, 80 ids: two operations a weight, and four a pair of places.
    weights = 4 * 16 * 16 + 2 * 16 * 32 + 16 * 80
    reading = prompt * (2 * weights + 4 * 16 * prompt)
    reply = sum(2.0 * weights + 4 * 16 * (prompt + place) for place in range(1, 11))
    assert rows["pass@1"].flops == pytest.approx(reading + reply)
    assert rows["majority@4"].flops == pytest.approx(reading + 4 * reply)
    beams = sum(2.0 * weights + 4 * 16 * (prompt + place) for place in range(1, 10)) / 9 * 33
    assert rows["beam@3"].flops == pytest.approx(reading + beams + 1e6)
    assert rows["beam@3"].frontier and not rows["beam@3"].cheapest and rows["greedy"].cheapest


def test_bins_of_difficulty_hold_equally_many_problems_the_hardest_first(run: Path):
    scaling = scaling_of(gather(run), "exam", bins=2)
    rows = {row.method: row for row in scaling.checkpoints["base"]}
    # Of odd problems two samples of four are right, of even ones three; greedy is right where the number is even.
    assert [each.mean for each in rows["pass@1"].by_bin] == [0.5, 0.75]
    assert [each.mean for each in rows["greedy"].by_bin] == [0.0, 1.0] and rows["greedy"].by_bin[
        0
    ].count == PROBLEMS / 2


def test_an_exam_or_score_that_is_not_there_and_lost_replies_or_settings_are_named(run: Path, tmp_path: Path):
    facts = gather(run)
    with pytest.raises(InputError, match="the run has no finished exam final; it has exam"):
        scaling_of(facts, "final")
    with pytest.raises(InputError, match="the exam exam has no score other; it has own"):
        scaling_of(facts, "exam", "other")
    copy = write_scaling_run(tmp_path / "run")
    place = place_of(copy, "exam")
    rows = (place / "samples.jsonl").read_text().splitlines(keepends=True)
    (place / "samples.jsonl").write_text("".join(rows[:-1]))
    with pytest.raises(InputError, match="exam has lost replies of base by beam@3; evaluate again"):
        scaling_of(gather(copy), "exam")
    record = json.loads((place / "artifact.json").read_text())
    record["settings"]["methods"] = [{"@": "nowhere.Search"}]
    stages = tuple(replace(stage, record=record) for stage in facts.stages)
    with pytest.raises(InputError, match="a method of exam can't be told: .*start where its module lies"):
        scaling_of(replace(facts, stages=stages), "exam")
