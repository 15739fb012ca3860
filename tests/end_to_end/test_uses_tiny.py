"""Classification and extraction in miniature: what an exam says of them is what its replies are, counted again.

Of those on a real model, which isn't here: that their files can be read, and that rewards can judge their problems.
"""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from miniature import ROOT
from shipped import run_shipped

from reasoning.core.errors import InputError
from reasoning.evaluation.exam import Exam
from reasoning.experiment.reader import read_experiment
from reasoning.generation.prompts import prompt_text
from reasoning.rollouts.rating import check_judged

CLASSIFY = {
    "documents.count": 600,
    "base.steps": 60,
    "base_optimizer.warmup": 10,
    "train_problems.count": 64,
    "quiz_problems.count": 24,
    "quiz.samples": 2,
    "quiz.batch": 24,
    "sft.steps": 2,
    "sft.batch": 4,
    "grpo.steps": 2,
    "grpo.questions": 4,
    "grpo.samples": 4,
    "run.cpu_devices": 1,
}
EXTRACT = {
    **CLASSIFY,
    "quiz.max_new_tokens": 40,
    "grpo.max_new_tokens": 40,
    "samples.votes": "(2,)",
    "exam.checkpoints": "(base, grpo)",
    "run.stages": "(base, grpo, exam)",
}


def results_of(out: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What the exam found, and the replies that it found it in."""
    (folder,) = (out / "artifacts").glob("exam-*")
    rows = [json.loads(line) for line in (folder / "samples.jsonl").read_text().splitlines()]
    return json.loads((folder / "results.json").read_text()), rows


@pytest.mark.slow
def test_the_columns_of_a_classification_are_those_of_its_replies(tmp_path: Path):
    run_shipped("classify_tiny.gin", CLASSIFY, tmp_path / "run")
    results, rows = results_of(tmp_path / "run")
    for stage in ("base", "sft", "grpo"):
        own = [row for row in rows if row["checkpoint"] == stage and row["method"] == "likelihood"]
        pairs = [(row["answer"], row["answers"][0]) for row in own]
        scores = results["checkpoints"][stage]
        assert scores["label/likelihood"]["mean"] == pytest.approx(sum(a == b for a, b in pairs) / len(pairs))
        labels, counts = (results["confusions"][stage]["likelihood"][name] for name in ("labels", "counts"))
        told = {
            (one, other): n
            for one, row in zip(labels, counts, strict=True)
            for other, n in zip(labels, row[:-1], strict=True)
        }
        assert {pair: n for pair, n in told.items() if n} == Counter(pairs)
        assert {row[-1] for row in counts} == {0}
        for row in own:
            assert sum(row["probabilities"].values()) == pytest.approx(1) and len(row["probabilities"]) == 3
            assert max(row["probabilities"], key=row["probabilities"].get) == row["answers"][0]
        assert "calibration_error/greedy" not in scores
        for name in ("macro_f1/greedy", "macro_f1/samples", "macro_f1/likelihood", "calibration_error/likelihood"):
            assert 0 <= scores[name]["low"] <= scores[name]["mean"] <= scores[name]["high"] <= 1
    report = (tmp_path / "run" / "report.md").read_text()
    assert "exam: what grpo gave by likelihood (columns) for each right answer (rows)" in report


@pytest.mark.slow
def test_records_of_an_extraction_are_what_json_reads(tmp_path: Path):
    run_shipped("extract_tiny.gin", EXTRACT, tmp_path / "run")
    _, rows = results_of(tmp_path / "run")
    shared = []
    for row in rows:
        right = json.loads(row["answer"])
        for text, exact, by_field in zip(row["texts"], row["scores"]["record"], row["scores"]["field_f1"], strict=True):
            inside = text.rpartition("<answer>")[2].replace("</answer>", "")
            try:
                given = json.loads(inside)
            except ValueError:
                given = None
            if not isinstance(given, dict):
                assert exact == by_field == 0.0
                continue
            shared.append(by_field)
            if json.dumps(given, sort_keys=True) == json.dumps(right, sort_keys=True) and inside.count(":") == 4:
                assert exact == by_field == 1.0
            else:
                assert exact == 0.0 and by_field < 1.0
    assert shared and max(shared) > 0


def quiz_of(name: str, *overrides: str) -> Exam:
    """The exam of a shipped file, whose rewards can judge its problems."""
    quiz = read_experiment(ROOT / "experiments" / name, overrides).part("quiz")
    assert isinstance(quiz, Exam)
    check_judged((*quiz.scores, *quiz.rates), quiz.problems)
    return quiz


def test_the_classification_of_reviews_asks_for_one_of_its_labels_and_wants_its_file(tmp_path: Path):
    with pytest.raises(InputError, match=r"there is no file .*reviews.jsonl with questions"):
        quiz_of("smollm2_classify.gin", f"reviews.path='{tmp_path / 'reviews.jsonl'}'")
    rows = [{"text": f"Sentence {n}.", "label": ("negative", "neutral", "positive")[n % 3]} for n in range(90)]
    (tmp_path / "reviews.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    quiz = quiz_of("smollm2_classify.gin", f"reviews.path='{tmp_path / 'reviews.jsonl'}'", "asked.count=4")
    problem = quiz.problems.problems()[0]
    asked = prompt_text(quiz.style, quiz.chat, problem.question)
    assert all(label in asked for label in ("negative", "neutral", "positive")) and problem.source in asked
    assert asked.endswith("<|im_start|>assistant\n")


def test_the_extraction_from_cities_shows_its_schema_and_an_example_of_the_reply():
    quiz = quiz_of("smollm2_extract.gin", "asked.count=4")
    problem = quiz.problems.problems()[0]
    lines = prompt_text(quiz.style, quiz.chat, problem.question).split("\n")
    assert [line.partition(":")[0] for line in lines] == ["Text", "Fields", "JSON"] * 2
    assert lines[1] == lines[4] and json.loads(lines[4].removeprefix("Fields: ")) == problem.columns["schema"]
    shown = json.loads(lines[2].removeprefix("JSON: "))
    assert list(shown) == list(problem.columns["schema"]) == list(json.loads(problem.answer))
