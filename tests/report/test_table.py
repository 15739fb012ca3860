import json

import pytest

from reasoning.core.artifact import Artifact
from reasoning.core.errors import InputError
from reasoning.report.table import Score, compare, default_choice, evaluations


def score(mean, n=8):
    return {"mean": mean, "low": mean - 0.1, "high": mean + 0.1, "n": n}


def sample(checkpoint, problem, greedy="r"):
    return {
        "checkpoint": checkpoint, "problem": problem, "question": f"q{problem}", "answer": "1", "kind": "sum",
        "greedy": greedy, "samples": [], "scores": {"strict": 1.0},
    }  # fmt: skip


def write(folder, checkpoints, samples=()):
    (folder / "results.json").write_text(json.dumps({"checkpoints": checkpoints}))
    (folder / "samples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in samples))
    return Artifact(folder, "results", "exam", "00", {})


def test_scores_keep_their_order_and_numbers(tmp_path):
    artifact = write(tmp_path, {"base": {"strict": score(0.2)}, "zero": {"lenient": score(0.9), "strict": score(0.8)}})
    (evaluation,) = evaluations([artifact])
    assert list(evaluation.checkpoints) == ["base", "zero"]
    assert evaluation.scores() == ("strict", "lenient")
    assert evaluation.checkpoints["zero"]["lenient"] == Score(0.9, 0.8, 1.0, 8)
    assert evaluation.problems() == 8


def test_at_most_three_checkpoints_are_compared_unasked(tmp_path):
    names = ("base", "zero", "cold", "r1")
    for count, expected in ((0, ()), (2, names[:2]), (3, names[:3]), (4, ("base", "zero", "r1"))):
        (evaluation,) = evaluations([write(tmp_path, {name: {"a": score(0.1)} for name in names[:count]})])
        assert default_choice(evaluation) == expected


def test_an_artifact_without_results_is_no_evaluation(tmp_path):
    assert evaluations([Artifact(tmp_path, "checkpoint", "base", "00", {})]) == ()


def test_different_numbers_of_problems_are_not_called_one(tmp_path):
    (evaluation,) = evaluations([write(tmp_path, {"base": {"a": score(0.1, 8), "b": score(0.1, 9)}})])
    assert evaluation.problems() is None


@pytest.mark.parametrize(
    "checkpoints",
    [None, [], {"base": 3}, {"base": {"strict": {"mean": 1}}}, {"base": {"strict": "x"}}],
)
def test_damaged_results_are_refused_by_file(tmp_path, checkpoints):
    with pytest.raises(InputError, match=r"results\.json"):
        evaluations([write(tmp_path, checkpoints)])


def test_compared_problems_are_the_first_that_all_answered(tmp_path):
    samples = [sample("base", 2), sample("base", 0), sample("zero", 3), sample("zero", 2, "z"), sample("base", 3)]
    (evaluation,) = evaluations([write(tmp_path, {"base": {}, "zero": {}}, samples)])
    found = compare(evaluation, ("base", "zero"), 5)
    assert [item.problem for item in found] == [2, 3]
    assert found[0].replies["zero"].text == "z"
    assert [item.problem for item in compare(evaluation, ("base",), 1)] == [0]


def test_an_unknown_checkpoint_is_named_with_the_known_ones(tmp_path):
    (evaluation,) = evaluations([write(tmp_path, {"base": {}, "zero": {}})])
    with pytest.raises(InputError, match="no checkpoint r1; it evaluated base, zero"):
        compare(evaluation, ("base", "r1"), 1)


def test_a_damaged_sample_is_named_by_line(tmp_path):
    rows = [sample("base", 0), sample("base", 1) | {"greedy": None}]
    (evaluation,) = evaluations([write(tmp_path, {"base": {}}, rows)])
    with pytest.raises(InputError, match=r"samples\.jsonl:2: 'greedy'"):
        compare(evaluation, ("base",), 1)
