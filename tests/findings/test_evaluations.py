from dataclasses import replace

import numpy as np
import pytest

from reasoning.core.artifact import Artifact
from reasoning.core.errors import InputError
from reasoning.core.statistics import difference_over_problems
from reasoning.evaluation.results import RESULTS, SAMPLES, Replies, Results, Score, write_results, write_samples
from reasoning.findings.evaluations import Evaluation, difference, evaluation_of, kinds_of, sampled, single


def artifact(folder, kind="results"):
    return Artifact(folder, kind, "exam", "00", {})


def row(checkpoint, problem, *values, kind="sum", question=None, method="samples", style=""):
    return Replies(
        checkpoint=checkpoint, problem=problem, question=question or f"q{problem}", answer="1", kind=kind,
        method=method, style=style, texts=("t",) * len(values), lengths=(1,) * len(values),
        log_probs=(-1.0,) * len(values), answers=("1",) * len(values), scores={"strict": tuple(map(float, values))},
    )  # fmt: skip


def read(folder, rows=None):
    """The replies of an evaluation with these rows (None: with what lies there), and the complaints about them."""
    write_results(folder, Results({}))
    if rows is not None:
        write_samples(folder / SAMPLES, rows)
    missing = []
    return evaluation_of(artifact(folder), missing.append).samples, missing


def test_an_evaluation_is_its_stage_and_its_results(tmp_path):
    written = Results({"base": {"strict/pass@1": Score(0.2, 0.1, 0.3, 8)}}, split="test")
    write_results(tmp_path, written)
    found = evaluation_of(artifact(tmp_path))
    assert (found.stage, found.results, found.samples, found.restyled) == ("exam", written, {}, {})


def test_an_artifact_without_results_is_no_evaluation(tmp_path):
    assert evaluation_of(artifact(tmp_path, "checkpoint")) is None


def test_damaged_results_are_refused_by_file(tmp_path):
    (tmp_path / RESULTS).write_text('{"checkpoints": {"base": 3}}')
    with pytest.raises(InputError, match=r"results\.json"):
        evaluation_of(artifact(tmp_path))


def test_different_numbers_of_problems_are_not_called_one():
    scores = {"a": Score(0.1, None, None, 8), "b": Score(0.1, None, None, 8)}
    assert Evaluation("exam", Results({"base": scores})).problems() == 8
    assert Evaluation("exam", Results({"base": scores | {"b": Score(0.1, None, None, 9)}})).problems() is None


def test_the_difference_is_taken_over_the_problems_means(tmp_path):
    first, second = [[1, 1], [0, 1], [1, 0], [1, 1]], [[0, 1], [0, 0], [1, 0], [0, 0]]
    rows = [row("zero", k, *values) for k, values in enumerate(first)]
    rows += [row("base", k, *values) for k, values in enumerate(second)]
    samples, missing = read(tmp_path, rows)
    found = difference(samples, "zero", "base", "strict")
    assert found.mean == pytest.approx(0.5) and found.count == 4 and missing == []
    assert found == difference_over_problems(np.mean(first, 1), np.mean(second, 1))


def test_only_problems_that_both_answered_and_that_are_the_same_count(tmp_path):
    rows = [row("zero", k, 1) for k in range(4)] + [row("base", k, 0) for k in (1, 2)]
    rows.append(row("base", 3, 0, question="another"))
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


def test_means_are_over_the_method_with_the_most_replies_and_one_reply_is_the_first_method_s_with_the_fewest(tmp_path):
    rows = [
        row("base", 0, 1, method="greedy"),
        row("base", 0, 0, 1, 1),
        row("base", 0, 0, method="mine"),
        row("base", 0, 0, 0, 0, 0, style="think"),
    ]
    [answered] = read(tmp_path, rows)[0]["base"].values()
    assert [each.method for each in answered] == ["greedy", "samples", "mine"]  # other styles aren't compared
    assert sampled(answered).method == "samples" and single(answered).method == "greedy"


def test_a_damaged_row_is_left_out_and_named(tmp_path):
    samples, missing = read(tmp_path, [row("base", 0, 1), replace(row("base", 1, 1), kind=3)])
    assert list(samples["base"]) == [0]
    assert f"{tmp_path}/samples.jsonl:2 is not a row of replies" in missing[0] and "left out" in missing[0]


def test_of_many_damaged_rows_some_are_named_and_the_others_counted(tmp_path):
    (tmp_path / SAMPLES).write_text('{"greedy": "of another version"}\n' * 500)
    samples, missing = read(tmp_path)
    assert samples == {} and len(missing) == 4 and missing[-1].endswith("samples.jsonl: 497 more rows are left out")


def test_missing_samples_are_said_where_they_are_asked_for(tmp_path):
    samples, missing = read(tmp_path)
    assert samples == {} and "samples.jsonl does not exist" in missing[0]
    assert evaluation_of(artifact(tmp_path)).samples == {}
