"""The numbers of a sweep: each arm's values by seed, their mean, and the difference to the baseline, with intervals."""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from reasoning.core.artifact import Artifact
from reasoning.core.statistics import Interval, difference_over_seeds, mean_with_interval, together
from reasoning.evaluation.results import Results
from reasoning.experiment.alternatives import item_locations
from reasoning.experiment.locations import error_at, suggestion
from reasoning.findings.costs import counted_of, summed
from reasoning.findings.evaluations import evaluation_of
from reasoning.findings.numbers import CANT_TELL
from reasoning.pipeline.folder import read_run
from reasoning.pipeline.sweeps.arms import BASELINE, Arm, SweepPlan, arm_title
from reasoning.pipeline.sweeps.folder import RunState, SweepFolder
from reasoning.use.run_folder import open_run

_ROUNDING = 1e-9
"""Of a mean: differences below it are those of floating point."""

HIGHER, LOWER, SAME, _ONE_SEED = "higher", "lower", "the same", "one seed"
"""Verdicts on how an arm differs from the baseline, beside ``CANT_TELL`` and an empty one: nothing to compare.

``HIGHER`` and ``LOWER`` where the difference is clear at 95 %, of a sweep that was collected together with all others;
``CANT_TELL`` where it isn't, and where every seed has one and the same difference, so that there is no spread to judge
by; ``SAME`` where the values are equal seed by seed; ``_ONE_SEED``, which has no interval.
"""


def has_spread(mean: Interval) -> bool:
    """Whether the values differ by more than rounding; where they don't, their spread tells nothing."""
    return mean.high - mean.low > _ROUNDING * abs(mean.mean)


@dataclass(frozen=True)
class ArmScore:
    """One score of one arm: by seed, its mean over seeds, and its difference to the baseline over shared seeds.

    Both are None where no run has the score; the difference also for the baseline itself.
    """

    values: Mapping[int, float]
    mean: Interval | None
    difference: Interval | None

    @property
    def verdict(self) -> str:
        """What the difference tells."""
        if self.difference is None:
            return ""
        if self.difference.count == 1:
            return _ONE_SEED
        if not has_spread(self.difference):
            return SAME if self.difference.mean == 0 else CANT_TELL
        if not self.difference.clear:
            return CANT_TELL
        return HIGHER if self.difference.mean > 0 else LOWER


@dataclass(frozen=True)
class ArmNumbers:
    """One arm: what it is called, its folder's name, how each seed's run ended, why some failed, and its scores.

    ``inert``: its settings give other stages than the baseline's, and these leave the same arrays, seed by seed.
    """

    name: str
    label: str
    settings: tuple[str, ...]
    states: Mapping[int, RunState]
    failures: Mapping[int, str]
    scores: Mapping[str, ArmScore]
    inert: bool

    def named(self, *verdicts: str) -> list[str]:
        """The scores of which one of the verdicts was given."""
        return [name for name, score in self.scores.items() if score.verdict in verdicts]

    def missing(self) -> list[int]:
        """The seeds whose runs have not finished."""
        return [seed for seed, state in self.states.items() if state == "not finished"]


@dataclass(frozen=True)
class SweepNumbers:
    """A whole sweep: the first arm is the baseline; ``fixed`` are stages that are one for all seeds of an arm.

    ``cost`` is what the stages of all finished runs took, those that runs share only once.
    """

    file: str
    way: str
    seeds: tuple[int, ...]
    scores: tuple[str, ...]
    arms: tuple[ArmNumbers, ...]
    fixed: tuple[str, ...]
    cost: Mapping[str, float] = field(default_factory=dict)

    @property
    def baseline(self) -> str:
        """What sentences call the first arm."""
        return f"the {BASELINE}" if self.arms[0].label == BASELINE else self.arms[0].name

    def count(self, *verdicts: str) -> int:
        """How often one of the verdicts was given."""
        return sum(len(arm.named(*verdicts)) for arm in self.arms)


def collect(folder: SweepFolder) -> SweepNumbers:
    """Everything that the finished runs of a sweep say.

    Raises InputError for damaged results, and for a score that the sweep asks for and no finished run has.
    """
    plan = folder.plan
    states: dict[tuple[str, int], RunState] = {(run.arm, run.seed): folder.state(run) for run in plan.runs}
    finished = [run for run in plan.runs if states[run.arm, run.seed] == "finished"]
    artifacts = {(run.arm, run.seed): open_run(folder.run_path(run)).artifacts() for run in finished}
    read: dict[Path, dict[str, float]] = {}
    values = {key: _all_numbers(left, read) for key, left in artifacts.items()}
    scores = plan.sweep.scores or _default_scores(artifacts.values())
    _check_scores(plan, scores, values.values())
    by_arm = {arm.label: {score: _by_seed(values, arm, score) for score in scores} for arm in plan.arms}
    baseline = by_arm[plan.arms[0].label]
    arms = []
    for arm in plan.arms:
        others = {} if arm is plan.arms[0] else baseline
        each = {score: arm_score(by_seed, others.get(score, {})) for score, by_seed in by_arm[arm.label].items()}
        ended: dict[int, RunState] = {run.seed: states[run.arm, run.seed] for run in arm.runs}
        failures = {run.seed: folder.failure(run) for run in arm.runs if ended[run.seed] == "failed"}
        pairs = [(artifacts.get((arm.label, seed)), artifacts.get((plan.arms[0].label, seed))) for seed in ended]
        inert = _inert([(one, other) for one, other in pairs if one and other])
        arms.append(ArmNumbers(arm_title(arm), arm.label, arm.settings, ended, failures, each, inert))
    own = {left.path.resolve(): counted_of(left.kind, left.results) for run in artifacts.values() for left in run}
    cost, name, way = summed(own.values()), plan.experiment.path.name, plan.sweep.way()
    return SweepNumbers(name, way, plan.seeds, scores, _together(arms), _fixed(folder), cost)


