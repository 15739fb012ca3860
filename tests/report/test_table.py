import json

import pytest

from reasoning.core.artifact import Artifact
from reasoning.core.errors import InputError
from reasoning.report.table import Score, evaluations


def score(mean, n=8):
    return {"mean": mean, "low": mean - 0.1, "high": mean + 0.1, "n": n}


def write(folder, checkpoints):
    (folder / "results.json").write_text(json.dumps({"checkpoints": checkpoints}))
    return Artifact(folder, "results", "exam", "00", {})


def test_scores_keep_their_order_and_numbers(tmp_path):
    artifact = write(tmp_path, {"base": {"strict": score(0.2)}, "zero": {"lenient": score(0.9), "strict": score(0.8)}})
    (evaluation,) = evaluations([artifact])
    assert list(evaluation.checkpoints) == ["base", "zero"]
    assert evaluation.scores() == ("strict", "lenient")
    assert evaluation.checkpoints["zero"]["lenient"] == Score(0.9, 0.8, 1.0, 8)
    assert evaluation.problems() == 8


def test_an_artifact_without_results_is_no_evaluation(tmp_path):
    assert evaluations([Artifact(tmp_path, "checkpoint", "base", "00", {})]) == ()


@pytest.mark.parametrize(
    ("settings", "split"),
    [({"exam": {"problems": {"split": "train"}}}, "train"), ({"exam": 3}, ""), (None, "")],
)
def test_the_split_of_the_problems_is_known_as_far_as_settings_say(tmp_path, settings, split):
    artifact = write(tmp_path, {"base": {"strict": score(0.2)}})
    if settings is not None:
        (tmp_path / "artifact.json").write_text(json.dumps({"settings": settings}))
    assert evaluations([artifact])[0].split == split


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


def test_scores_by_kind_and_by_prompt_are_read_and_may_be_absent(tmp_path):
    artifact = write(tmp_path, {"base": {"strict": score(0.2)}})
    assert evaluations([artifact])[0].kinds == {} == evaluations([artifact])[0].prompts
    parts = {"base": {"chains": {"strict": score(0.3)}}}
    (tmp_path / "results.json").write_text(json.dumps({"checkpoints": {}, "kinds": parts, "prompts": parts}))
    (evaluation,) = evaluations([artifact])
    assert (
        evaluation.kinds["base"]["chains"]["strict"].mean == evaluation.prompts["base"]["chains"]["strict"].mean == 0.3
    )


@pytest.mark.parametrize("kinds", [[], {"base": 1}, {"base": {"chains": 1}}, {"base": {"chains": {"strict": {}}}}])
def test_damaged_parts_are_refused_by_name(tmp_path, kinds):
    artifact = write(tmp_path, {})
    (tmp_path / "results.json").write_text(json.dumps({"checkpoints": {}, "kinds": kinds}))
    with pytest.raises(InputError, match=r"results\.json: kinds"):
        evaluations([artifact])
