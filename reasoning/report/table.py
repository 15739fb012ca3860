"""The numbers of an evaluation as a table: one row a checkpoint, one column a score, each with its interval."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
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


Scores = Mapping[str, Score]
"""Scores by name, in the order in which the evaluation wrote them."""


@dataclass(frozen=True)
class Evaluation:
    """What one evaluating stage found: checkpoint (a stage's name) -> score's name -> score, both in file order.

    ``kinds`` holds the same scores for each kind of problem, ``prompts`` for other ways of asking: checkpoint -> kind
    or prompt -> score's name -> score. Older results have neither. ``split`` is that of the problems, as far as the
    settings say: ``test`` for those that no stage was trained on.
    """

    stage: str
    artifact: Artifact
    checkpoints: Mapping[str, Scores]
    kinds: Mapping[str, Mapping[str, Scores]] = field(default_factory=dict)
    prompts: Mapping[str, Mapping[str, Scores]] = field(default_factory=dict)
    split: str = ""

    def scores(self) -> tuple[str, ...]:
        """Names of all scores, in the order in which they first occur."""
        return tuple(dict.fromkeys(name for scores in self.checkpoints.values() for name in scores))

    def problems(self) -> int | None:
        """How many problems every score was taken over, or None where they differ."""
        counts = {score.n for scores in self.checkpoints.values() for score in scores.values()}
        return counts.pop() if len(counts) == 1 else None


def evaluations(artifacts: Iterable[Artifact]) -> tuple[Evaluation, ...]:
    """All evaluations among the artifacts. Raises InputError where a ``results.json`` is damaged."""
    return tuple(_read(artifact) for artifact in artifacts if (artifact.path / RESULTS).exists())


def _read(artifact: Artifact) -> Evaluation:
    file = artifact.path / RESULTS
    content = read_json(file)
    checkpoints = content.get("checkpoints") if isinstance(content, dict) else None
    if not isinstance(checkpoints, dict):
        raise InputError(f"{file} has no 'checkpoints'; move {artifact.path} away and run {artifact.stage} again")
    table = _tables(checkpoints, str(file))
    parts = {name: _parts(content.get(name), f"{file}: {name}") for name in ("kinds", "prompts")}
    return Evaluation(artifact.stage, artifact, table, parts["kinds"], parts["prompts"], _split(artifact))


def _split(artifact: Artifact) -> str:
    """Where the exam's problems come from, by the settings that ran; empty where they don't say."""
    try:
        found: Any = artifact.record()
    except InputError:
        return ""
    for name in ("settings", "exam", "problems", "split"):
        found = found.get(name) if isinstance(found, dict) else None
    return found if isinstance(found, str) else ""


def _parts(content: Any, where: str) -> dict[str, dict[str, dict[str, Score]]]:
    """The scores of each checkpoint in parts; a file that has none of these parts is whole as well."""
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise InputError(f"{where} is {content!r}, not scores by checkpoint; evaluate again")
    return {checkpoint: _tables(parts, f"{where}.{checkpoint}") for checkpoint, parts in content.items()}


def _tables(content: Any, where: str) -> dict[str, dict[str, Score]]:
    """Scores by a name, a checkpoint's or a part's, and by their own."""
    if not isinstance(content, dict) or not all(isinstance(scores, dict) for scores in content.values()):
        raise InputError(f"{where} doesn't hold scores by name; evaluate again")
    return {
        name: {score: _score(value, f"{where}: {name}.{score}") for score, value in scores.items()}
        for name, scores in content.items()
    }


def _score(value: Any, where: str) -> Score:
    try:
        bounds = [None if value[end] is None else float(value[end]) for end in ("low", "high")]
        score = Score(float(value["mean"]), bounds[0], bounds[1], int(value["n"]))
    except (TypeError, KeyError, ValueError) as error:
        raise InputError(f"{where} is not a score with mean, low, high and n ({error!r}); evaluate again") from None
    if not math.isfinite(score.mean):
        raise InputError(f"{where} has the mean {score.mean}; evaluate again")
    return score
