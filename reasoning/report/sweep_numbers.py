"""The numbers of a sweep: each arm's values by seed, their mean, and the difference to the baseline, with intervals."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from reasoning.core.artifact import Artifact
from reasoning.core.errors import InputError
from reasoning.core.files import read_json
from reasoning.core.statistics import Interval, difference_over_seeds, mean_with_interval
from reasoning.experiment.locations import error_at, suggestion
from reasoning.pipeline.sweeps.arms import BASELINE, ArmRun, SweepPlan, arm_title
from reasoning.pipeline.sweeps.folder import RunState, SweepFolder
from reasoning.use.run_folder import open_run

RESULTS = "results.json"

ROUNDING = 1e-9
"""Of a mean: differences below it are those of floating point."""

ENOUGH_SEEDS = 5
"""Fewer seeds give intervals so wide that only large differences show."""


Verdict = Literal["higher", "lower", "can't tell", "the same", "one seed", ""]
"""Which way an arm differs from the baseline, if that can be told.

``higher`` and ``lower`` where the interval leaves out 0; ``can't tell`` where it holds 0, and where every seed has one
and the same difference, so that there is no spread to take an interval from; ``the same`` where the values are equal
seed by seed; ``one seed``, which has no interval; empty where there is nothing to compare.
"""


def has_spread(found: Interval) -> bool:
    """Whether the values differ by more than rounding; where they don't, their spread tells nothing."""
    return found.high - found.low > ROUNDING * abs(found.mean)


@dataclass(frozen=True)
class Cell:
    """One score of one arm: by seed, its mean over seeds, and its difference to the baseline over shared seeds.

    Both are None where no run has the score; the difference also for the baseline itself.
    """

    values: Mapping[int, float]
    mean: Interval | None
    difference: Interval | None

    @property
    def verdict(self) -> Verdict:
        """What the difference tells."""
        found = self.difference
        if found is None:
            return ""
        if found.count == 1:
            return "one seed"
        if not has_spread(found):
            return "the same" if found.mean == 0 else "can't tell"
        if not found.excludes(0.0):
            return "can't tell"
        return "higher" if found.mean > 0 else "lower"


@dataclass(frozen=True)
class Row:
    """One arm: what it is called, its folder's name, how each seed's run ended, why some failed, and its cells.

    ``inert``: its settings give other stages than the baseline's, and these leave the same arrays, seed by seed.
    """

    name: str
    label: str
    settings: tuple[str, ...]
    states: Mapping[int, RunState]
    failures: Mapping[int, str]
    cells: Mapping[str, Cell]
    inert: bool


@dataclass(frozen=True)
class Numbers:
    """A whole sweep: the first row is the baseline; ``fixed`` are stages that are one for all seeds of an arm."""

    file: str
    way: str
    seeds: tuple[int, ...]
    scores: tuple[str, ...]
    rows: tuple[Row, ...]
    fixed: tuple[str, ...]

    @property
    def baseline(self) -> str:
        """What sentences call the first arm."""
        return f"the {BASELINE}" if self.rows[0].label == BASELINE else self.rows[0].name


def collect(folder: SweepFolder) -> Numbers:
    """Everything that the finished runs of a sweep say.

    Raises InputError for damaged results, and for a score that the sweep asks for and no finished run has.
    """
    plan = folder.plan
    states: dict[tuple[str, int], RunState] = {_key(run): folder.state(run) for run in plan.runs}
    finished = [run for run in plan.runs if states[_key(run)] == "finished"]
    artifacts = {_key(run): open_run(folder.run_path(run)).artifacts() for run in finished}
    read: dict[Path, dict[str, float]] = {}
    values = {key: _all_numbers(found, read) for key, found in artifacts.items()}
    scores = plan.sweep.scores or _default_scores(artifacts.values())
    _check_scores(plan, scores, values.values())
    by_arm = {
        arm.label: {
            score: {run.seed: values[key][score] for run in arm.runs if score in values.get(key := _key(run), {})}
            for score in scores
        }
        for arm in plan.arms
    }
    baseline = by_arm[plan.arms[0].label]
    rows = []
    for arm in plan.arms:
        others = {} if arm is plan.arms[0] else baseline
        cells = {score: cell_of(found, others.get(score, {})) for score, found in by_arm[arm.label].items()}
        ended: dict[int, RunState] = {run.seed: states[run.arm, run.seed] for run in arm.runs}
        failures = {run.seed: folder.failure(run) for run in arm.runs if ended[run.seed] == "failed"}
        pairs = [(artifacts.get(_key(run)), artifacts.get((plan.arms[0].label, run.seed))) for run in arm.runs]
        inert = _inert([(one, other) for one, other in pairs if one and other])
        rows.append(Row(arm_title(arm), arm.label, arm.settings, ended, failures, cells, inert))
    return Numbers(plan.experiment.path.name, plan.sweep.way(), plan.seeds, scores, tuple(rows), _fixed(folder))


