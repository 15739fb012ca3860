import io
import json

import pytest
from rich.console import Console

from reasoning.core.artifact import Artifact
from reasoning.report.terminal import show


@pytest.fixture
def exam(tmp_path):
    names = ("base", "zero")
    scores = {"strict": {"mean": 0.125, "low": 0.0625, "high": 0.25, "n": 64}}
    results = {"checkpoints": {name: {"strict": scores["strict"]} for name in names}}
    (tmp_path / "results.json").write_text(json.dumps(results))
    rows = [
        {
            "checkpoint": name, "problem": problem, "question": f"{problem}+1?", "answer": f"{problem + 1}",
            "kind": "sum", "greedy": f"{name} says [bold]{problem}[/bold] \x1b[2J\u202e", "samples": [],
            "scores": {"strict": 0.5},
        }
        for name in names for problem in range(5)
    ]  # fmt: skip
    (tmp_path / "samples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return Artifact(tmp_path, "results", "exam", "00", {"strict": 0.125})


def shown(artifacts, checkpoints=(), width=100):
    output = io.StringIO()
    show(Console(file=output, width=width), artifacts, checkpoints)
    return output.getvalue()


def test_scores_appear_with_their_interval_and_problem_count(exam):
    text = shown([exam])
    assert "0.125" in text and "0.062–0.250" in text and "64 held-out problems" in text


def test_three_problems_show_both_models_side_by_side(exam):
    lines = shown([exam]).splitlines()
    assert sum("right answer" in line for line in lines) == 3
    assert any("base says" in line and "zero says" in line for line in lines)


def test_model_text_is_neither_markup_nor_terminal_code(exam):
    text = shown([exam])
    assert "[bold]0[/bold]" in text
    assert "\x1b" not in text and "\u202e" not in text


def test_other_checkpoints_can_be_chosen(exam):
    assert "zero says" not in shown([exam], ("base",))


def test_a_run_without_evaluation_still_lists_its_stages(tmp_path):
    text = shown([Artifact(tmp_path, "checkpoint", "base", "00", {"loss": 1.25})])
    assert "base" in text and "loss 1.25" in text and "right answer" not in text


def test_a_narrow_terminal_loses_no_number(exam):
    text = shown([exam], width=40)
    assert "0.125" in text and "0.062–0.250" in text


@pytest.mark.parametrize("width", [40, 80, 120])
def test_many_scores_are_split_into_tables_that_fit_without_breaking_a_number(tmp_path, width):
    names = [f"score{number}/mean@16" for number in range(9)]
    scores = {name: {"mean": 0.5, "low": 0.25, "high": 0.75, "n": 64} for name in names}
    scores["length"] = {"mean": 122.4, "low": 116.5, "high": 128.25, "n": 64}
    (tmp_path / "results.json").write_text(json.dumps({"checkpoints": {"base": scores}}))
    text = shown([Artifact(tmp_path, "results", "exam", "00", {})], width=width)
    assert text.count("0.250–0.750") == 9 and "116.5–128.2" in text and text.count("mean@16") == 9
