"""From a sweep file to its arms and runs, every one of them read and checked before any of them begins."""

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod

from reasoning.core.errors import InputError
from reasoning.core.hashes import hash_json
from reasoning.experiment.alternatives import alternatives, item_locations
from reasoning.experiment.locations import error_at, suggestion
from reasoning.experiment.nodes import Change
from reasoning.experiment.reader import Experiment
from reasoning.pipeline import graph as graphs
from reasoning.pipeline.functions import check_rewards
from reasoning.pipeline.graph import Graph
from reasoning.pipeline.run import Run
from reasoning.pipeline.run_experiment import run_of
from reasoning.pipeline.sweeps.sweep import Sweep
from reasoning.stages import Evaluate

BASELINE = "baseline"
_LABEL_CHARACTERS = 100
_MOST_RUNS = 10_000


@dataclass(frozen=True)
class ArmRun:
    """One run of a sweep: an arm with one seed; ``text`` is its whole configuration."""

    arm: str
    seed: int
    experiment: Experiment
    run: Run
    graph: Graph
    text: str


@dataclass(frozen=True)
class Arm:
    """One row of the table: its label, which names its folder, the settings that make it, and a run for each seed.

    The settings of a baseline are those among the varied values that are the file's own.
    """

    label: str
    settings: tuple[str, ...]
    runs: tuple[ArmRun, ...]


@dataclass(frozen=True)
class SweepPlan:
    """A sweep ready to run: its arms in the order of the file; the first one is what the others are compared to."""

    experiment: Experiment
    sweep: Sweep
    arms: tuple[Arm, ...]

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds that every arm is run with."""
        return tuple(run.seed for run in self.arms[0].runs)

    @property
    def runs(self) -> tuple[ArmRun, ...]:
        """All runs in the order in which they are done: all arms with the first seed, then with the second."""
        return tuple(run for runs in zip(*(arm.runs for arm in self.arms), strict=True) for run in runs)


@dataclass(frozen=True)
class _Pick:
    """One varied setting of an arm, as it is read and as it is shown."""

    change: Change
    text: str


_Combination = tuple[_Pick, ...]


def expand_sweep(experiment: Experiment) -> SweepPlan:
    """All arms and runs of a sweep file, built and checked, without any computation.

    Raises InputError with the location in the file for a wrong key or value, for a key that may not vary, for arms that
    don't differ, for settings that no run could begin with, and for scores of a stage or checkpoint that isn't there.
    """
    sweep = _sweep_of(experiment)
    seeds = tuple(range(run_of(experiment).seed, run_of(experiment).seed + sweep.seeds))
    _check_number(sweep)
    combinations = list(_combinations(experiment, sweep))
    labels = _labels([tuple(pick.text for pick in picks) for picks in combinations])
    arms: dict[str, Arm] = {}
    for label, picks in zip(labels, combinations, strict=True):
        arm = _arm(experiment, label, picks, seeds)
        twin = arms.get(arm.runs[0].text)
        if twin is None:
            arms[arm.runs[0].text] = arm
        elif sweep.each and twin.label == BASELINE:
            arms[arm.runs[0].text] = Arm(BASELINE, (*twin.settings, *arm.settings), twin.runs)
        else:
            locations = [pick.change.value.location for pick in picks]
            raise error_at(
                f"the arms '{arm_title(twin)}' and '{arm_title(arm)}' are the same experiment; drop one", *locations
            )
    plan = SweepPlan(experiment, sweep, tuple(arms.values()))
    _check_devices(plan)
    _check_scores(plan)
    return plan


def _sweep_of(experiment: Experiment) -> Sweep:
    """The part of an experiment that says what varies. Raises InputError where it isn't a ``@pipeline.Sweep``."""
    if "sweep" not in experiment.parts:
        raise InputError(f"{experiment.path} defines no sweep; add the line: sweep = @pipeline.Sweep")
    sweep = experiment.part("sweep")
    if not isinstance(sweep, Sweep):
        raise InputError(f"{experiment.source('sweep')}: 'sweep' must be a @pipeline.Sweep")
    return sweep


def _check_number(sweep: Sweep) -> None:
    """Raises InputError for more runs than anybody could do, each of which would be read and checked first."""
    lengths = [len(values) for values in sweep.varied().values()]
    arms = {"grid": prod(lengths), "zip": max(lengths, default=1), "each": 1 + sum(lengths)}.get(sweep.way(), 1)
    if arms * sweep.seeds > _MOST_RUNS:
        raise InputError(
            f"the sweep has {arms:,} arms with {sweep.seeds:,} seeds, {arms * sweep.seeds:,} runs; at most "
            f"{_MOST_RUNS:,} can be done, take fewer values or seeds"
        )


