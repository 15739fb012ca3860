"""What an evaluation's checkpoints answered, problem by problem: the ground that comparisons stand on."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from reasoning.core.statistics import Interval, difference_over_problems
from reasoning.report.stages import Complaints, is_number, rows
from reasoning.report.table import Evaluation


@dataclass(frozen=True)
class Answered:
    """One checkpoint's replies to one problem: the greedy one with its scores, and each score's values over samples."""

    problem: int
    question: str
    answer: str
    kind: str
    greedy: str
    scores: Mapping[str, float]
    samples: Mapping[str, tuple[float, ...]]


Samples = Mapping[str, Mapping[int, Answered]]
"""Checkpoint -> problem's number -> what was answered."""


def read_samples(evaluation: Evaluation, complaints: Complaints) -> dict[str, dict[int, Answered]]:
    """All that ``samples.jsonl`` holds; a damaged row is left out and said."""
    file = evaluation.artifact.path / "samples.jsonl"
    if not file.exists():
        complaints.add(f"{file} does not exist; replies and paired differences of {evaluation.stage} are left out")
    found: dict[str, dict[int, Answered]] = {}
    for line, row in enumerate(rows(file, complaints), start=1):
        answered = _answered(row)
        if answered is None:
            complaints.add(f"{file}:{line} is not a row of replies; it is left out")
        else:
            found.setdefault(str(row["checkpoint"]), {})[answered.problem] = answered
    return found


def difference(samples: Samples, later: str, earlier: str, score: str, kind: str | None = None) -> Interval | None:
    """How much more of ``score`` (a mean over samples, in 0..1) ``later`` has, paired over the problems of ``kind``.

    None where the two didn't answer two problems or more in common, or where the score isn't a share.
    """
    left, right = samples.get(later, {}), samples.get(earlier, {})
    common = [
        number
        for number in sorted(left.keys() & right.keys())
        if left[number].question == right[number].question and kind in (None, left[number].kind)
    ]
    pairs = [(left[number].samples.get(score), right[number].samples.get(score)) for number in common]
    means = np.array([(np.mean(first), np.mean(second)) for first, second in pairs if first and second])
    if len(means) < 2 or means.min() < 0 or means.max() > 1:
        return None
    return difference_over_problems(means[:, 0], means[:, 1])


def kinds_of(samples: Samples) -> tuple[str, ...]:
    """The kinds of the problems, in the order of their numbers."""
    every = {number: row.kind for answered in samples.values() for number, row in answered.items()}
    return tuple(dict.fromkeys(every[number] for number in sorted(every)))


def _answered(row: Mapping[str, Any]) -> Answered | None:
    texts = [row.get(name) for name in ("checkpoint", "question", "answer", "kind", "greedy")]
    number, scores, samples = row.get("problem"), row.get("scores"), row.get("sample_scores", {})
    if not isinstance(number, int) or not isinstance(scores, dict) or not isinstance(samples, dict):
        return None
    if not all(isinstance(text, str) for text in texts):
        return None
    return Answered(
        problem=number,
        question=row["question"],
        answer=row["answer"],
        kind=row["kind"],
        greedy=row["greedy"],
        scores={name: float(value) for name, value in scores.items() if is_number(value)},
        samples={
            name: tuple(float(value) for value in values)
            for name, values in samples.items()
            if isinstance(values, list) and all(is_number(value) for value in values)
        },
    )
