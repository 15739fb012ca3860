"""The experiments on where thinking helps, and mathematics in conversation: each reads, and runs through in small."""

import json
from pathlib import Path

import pytest
from gguf_file import write
from miniature import ROOT
from shipped import run_shipped

from reasoning.experiment.reader import read_experiment
from reasoning.pipeline.graph import build_graph
from reasoning.pipeline.run_experiment import run_of
from reasoning.pipeline.sweeps.arms import expand_sweep
from reasoning.use.run_folder import open_run

EXPERIMENTS = ROOT / "experiments"
QUIZ = {"quiz.max_new_tokens": 16, "quiz.batch": 8}
TINY = QUIZ | {
    "chain_documents.count": 300,
    "cup_documents.count": 100,
    "capital_documents.count": 60,
    "base.steps": 12,
    "base_optimizer.warmup": 2,
    "quiz_problems.count": 8,
    "eight.samples": 2,
    "many_steps.checkpoints": "(base,)",
    "run.stages": "(base, many_steps)",
    "run.cpu_devices": 1,
}


@pytest.mark.parametrize("name", ["when_thinking_helps", "smollm2_thinking", "smollm2_math"])
def test_each_file_describes_its_stages(name):
    graph = build_graph(run_of(read_experiment(EXPERIMENTS / f"{name}.gin")).stages)
    assert "base" in graph


def test_a_finished_r1_tiny_is_gone_on_from():
    whole, twice = (
        build_graph(run_of(read_experiment(EXPERIMENTS / f"{name}.gin")).stages)
        for name in ("r1_tiny", "when_thinking_helps")
    )
    shared = [name for name in twice if name in whole]
    assert set(twice) - set(shared) == {"many_steps", "few_steps", "facts"}
    assert all(twice[name].stage == whole[name].stage for name in shared)


def test_sizes_of_emergence_grow_and_keep_their_shape():
    arms = expand_sweep(read_experiment(EXPERIMENTS / "sweeps" / "emergence.gin")).arms
    models = [arm.runs[0].experiment.part("tiny") for arm in arms]
    assert len(arms) >= 5 and all(len(arm.runs) >= 3 for arm in arms)
    assert all(small.width < large.width for small, large in zip(models, models[1:], strict=False))
    assert all(model.mlp_width == 4 * model.width for model in models)


@pytest.mark.slow
def test_kinds_of_questions_are_asked_step_by_step_and_at_once(tmp_path: Path):
    run_shipped("when_thinking_helps.gin", TINY, tmp_path / "run")
    report = (tmp_path / "run" / "report.md").read_text()
    assert "many_steps: lenient in one prompt style less another" in report and "base: think − direct" in report


@pytest.mark.slow
def test_mathematics_is_examined_by_level(tmp_path: Path):
    write(tmp_path / "model.gguf")
    rows = [
        {
            "problem": f"What is {n}+1?",
            "level": f"Level {n % 2}",
            "type": "Algebra",
            "solution": rf"$\boxed{{{n + 1}}}$",
        }
        for n in range(100)
    ]
    (tmp_path / "math.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    given = QUIZ | {
        "model": f"'{tmp_path / 'model.gguf'}'",
        "problems_file": f"'{tmp_path / 'math.jsonl'}'",
        "problems.columns": "@tasks.math_columns.MATH",
        "asked.count": 4,
        "quiz.samples": 4,
        "samples.ks": "(4,)",
        "samples.votes": "(4,)",
        "run.cpu_devices": 1,
    }
    run_shipped("smollm2_math.gin", given, tmp_path / "run")
    results = open_run(tmp_path / "run")["exam"].results
    assert {"base/math/pass@1", "base/math/majority@4", "base/math/greedy"} <= set(results)