def _together(arms: Sequence[ArmNumbers]) -> tuple[ArmNumbers, ...]:
    """The arms with every difference that gets a verdict corrected for all that the sweep's table shows."""
    found = {
        (arm.label, name): score.difference if has_spread(score.difference) else replace(score.difference, p_value=1.0)
        for arm in arms
        for name, score in arm.scores.items()
        if score.difference is not None and score.verdict in (HIGHER, LOWER, CANT_TELL)
    }
    corrected = dict(zip(found, together(list(found.values())), strict=True))
    return tuple(
        replace(
            arm,
            scores={
                name: replace(score, difference=corrected.get((arm.label, name), score.difference))
                for name, score in arm.scores.items()
            },
        )
        for arm in arms
    )


def _by_seed(values: Mapping[tuple[str, int], Mapping[str, float]], arm: Arm, score: str) -> dict[int, float]:
    """The score of those runs of an arm that have it."""
    ran = {run.seed: values.get((run.arm, run.seed), {}) for run in arm.runs}
    return {seed: numbers[score] for seed, numbers in ran.items() if score in numbers}


def arm_score(values: Mapping[int, float], baseline: Mapping[int, float]) -> ArmScore:
    """The score of an arm by its values by seed, beside those of the baseline (none for the baseline itself)."""
    shared = [seed for seed in values if seed in baseline]
    mean = mean_with_interval(np.array(list(values.values()))) if values else None
    difference = None
    if shared:
        pair = (np.array([by_seed[seed] for seed in shared]) for by_seed in (values, baseline))
        difference = difference_over_seeds(*pair)
    return ArmScore(values, mean, difference)


def _inert(pairs: Sequence[tuple[Sequence[Artifact], Sequence[Artifact]]]) -> bool:
    """Whether pairs of runs have differing stages that leave checkpoints, and all of these hold the same arrays."""
    told: list[bool] = []
    for pair in pairs:
        one, other = ({left.stage: left for left in run if left.kind == "checkpoint"} for run in pair)
        differing = [stage for stage in one if stage in other and one[stage].hash != other[stage].hash]
        told += [
            one[stage].record().get("array_hash") == other[stage].record().get("array_hash") for stage in differing
        ]
    return bool(told) and all(told)


def _all_numbers(artifacts: Iterable[Artifact], read: dict[Path, dict[str, float]]) -> dict[str, float]:
    """Every result of a run by its full name; ``read`` keeps those of artifacts that runs share."""
    numbers: dict[str, float] = {}
    for artifact in artifacts:
        place = artifact.path.resolve()
        if place not in read:
            read[place] = {f"{artifact.stage}/{name}": value for name, value in _numbers(artifact).items()}
        numbers |= read[place]
    return numbers


def _numbers(artifact: Artifact) -> dict[str, float]:
    """An artifact's final numbers; of an evaluation also those by kind of problem and by prompt style.

    Of each two styles there is how much more the earlier has, as ``…/styles/think less direct/…``: seed by seed, since
    the interval of a difference is not that of two means.
    """
    numbers = {name: float(value) for name, value in artifact.results.items()}
    evaluation = evaluation_of(artifact)
    if evaluation is None:
        return numbers
    results = evaluation.results
    for name, by_checkpoint in (("kinds", results.kinds), ("styles", results.styles)):
        for checkpoint, parts in by_checkpoint.items():
            means = Results(parts).means()
            numbers |= {f"{checkpoint}/{name}/{column}": mean for column, mean in means.items()}
    for checkpoint, by_style in results.styles.items():
        for one, other in itertools.combinations(by_style, 2):
            shared = [column for column in by_style[one] if column in by_style[other]]
            for column in shared:
                more = by_style[one][column].mean - by_style[other][column].mean
                numbers[f"{checkpoint}/styles/{one} less {other}/{column}"] = more
    return numbers | results.means()


def _default_scores(runs: Iterable[tuple[Artifact, ...]]) -> tuple[str, ...]:
    """Every score of every checkpoint of the last evaluation; without one, the results of the last stage."""
    names: dict[str, None] = {}
    for artifacts in runs:
        evaluations = [each for artifact in artifacts if (each := evaluation_of(artifact)) and each.checkpoints]
        for each in evaluations[-1:]:
            names |= dict.fromkeys(f"{each.stage}/{name}" for name in each.results.means())
        if not evaluations and artifacts:
            names |= dict.fromkeys(f"{artifacts[-1].stage}/{name}" for name in artifacts[-1].results)
    return tuple(names)


def _check_scores(plan: SweepPlan, scores: Sequence[str], runs: Iterable[Mapping[str, float]]) -> None:
    known = {name for values in runs for name in values}
    missing = [score for score in scores if known and score not in known]
    if missing:
        near = suggestion(missing[0], _neighbours(missing[0], known))
        raise error_at(
            f"no finished run has the score {missing[0]!r} (what is done stays){near}",
            *item_locations(plan.experiment.drafts, "sweep.scores")[scores.index(missing[0]) :][:1],
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
            for entry in read_run(folder.run_path(run)):
                hashes.setdefault(entry.stage, set()).add(entry.hash)
        for stage, different in hashes.items():
            names[stage] = names.get(stage, True) and len(different) == 1
    return tuple(stage for stage, alike in names.items() if alike)
