"""Several runs in one folder, to choose one from: a sweep's arms as dots with their seeds, or runs with their verdicts.

A sweep is read from ``table.csv`` and its folders, never from ``sweep.gin``, whose reading imports what it names.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from reasoning.core.errors import InputError
from reasoning.findings.facts import gather
from reasoning.findings.sweep_words import counted_verdicts
from reasoning.pipeline.folder import RUN, SWEEP, read_run
from reasoning.pipeline.sweeps.folder import TABLES
from reasoning.report.glance import glance
from reasoning.report.rows_svg import dots
from reasoning.report.sweep import arm_dots
from reasoning.use.tables import sweep_table
from reasoning.viewer.answers import Answers, Query

_SHOWN_RUNS = 100
_ARMS = "arms"


@dataclass(frozen=True)
class RunsFolder:
    """A folder with one run, or with several. All raise InputError for what there isn't, and say what there is."""

    path: Path

    def runs(self) -> Mapping[str, Path]:
        """The folders of the runs by name; none where the folder is a run itself."""
        if (self.path / RUN).exists():
            return {}
        top = self.path / _ARMS if self.is_sweep() else self.path
        found = sorted(top.glob(f"*/seed-*/{RUN}" if self.is_sweep() else f"*/{RUN}"))
        return {file.parent.relative_to(top).as_posix(): file.parent for file in found}

    def is_sweep(self) -> bool:
        """Whether a sweep was written here."""
        return (self.path / SWEEP).exists()

    def answers(self, query: Query) -> Answers:
        """The answers about the run that ``run`` names, which is looked up and never made into a path."""
        runs = self.runs()
        if not runs:
            return Answers(self.path)
        if query.get("run") not in runs:
            raise InputError(f"there is no run {query.get('run', '')!r}; there are {', '.join([*runs][:_SHOWN_RUNS])}")
        return Answers(runs[query["run"]], query["run"])

    def overview(self, query: Query) -> dict[str, Any]:
        """What there is to choose from: a sweep's scores by arm, and every run; of a single run nothing.

        A run has its ``arm``, ``seed`` and ``values`` in a sweep, and its ``verdict`` elsewhere.
        """
        runs, scores = self.runs(), tuple(self._scores()) if self.is_sweep() else ()
        arms = scores[0]["arms"] if scores else ()
        places: dict[str, int] = {arm: place for place, arm in enumerate(arms)}
        ordered = sorted(runs.items(), key=lambda run: places.get(run[0].rpartition("/")[0], len(places)))
        shown = ordered[:_SHOWN_RUNS]
        told = [self._in_sweep(name, path, scores) if self.is_sweep() else _alone(name, path) for name, path in shown]
        return {
            "name": self.path.resolve().name,
            "sweep": self.is_sweep(),
            "scores": [{name: each[name] for name in ("name", "verdict", "pictures")} for each in scores],
            "runs": told,
            "total": len(runs),
        }

    def _scores(self) -> Iterator[dict[str, Any]]:
        """Each score of ``table.csv`` in its order: a verdict, pictures of the arms, and each seed's value."""
        file = self.path / TABLES[1]
        if not file.exists():
            return
        try:
            rows = sweep_table(self.path).to_pylist()
            for name in dict.fromkeys(row["score"] for row in rows):
                yield _score(name, [row for row in rows if row["score"] == name])
        except (ValueError, KeyError, TypeError, InputError) as error:
            raise InputError(f"{file} is damaged ({error}); the sweep's own command writes it anew") from None

    def _in_sweep(self, name: str, path: Path, scores: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        arm, _, seed = name.rpartition("/")
        seed = seed.removeprefix("seed-")
        values = {score["name"]: score["values"][arm, seed] for score in scores if (arm, seed) in score["values"]}
        return {"run": name, "arm": arm, "seed": seed, "values": values, "state": _state(path)}


def _score(name: str, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    summaries = [row for row in rows if row["row"] == "summary"]
    first, *others = [row["arm"] for row in summaries]
    verdicts = [row["verdict"] or "" for row in summaries[1:]]
    beside = f"beside {first}, {counted_verdicts(verdicts)}"
    seeds = (row for row in rows if row["row"] == "seed" and row["value"] is not None)
    return {
        "name": name,
        "verdict": beside if verdicts else "one arm",
        "arms": (first, *others),
        "pictures": [*map(dots, arm_dots(name, first, summaries))],
        "values": {(row["arm"], str(row["seed"])): row["value"] for row in seeds},
    }


def _alone(name: str, path: Path) -> dict[str, Any]:
    return {"run": name, "verdict": _verdict(path, (path / RUN).stat().st_mtime_ns), "state": _state(path)}


@lru_cache(maxsize=_SHOWN_RUNS)
def _verdict(path: Path, changed: int) -> str:
    """The report's first sentence; ``changed`` is of the run's record as it is now."""
    try:
        return glance(gather(path)).verdict
    except InputError as error:
        return str(error)


def _state(path: Path) -> str:
    """How far a run has come, in words."""
    try:
        stages = read_run(path)
    except InputError as error:
        return str(error)
    finished = sum(stage.finished for stage in stages)
    return "finished" if finished == len(stages) else f"{finished} of {len(stages)} stages finished"
