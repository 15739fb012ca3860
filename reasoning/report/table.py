"""The numbers of an evaluation as a table: one row a checkpoint, one column a score, each with its interval."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from reasoning.core.artifact import Artifact
from reasoning.core.errors import InputError
from reasoning.core.files import read_json

RESULTS = "results.json"


@dataclass(frozen=True)
class Score:
    """A mean over ``n`` problems with the bounds of its 95 % interval; None where there is no interval."""

    mean: float
    low: float | None
    high: float | None
    n: int


@dataclass(frozen=True)
class Evaluation:
    """What one evaluating stage found: checkpoint (a stage's name) -> score's name -> score, both in file order."""

    stage: str
    artifact: Artifact
    checkpoints: Mapping[str, Mapping[str, Score]]

    def scores(self) -> tuple[str, ...]:
        """Names of all scores, in the order in which they first occur."""
        return tuple(dict.fromkeys(name for scores in self.checkpoints.values() for name in scores))

    def problems(self) -> int | None:
        """How many problems every score was taken over, or None where they differ."""
        counts = {score.n for scores in self.checkpoints.values() for score in scores.values()}
        return counts.pop() if len(counts) == 1 else None


@dataclass(frozen=True)
class Reply:
    """What one checkpoint answered to one problem without randomness, and its scores on that problem."""

    text: str
    scores: Mapping[str, float]


@dataclass(frozen=True)
class Comparison:
    """One held-out problem with the replies of several checkpoints, by checkpoint."""

    problem: int
    question: str
    answer: str
    replies: Mapping[str, Reply]


def evaluations(artifacts: Iterable[Artifact]) -> tuple[Evaluation, ...]:
    """All evaluations among the artifacts. Raises InputError where a ``results.json`` is damaged."""
    return tuple(_read(artifact) for artifact in artifacts if (artifact.path / RESULTS).exists())


def compare(evaluation: Evaluation, checkpoints: tuple[str, ...], count: int) -> tuple[Comparison, ...]:
    """The first ``count`` problems that all of ``checkpoints`` answered, lowest number first: no picking by outcome.

    Raises InputError for a checkpoint that the evaluation doesn't hold, and for damaged samples.
    """
    unknown = [name for name in checkpoints if name not in evaluation.checkpoints]
    if unknown:
        raise InputError(
            f"{evaluation.stage} has no checkpoint {', '.join(unknown)}; it evaluated "
            f"{', '.join(evaluation.checkpoints)}"
        )
    file = evaluation.artifact.path / "samples.jsonl"
    by_problem: dict[int, dict[str, dict[str, Any]]] = {}
    for line, row in enumerate(evaluation.artifact.samples(), start=1):
        _check_sample(row, f"{file}:{line}")
        by_problem.setdefault(row["problem"], {})[row["checkpoint"]] = row
    chosen = [number for number in sorted(by_problem) if set(checkpoints) <= set(by_problem[number])][:count]
    return tuple(_comparison(number, by_problem[number], checkpoints) for number in chosen)


def default_choice(evaluation: Evaluation) -> tuple[str, ...]:
    """Three checkpoints at most: the first two and the last: start, first result and end of a run."""
    names = tuple(evaluation.checkpoints)
    return names if len(names) <= 3 else (*names[:2], names[-1])


def _read(artifact: Artifact) -> Evaluation:
    file = artifact.path / RESULTS
    content = read_json(file)
    checkpoints = content.get("checkpoints") if isinstance(content, dict) else None
    if not isinstance(checkpoints, dict):
        raise InputError(f"{file} has no 'checkpoints'; move {artifact.path} away and run {artifact.stage} again")
    table: dict[str, dict[str, Score]] = {}
    for checkpoint, scores in checkpoints.items():
        if not isinstance(scores, dict):
            raise InputError(f"{file}: checkpoint {checkpoint!r} holds no scores; run {artifact.stage} again")
        table[checkpoint] = {name: _score(value, f"{file}: {checkpoint}.{name}") for name, value in scores.items()}
    return Evaluation(artifact.stage, artifact, table)


def _score(value: Any, where: str) -> Score:
    try:
        bounds = [None if value[end] is None else float(value[end]) for end in ("low", "high")]
        score = Score(float(value["mean"]), bounds[0], bounds[1], int(value["n"]))
    except (TypeError, KeyError, ValueError) as error:
        raise InputError(f"{where} is not a score with mean, low, high and n ({error!r}); evaluate again") from None
    if not math.isfinite(score.mean):
        raise InputError(f"{where} has the mean {score.mean}; evaluate again")
    return score


def _check_sample(row: dict[str, Any], where: str) -> None:
    kinds = {"checkpoint": str, "problem": int, "question": str, "answer": str, "greedy": str, "scores": dict}
    for name, kind in kinds.items():
        if not isinstance(row.get(name), kind):
            raise InputError(f"{where}: {name!r} is {row.get(name)!r}, not {kind.__name__}; evaluate again")


def _comparison(number: int, rows: Mapping[str, dict[str, Any]], checkpoints: tuple[str, ...]) -> Comparison:
    first = rows[checkpoints[0]]
    replies = {name: Reply(rows[name]["greedy"], rows[name]["scores"]) for name in checkpoints}
    return Comparison(number, first["question"], first["answer"], replies)
