"""What evaluating stages found, and the replies by which checkpoints are compared, problem by problem."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from reasoning.core.artifact import Artifact
from reasoning.core.statistics import Interval, difference_over_problems
from reasoning.evaluation.results import (
    RESULTS,
    SAMPLES,
    Complain,
    Replies,
    Results,
    Scores,
    read_results,
    read_samples,
)

_SHOWN_COMPLAINTS = 3

Answered = Sequence[Replies]
"""One checkpoint's replies to one problem in one style, a row a method, in the order of the file."""

Samples = Mapping[str, Mapping[int, Answered]]
"""Checkpoint -> problem's number -> what was answered."""

AS_ASKED = ""
"""What rows of samples call the exam's own style."""


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What one evaluating stage found, and the replies that it kept; ``restyled`` are those in further styles.

    Equal only to itself, so that what was made of one is remembered by it.
    """

    stage: str
    results: Results
    samples: Samples = field(default_factory=dict)
    restyled: Mapping[str, Samples] = field(default_factory=dict)

    @property
    def checkpoints(self) -> Mapping[str, Scores]:
        """Checkpoint (a stage's name) -> column -> score, in the order of the file."""
        return self.results.checkpoints

    def problems(self) -> int | None:
        """How many problems every score was taken over, or None where they differ."""
        counts = {score.n for scores in self.checkpoints.values() for score in scores.values()}
        return counts.pop() if len(counts) == 1 else None


def evaluation_of(artifact: Artifact, complain: Complain | None = None) -> Evaluation | None:
    """What a stage's results say; None where it is no evaluation. Raises InputError where they are damaged.

    Replies are read where it is known how to ``complain``: a damaged row is left out and said.
    """
    if not (artifact.path / RESULTS).exists():
        return None
    results = read_results(artifact.path)
    samples = {} if complain is None else _samples(artifact, complain)
    own = samples.pop(AS_ASKED, {})
    return Evaluation(artifact.stage, results, own, samples)


def _samples(artifact: Artifact, complain: Complain) -> dict[str, Samples]:
    """The replies by style."""
    file, damaged = artifact.path / SAMPLES, list[str]()
    if not file.exists():
        complain(f"{file} does not exist; replies and paired differences of {artifact.stage} are left out")
    samples: dict[str, dict[str, dict[int, list[Replies]]]] = {}
    for row in read_samples(file, damaged.append):
        if row.texts:
            of_style = samples.setdefault(row.style, {})
            of_style.setdefault(row.checkpoint, {}).setdefault(row.problem, []).append(row)
    for message in damaged[:_SHOWN_COMPLAINTS]:
        complain(message)
    if len(damaged) > _SHOWN_COMPLAINTS:
        complain(f"{file}: {len(damaged) - _SHOWN_COMPLAINTS} more rows are left out")
    return dict(samples)


def sampled(answered: Answered) -> Replies:
    """The method with the most replies: means and differences are taken over these."""
    return max(answered, key=lambda row: len(row.texts))


def single(answered: Answered) -> Replies:
    """The method with the fewest replies, the first of the file: greedy, where an exam has it."""
    return min(answered, key=lambda row: len(row.texts))


def graded(row: Replies, score: str) -> tuple[float, ...]:
    """The values of those replies that were graded by a score; none where the row hasn't it."""
    return tuple(value for value in row.scores.get(score, ()) if value is not None)


def difference(samples: Samples, later: str, earlier: str, score: str, kind: str | None = None) -> Interval | None:
    """How much more of ``score`` (a mean over samples, in 0..1) ``later`` has, paired over the problems of ``kind``.

    None where the two didn't answer two problems or more in common, or where the score isn't a share.
    """
    return paired_difference(samples.get(later, {}), samples.get(earlier, {}), score, kind)


def paired_difference(
    left: Mapping[int, Answered], right: Mapping[int, Answered], score: str, kind: str | None = None
) -> Interval | None:
    """As ``difference``, of what was answered to problems in two ways."""
    pairs = [(sampled(left[number]), sampled(right[number])) for number in sorted(left.keys() & right.keys())]
    values = [
        (graded(one, score), graded(other, score))
        for one, other in pairs
        if one.question == other.question and kind in (None, one.kind)
    ]
    means = np.array([(sum(one) / len(one), sum(other) / len(other)) for one, other in values if one and other])
    if len(means) < 2 or means.min() < 0 or means.max() > 1:
        return None
    return difference_over_problems(means[:, 0], means[:, 1])


def kinds_of(samples: Samples) -> tuple[str, ...]:
    """The kinds of the problems, in the order of their numbers."""
    kinds = {number: rows[0].kind for answered in samples.values() for number, rows in answered.items()}
    return tuple(dict.fromkeys(kinds[number] for number in sorted(kinds)))
