"""Accuracy against tokens: what each method reached and took, what is on the frontier, and what may be claimed."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scaling_run import PROBLEMS, write_scaling_run
from written_run import place_of

from reasoning.core.errors import InputError
from reasoning.core.statistics import difference_over_problems, together
from reasoning.report.facts import gather
from reasoning.report.scaling import scaling_grids, scaling_of

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


def test_the_tables_say_what_can_not_be_told(run: Path):
    [grid] = scaling_grids(scaling_of(gather(run), "exam"))
    assert grid.columns == ("method", "tokens a problem", "own", "frontier", "less the reference")
    cells = {row[0].text: row for row in grid.rows}
    assert [cell.text for cell in cells["beam@3"][:4]] == ["beam@3", "33.0", "1.000", "*"]
    assert cells["beam@3"][4].text == "+25" and cells["best_own@4"][3].text == "–"
    assert cells["pass@4"][0].detail == "one of them is right"


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