def _key(run: ArmRun) -> tuple[str, int]:
    return run.arm, run.seed


def cell_of(values: Mapping[int, float], baseline: Mapping[int, float]) -> Cell:
    """The cell of an arm's values by seed, beside those of the baseline (none for the baseline itself)."""
    shared = [seed for seed in values if seed in baseline]
    mean = mean_with_interval(np.array(list(values.values()))) if values else None
    difference = None
    if shared:
        pair = (np.array([found[seed] for seed in shared]) for found in (values, baseline))
        difference = difference_over_seeds(*pair)
    return Cell(values, mean, difference)


def _inert(pairs: Sequence[tuple[Sequence[Artifact], Sequence[Artifact]]]) -> bool:
    """Whether pairs of runs have differing stages that leave checkpoints, and all of these hold the same arrays."""
    told: list[bool] = []
    for pair in pairs:
        one, other = ({found.stage: found for found in run if found.kind == "checkpoint"} for run in pair)
        differing = [stage for stage in one if stage in other and one[stage].hash != other[stage].hash]
        told += [
            one[stage].record().get("array_hash") == other[stage].record().get("array_hash") for stage in differing
        ]
    return bool(told) and all(told)


def _all_numbers(artifacts: Iterable[Artifact], read: dict[Path, dict[str, float]]) -> dict[str, float]:
    """Every result of a run by its full name; ``read`` keeps those of artifacts that runs share."""
    found: dict[str, float] = {}
    for artifact in artifacts:
        place = artifact.path.resolve()
        if place not in read:
            read[place] = {f"{artifact.stage}/{name}": value for name, value in _numbers(artifact).items()}
        found |= read[place]
    return found


def _numbers(artifact: Artifact) -> dict[str, float]:
    """An artifact's final numbers; of an evaluation also those by kind of problem and by prompt."""
    found = {name: float(value) for name, value in artifact.results.items()}
    content = _evaluated(artifact)
    try:
        found |= _means(content.get("checkpoints", {}), "")
        for part in ("kinds", "prompts"):
            for checkpoint, groups in content.get(part, {}).items():
                found |= _means(groups, f"{checkpoint}/{part}/")
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{artifact.path / RESULTS} doesn't hold scores ({error!r}); run {artifact.stage} again"
        ) from None
    return found


def _means(table: Mapping[str, Mapping[str, Any]], place: str) -> dict[str, float]:
    """The means of a table of scores, by ``place`` and row and score."""
    return {
        f"{place}{row}/{name}": float(score["mean"]) for row, scores in table.items() for name, score in scores.items()
    }


def _evaluated(artifact: Artifact) -> Mapping[str, Any]:
    """What an evaluation has written; empty for another stage."""
    file = artifact.path / RESULTS
    content = read_json(file) if file.exists() else {}
    return content if isinstance(content, dict) else {}


def _default_scores(runs: Iterable[tuple[Artifact, ...]]) -> tuple[str, ...]:
    """Every score of every checkpoint of the last evaluation; without one, the results of the last stage."""
    names: dict[str, None] = {}
    for artifacts in runs:
        tables = [(found.stage, _evaluated(found).get("checkpoints")) for found in artifacts]
        tables = [(stage, table) for stage, table in tables if table]
        for stage, table in tables[-1:]:
            names |= dict.fromkeys(f"{stage}/{name}" for name in _means(table, ""))
        if not tables and artifacts:
            names |= dict.fromkeys(f"{artifacts[-1].stage}/{name}" for name in artifacts[-1].results)
    return tuple(names)


def _check_scores(plan: SweepPlan, scores: Sequence[str], runs: Iterable[Mapping[str, float]]) -> None:
    known = {name for values in runs for name in values}
    missing = [score for score in scores if known and score not in known]
    if missing:
        near = suggestion(missing[0], _neighbours(missing[0], known))
        raise error_at(
            f"no finished run has the score {missing[0]!r} (what is done stays){near}",
            *plan.experiment.item_locations("sweep.scores")[scores.index(missing[0]) :][:1],
        )


def _neighbours(score: str, known: Iterable[str]) -> list[str]:
    """Names of the same checkpoint, else of the same stage, else all."""
    starts = ["/".join(score.split("/")[:depth]) + "/" for depth in (2, 1)]
    groups = ([name for name in known if name.startswith(start)] for start in starts)
    return next((group for group in groups if group), list(known))


def _fixed(folder: SweepFolder) -> tuple[str, ...]:
    """Stages that every arm has only once for all of its seeds: what they draw isn't in any interval."""
    if len(folder.plan.seeds) == 1:
        return ()
    names: dict[str, bool] = {}
    for arm in folder.plan.arms:
        hashes: dict[str, set[str]] = {}
        for run in arm.runs:
            for entry in folder.entries(run):
                hashes.setdefault(entry.stage, set()).add(entry.hash)
        for stage, found in hashes.items():
            names[stage] = names.get(stage, True) and len(found) == 1
    return tuple(stage for stage, alike in names.items() if alike)