def arm_title(arm: Arm) -> str:
    """What messages and tables call an arm: its settings, which a baseline has in brackets."""
    settings = ", ".join(arm.settings)
    if arm.label == BASELINE:
        return f"{BASELINE} ({settings})" if settings else BASELINE
    return settings


def _combinations(experiment: Experiment, sweep: Sweep) -> Iterator[_Combination]:
    way = sweep.way()
    offered = alternatives(experiment.drafts, f"sweep.{way}") if sweep.varied() else {}
    picks: list[list[_Pick]] = []
    for key, changes in offered.items():
        _check_key(experiment, changes[0], key, way)
        values = sweep.varied()[key]
        picks.append(
            [_Pick(line, f"{key}={experiment.text(value)}") for line, value in zip(changes, values, strict=True)]
        )
    if way == "grid":
        yield from itertools.product(*picks)
    elif way == "zip":
        yield from zip(*picks, strict=True)
    else:
        yield ()
        yield from ((pick,) for line in picks for pick in line)


def _check_key(experiment: Experiment, change: Change, key: str, way: str) -> None:
    part = key.partition(".")[0]
    if key == "run.seed":
        raise error_at("the seed is varied by sweep.seeds", change.location)
    if part == "sweep":
        raise error_at("a sweep can't vary itself", change.location)
    if way != "each" and experiment.locations.get(key) in ("command line", "override"):
        raise error_at(
            f"every arm sets '{key}', so an override of it changes nothing; override sweep.{way}", change.location
        )


def _arm(experiment: Experiment, label: str, picks: _Combination, seeds: Sequence[int]) -> Arm:
    settings = tuple(pick.text for pick in picks)
    runs: list[ArmRun] = []
    for seed in seeds:
        try:
            varied = experiment.vary([pick.change for pick in picks], {"run.seed": seed})
            run = run_of(varied)
            graph = graphs.build_graph(run.stages)
            check_rewards(graph)
            runs.append(ArmRun(label, seed, varied, run, graph, varied.resolved(("run",))))
        except InputError as error:
            raise InputError(f"{error}\n  in the arm {', '.join(settings) or label}") from error
    return Arm(label, settings, tuple(runs))


def _labels(settings: Sequence[tuple[str, ...]]) -> list[str]:
    """A folder's name for each arm: readable, of characters that need no quoting anywhere, different in any case."""
    names = [",".join(map(_plain, texts)) for texts in settings]
    counts = [[other.lower() for other in names].count(name.lower()) for name in names]
    labels = []
    for name, count, texts in zip(names, counts, settings, strict=True):
        if count > 1 or len(name) > _LABEL_CHARACTERS:
            name = f"{name[:_LABEL_CHARACTERS]}-{hash_json(texts)[:8]}"
        labels.append(name or BASELINE)
    return labels


def _plain(text: str) -> str:
    """A setting without the signs of names, texts and groups, and with other characters replaced."""
    bare = re.sub("[@'\"()\\[\\]{} ]", "", text)
    return re.sub("[^A-Za-z0-9.=+-]+", "_", bare).strip("_")


def _check_devices(plan: SweepPlan) -> None:
    counts = {run.run.cpu_devices for run in plan.runs}
    if len(counts) > 1:
        raise InputError(
            f"the arms differ in run.cpu_devices ({', '.join(map(str, sorted(counts)))}), which one process can't "
            "change; make it two sweeps"
        )


def _check_scores(plan: SweepPlan) -> None:
    """Refuses scores of stages and checkpoints that no arm has; names of scores are known only after the first run."""
    stages = {name: node.stage for run in plan.runs for name, node in run.graph.items()}
    locations = item_locations(plan.experiment.drafts, "sweep.scores")
    for score, location in zip(plan.sweep.scores, locations, strict=True):
        stage, _, rest = score.partition("/")
        if stage not in stages:
            raise error_at(f"the run has no stage '{stage}'{suggestion(stage, stages)}", location)
        if not rest:
            raise error_at(f"{score!r} names no result; write stage/checkpoint/score", location)
        examiner, checkpoint = stages[stage], rest.partition("/")[0]
        examined = [parent.name for parent in examiner.checkpoints] if isinstance(examiner, Evaluate) else [checkpoint]
        if checkpoint not in examined:
            raise error_at(f"{stage} doesn't examine '{checkpoint}'{suggestion(checkpoint, examined)}", location)
