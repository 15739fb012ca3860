import json
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from reasoning.core.artifact import Artifact
from reasoning.report.samples import difference, kinds_of, read_samples
from reasoning.report.stages import Complaints
from reasoning.report.table import Evaluation


def read(folder, rows):
    (folder / "samples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    missing = []
    evaluation = Evaluation("exam", Artifact(folder, "results", "exam", "00", {}), {})
    return read_samples(evaluation, Complaints(folder, missing)), missing


def row(checkpoint, problem, *values, kind="sum", question=None):
    return {
        "checkpoint": checkpoint, "problem": problem, "question": question or f"q{problem}", "answer": "1",
        "kind": kind, "greedy": "g", "scores": {"strict": 1.0}, "sample_scores": {"strict": list(values)},
    }  # fmt: skip


def test_the_difference_is_student_t_over_the_problems_means(tmp_path):
    first, second = [[1, 1], [0, 1], [1, 0], [1, 1]], [[0, 1], [0, 0], [1, 0], [0, 0]]
    rows = [row("zero", k, *values) for k, values in enumerate(first)]
    rows += [row("base", k, *values) for k, values in enumerate(second)]
    samples, missing = read(tmp_path, rows)
    found = difference(samples, "zero", "base", "strict")
    expected = stats.ttest_1samp(np.mean(first, 1) - np.mean(second, 1), 0).confidence_interval()
    assert found.mean == pytest.approx(0.5) and found.count == 4 and missing == []
    assert (found.low, found.high) == pytest.approx((max(expected.low, -1), min(expected.high, 1)))


def test_only_problems_that_both_answered_and_that_are_the_same_count(tmp_path):
    rows = [row("zero", k, 1) for k in range(4)] + [row("base", k, 0) for k in (1, 2, 3)]
    rows[-1]["question"] = "another"
    assert difference(read(tmp_path, rows)[0], "zero", "base", "strict").count == 2


def test_one_kind_of_problem_can_be_compared_alone(tmp_path):
    rows = [row(name, k, float(name == "zero"), kind="ab"[k % 2]) for name in ("zero", "base") for k in range(6)]
    samples, _ = read(tmp_path, rows)
    assert kinds_of(samples) == ("a", "b")
    assert difference(samples, "zero", "base", "strict", "b").count == 3


def test_too_few_problems_no_samples_and_values_that_are_no_shares_give_none(tmp_path):
    rows = [row(name, k, 1) for name in ("zero", "base") for k in range(1)]
    assert difference(read(tmp_path, rows)[0], "zero", "base", "strict") is None
    rows = [row(name, k, 3) for name in ("zero", "base") for k in range(4)]
    samples, _ = read(tmp_path, rows)
    assert difference(samples, "zero", "base", "strict") is None
    assert difference(samples, "zero", "r1", "strict") is None and difference(samples, "zero", "base", "x") is None


def test_a_damaged_row_is_left_out_and_named(tmp_path):
    samples, missing = read(tmp_path, [row("base", 0, 1), row("base", 1, 1) | {"greedy": None}])
    assert list(samples["base"]) == [0] and missing == ["samples.jsonl:2 is not a row of replies; it is left out"]


def test_missing_samples_are_said(facts, tmp_path):
    missing = []
    lost = replace(facts.evaluations[0].artifact, path=tmp_path)
    assert read_samples(replace(facts.evaluations[0], artifact=lost), Complaints(tmp_path, missing)) == {}
    assert "samples.jsonl does not exist" in missing[0]
