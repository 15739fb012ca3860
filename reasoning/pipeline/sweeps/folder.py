"""A sweep's folder on disk: one folder of artifacts for all runs, and for each run what it used of them.

OUT/artifacts/                         as in a run's folder; equal stages of all runs are one
OUT/arms/<label>/seed-<n>/run.json     the stages of one run, and resolved.gin, its settings
OUT/arms/<label>/seed-<n>/failed.json  why a run failed, until it goes on
OUT/sweep.gin                          the sweep and the file's own settings; earlier ones stay as sweep.1.gin, …
OUT/table.md, OUT/table.csv            the results; those of an earlier sweep.gin stay as table.1.md, …
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from reasoning.core.errors import InputError
from reasoning.core.hashes import hash_json
from reasoning.core.sealed import read_sealed, sealed_text, write_sealed
from reasoning.pipeline import folder
from reasoning.pipeline.folder import ARTIFACTS, RESOLVED, SWEEP, is_text, read_run
from reasoning.pipeline.sweeps.arms import ArmRun, SweepPlan

_ARMS = "arms"
_FAILED = "failed.json"
TABLES = ("table.md", "table.csv")

RunState = Literal["finished", "failed", "not finished"]


@dataclass(frozen=True)
class SweepFolder:
    """The folder of a sweep whose plan is known."""

    path: Path
    plan: SweepPlan

    @property
    def artifacts(self) -> Path:
        """The artifacts of all runs."""
        return self.path / ARTIFACTS

    def run_path(self, run: ArmRun) -> Path:
        """The folder of a run."""
        return self.path / _ARMS / run.arm / f"seed-{run.seed}"

    def state(self, run: ArmRun) -> RunState:
        """How a run with exactly these settings ended; InputError where its folder is damaged."""
        settings = self.run_path(run) / RESOLVED
        entries = read_run(self.run_path(run))
        same = is_text(settings, sealed_text(run.text))
        if same and entries and all(entry.finished for entry in entries):
            return "finished"
        return "failed" if self.failure(run) else "not finished"

    def failure(self, run: ArmRun) -> str:
        """The message of a run that failed; empty where a run with these settings didn't."""
        file = self.run_path(run) / _FAILED
        if not file.exists():
            return ""
        record = read_sealed(file)
        try:
            return str(record["message"]) if record["settings"] == hash_json(run.text) else ""
        except (TypeError, KeyError):
            raise InputError(f"{file} doesn't say why the run failed; remove it and sweep again") from None

    def keep_failure(self, run: ArmRun, message: str) -> None:
        """Records why a run failed."""
        self.run_path(run).mkdir(parents=True, exist_ok=True)
        write_sealed(self.run_path(run) / _FAILED, {"message": message, "settings": hash_json(run.text)})

    def forget_failure(self, run: ArmRun) -> None:
        """Clears the record of a run that goes on."""
        (self.run_path(run) / _FAILED).unlink(missing_ok=True)

    def strangers(self) -> tuple[str, ...]:
        """Arms and seeds that lie in the folder and are not in the plan, as ``label`` or ``label/seed-n``."""
        planned = {arm.label: {f"seed-{run.seed}" for run in arm.runs} for arm in self.plan.arms}
        strangers: list[str] = []
        for arm in sorted(self.path.glob(f"{_ARMS}/*")):
            seeds = {path.name for path in arm.glob("seed-*")} - planned.get(arm.name, set())
            strangers += [f"{arm.name}/{seed}" for seed in sorted(seeds)] if arm.name in planned else [arm.name]
        return tuple(strangers)

    def keep_plan(self, warn: Callable[[str], None]) -> None:
        """Writes ``sweep.gin``; another one that stands there stays under another name, and so does its table.

        ``warn`` hears of one that is damaged.
        """
        text, current = self.plan.experiment.resolved(("run", "sweep")), self.path / SWEEP
        if not is_text(current, sealed_text(text)):
            # First the tables: a kill in between must not leave an earlier table beside the new text.
            for name in TABLES:
                folder.keep_earlier(self.path / name)
        folder.write_keeping_earlier(self.path, text, warn, SWEEP)
