import io
import shutil
from dataclasses import replace

import pytest
from rich.console import Console
from written_run import place_of, with_results

from reasoning.core.errors import InputError
from reasoning.evaluation.results import Score
from reasoning.findings.facts import gather
from reasoning.report.content import compose
from reasoning.report.markdown import markdown
from reasoning.report.terminal import show


def shown(facts, checkpoints=(), width=120):
    output = io.StringIO()
    show(Console(file=output, width=width), facts, checkpoints)
    return output.getvalue()


def test_every_stage_is_told_in_a_sentence_of_its_own(facts):
    lines = shown(facts, width=400).splitlines()
    starts = [line.partition(":")[0] for line in lines[: len(facts.stages)]]
    assert starts == [stage.name for stage in facts.stages]
    zero = facts.evaluations[0].checkpoints["zero"]["lenient/pass@1"].mean
    base = facts.evaluations[0].checkpoints["base"]["lenient/pass@1"].mean
    assert f"reinforcement learning alone lifted lenient pass@1 in exam from {base:.2f} to {zero:.2f} (+" in lines[2]


def test_ten_scores_of_each_checkpoint_fit_side_by_side_into_120_columns(facts):
    text = shown(facts)
    assert text.count("exam: 60 held-out problems") == text.count("students: 60 problems of the training split") == 1
    row = next(line for line in text.splitlines() if line.strip().startswith("llama_weak_kl "))
    assert row.count("±") == 10


@pytest.mark.parametrize("width", [40, 80])
def test_a_narrow_terminal_loses_and_breaks_no_number(facts, width):
    wide = {word for line in shown(facts).splitlines() for word in line.split() if "±" in word and word != "±"}
    narrow = shown(facts, width=width)
    assert all(word in narrow for word in wide)
    assert all(len(line) <= width for line in narrow.splitlines() if not line.startswith("missing"))


@pytest.mark.parametrize(
    ("low", "high", "cell"),
    [(0.48, 0.55, "0.50±.05"), (0.4997, 0.501, "0.50±.01"), (0.25, 0.7501, "0.50±.26"), (-20.0, 30.0, "0.50±30")],
)
def test_the_half_of_an_interval_is_the_wider_one_rounded_up(facts, low, high, cell):
    table = {"base": {"strict/pass@1": Score(0.5, low, high, 60)}}
    assert f" {cell} " in shown(replace(facts, evaluations=(with_results(facts.evaluations[0], checkpoints=table),)))


def test_what_was_not_graded_stands_under_its_score_alone(facts):
    table = {"base": {"strict/pass@1": Score(0.5, 0.48, 0.55, 60, 0.025), "length": Score(9.0, 8.0, 10.0, 60)}}
    lines = shown(replace(facts, evaluations=(with_results(facts.evaluations[0], checkpoints=table),))).splitlines()
    at = next(place for place, line in enumerate(lines) if "0.50±.05" in line)
    assert lines[at].split() == ["base", "0.50±.05", "9.0±1.0"]
    assert [line.split() for line in lines[at + 1 : at + 4]] == [["2.5", "%"], ["not"], ["graded"]]
    assert "graded" not in shown(facts)


def test_a_reward_that_jumped_alone_is_told_after_the_stages(facts):
    rows = tuple(
        {"step": step, "rewards/strict/mean": 0.4, "rewards/bonus/mean": 0.8 * (step > 30)} for step in range(1, 51)
    )
    fooled = replace(facts.stage("zero"), metrics=rows, record={})
    text = " ".join(shown(replace(facts, stages=(fooled,), evaluations=())).split())
    assert "zero: bonus jumped from 0.00 to 0.80 about step 31" in text and "(strict 0.40 → at most 0.40)" in text
    assert "jumped" not in shown(facts)


def test_three_problems_of_the_first_exam_show_three_models_side_by_side(facts):
    lines = shown(facts).splitlines()
    assert sum("right answer" in line for line in lines) == 3
    assert any(line.split() == ["base", "zero", "r1"] for line in lines)


def test_model_text_is_neither_markup_nor_terminal_code(facts):
    text = shown(facts)
    assert "\x1b" not in text and "\u202e" not in text and "<script>" in text


def test_other_checkpoints_can_be_chosen(facts):
    lines = shown(facts, ("qwen_sft", "r1")).splitlines()
    assert any(line.split() == ["qwen_sft", "r1"] for line in lines)


def test_unknown_checkpoints_and_those_of_different_exams_are_refused(facts):
    with pytest.raises(InputError, match="no checkpoint r2 in its evaluations; they examined base, zero"):
        shown(facts, ("base", "r2"))
    with pytest.raises(InputError, match="no evaluation examined all of base, qwen_sft"):
        shown(facts, ("base", "qwen_sft"))


def test_totals_and_what_is_missing_come_last(written, tmp_path):
    folder = shutil.copytree(written, tmp_path / "run")
    (place_of(folder, "exam") / "results.json").unlink()
    (place_of(folder, "students") / "results.json").write_text("{")
    lines = shown(gather(folder)).splitlines()
    assert lines[-3].startswith("In all ") and "FLOPs" in lines[-3]
    assert lines[-2].startswith("missing: artifacts/exam-") and "has lost its results" in lines[-2]
    assert lines[-1].startswith("missing: artifacts/students-") and "results.json:1" in lines[-1]


def test_where_the_time_went_stands_on_the_terminal_and_in_no_file(facts):
    assert "zero took 1.235e+05 s a step" in shown(facts)
    assert "1.235e+05" not in markdown(compose(facts)) and " s a step" not in markdown(compose(facts))
