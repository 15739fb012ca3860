"""Reinforcement learning on programs, in miniature: what is rewarded is what Python says of the programs written."""

import json
import re
from pathlib import Path

import pytest
from shipped import run_shipped

from reasoning.tasks.problems import Problem
from reasoning.tasks.program_synthesis import ProgramSynthesis

OVERRIDES = {
    # Seventeen functions, answered at once: in a few steps a model writes Python, and now and then it guesses right.
    "programs.families": "('line',)",
    "programs.maximum_slope": 1,
    "programs.maximum_value": 5,
    "writer.steps": 0.0,
    "writer.tagged": 0.0,
    "writer.drill": 0.0,
    "writer.direct": 0.0,
    "writer.chat": 1.0,
    "documents.count": 600,
    "base.steps": 60,
    "base_optimizer.warmup": 10,
    "zero.rewards": "(right,)",
    "zero.reward_weights": "(1.0,)",
    "zero.steps": 2,
    "zero.questions": 4,
    "zero.samples": 4,
    "zero.max_new_tokens": 12,
    "train_problems.count": 24,
    "quiz_problems.split": "'train'",  # none of so few functions is held out
    "quiz_problems.count": 8,
    "quiz.samples": 4,
    "quiz.batch": 8,
    "quiz.max_new_tokens": 12,
    "samples.ks": "(4,)",
    "exam.checkpoints": "(base, zero)",
    "exam.styles": "()",
    "run.stages": "(base, zero, exam)",
    "run.cpu_devices": 1,
}


def passes(text: str, tests: list[dict]) -> bool:
    """What Python itself says of a reply, without any sandbox: the model has only ever seen one kind of program."""
    found = re.fullmatch(r"<answer>(f=lambda x:[-+*x0-9]+)</answer>", text)
    if found is None:
        return False
    names: dict = {}
    try:
        exec(found[1], names)
        return all(names["f"](*test["arguments"]) == test["result"] for test in tests)
    except (SyntaxError, NameError, TypeError):
        return False


@pytest.mark.slow
def test_programs_of_rollouts_and_exams_are_executed(tmp_path: Path):
    run_shipped("code_tiny.gin", OVERRIDES, tmp_path / "run")
    task = ProgramSynthesis(families=("line",), maximum_slope=1, maximum_value=5)
    asked: dict[str, Problem] = {problem.question: problem for problem in task.problems("train", 8, 0)}
    (samples,) = (tmp_path / "run" / "artifacts").glob("exam-*/samples.jsonl")
    scored = []
    for line in samples.read_text().splitlines():
        row = json.loads(line)
        columns = asked[row["question"]].columns
        for column, name in (("tests", "code"), ("examples", "code_examples")):
            right = [passes(text, columns[column]) for text in row["texts"]]
            assert row["scores"][name] == [float(each) for each in right]
            scored += right
    assert 0 < sum(scored) < len(scored)
