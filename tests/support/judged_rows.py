"""Files of completions as stages leave them, small enough to read: rollouts of two groups, and rows of replies."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from reasoning.evaluation.results import Replies
from reasoning.generation.engine import Rollouts
from reasoning.rollouts.record import Judged, rollout_table
from reasoning.tasks.problems import Problem
from reasoning.training.metrics import rollouts_file

PROBLEMS = (Problem("1+1?", "2", "sums"), Problem("Capital of France?", "Paris", "facts"))
TEXTS = [["2", "three", "4"], ["Paris", "\x1b[2JRome", "[red]Oslo[/red]"]]
REWARDS = np.array([[1.1, 0.0, 0.1], [1.0, 0.0, -0.5]])


def write_step(folder: Path, step: int, judged: bool = True, judgements: dict[str, np.ndarray] | None = None) -> None:
    """A step's file with two groups of three; without ``judgements`` it is as files were before there were verdicts."""
    lengths = np.array([[2, 3, 2], [2, 2, 2]])
    rollouts = Rollouts(np.zeros((2, 3, 3)), np.full((2, 3, 3), -1.5), lengths, lengths > 2)
    values = {"strict": (REWARDS >= 1).astype(float), "tagged": np.array([[1.0, 0, 1], [np.nan] * 3])}
    advantages = REWARDS - REWARDS.mean(1, keepdims=True)
    given = Judged(values, REWARDS, advantages, judgements=judgements or {}) if judged else Judged()
    file = rollouts_file(folder, step)
    file.parent.mkdir(exist_ok=True)
    pq.write_table(rollout_table(step, PROBLEMS, rollouts, TEXTS, given), file)


def replies(checkpoint: str = "base", problem: int = 0, method: str = "samples", **changes: Any) -> Replies:
    row = Replies(
        checkpoint=checkpoint, problem=problem, question=f"{problem}+1?", answer="2", kind="sums", method=method,
        texts=("2", "3"), lengths=(3, 4), log_probs=(-1.0, -2.0), answers=("2", "3"), scores={"strict": (1.0, 0.0)},
    )  # fmt: skip
    return replace(row, **changes)


def one(text: str) -> dict[str, Any]:
    return {"texts": (text,), "lengths": (3,), "log_probs": (-1.0,), "answers": (None,), "scores": {"strict": (0.5,)}}
