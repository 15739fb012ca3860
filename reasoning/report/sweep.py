"""What a sweep has found, as an object for notebooks, as files, and on the terminal."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from reasoning.core.files import write_atomic
from reasoning.findings.sweep_numbers import collect
from reasoning.pipeline.sweeps.folder import TABLES, SweepFolder
from reasoning.report.console import put, table
from reasoning.report.page import page
from reasoning.report.sweep_page import sweep_report
from reasoning.report.sweep_text import SweepTable
from reasoning.report.write import PAGE
from reasoning.use.run_folder import RunFolder, open_run


@dataclass(frozen=True)
class SweepResult:
    """A sweep's folder after its runs: the table, and the runs behind it."""

    folder: SweepFolder

    @property
    def path(self) -> Path:
        """The sweep's folder."""
        return self.folder.path

    def table(self) -> SweepTable:
        """What the finished runs say. Raises InputError for damaged results and for a score that no run has."""
        return SweepTable(collect(self.folder))

    def runs(self) -> Mapping[tuple[str, int], RunFolder]:
        """The finished runs by arm's label and seed."""
        plan = self.folder.plan
        finished = [run for run in plan.runs if self.folder.state(run) == "finished"]
        return {(run.arm, run.seed): open_run(self.folder.run_path(run)) for run in finished}

    def failed(self) -> Mapping[tuple[str, int], str]:
        """Why runs failed, by arm's label and seed."""
        failed = [run for run in self.folder.plan.runs if self.folder.state(run) == "failed"]
        return {(run.arm, run.seed): self.folder.failure(run) for run in failed}


def write_table(folder: SweepFolder) -> SweepTable:
    """Writes ``table.md``, ``table.csv`` and the page from what is finished.

    For process 0 only; raises what ``collect`` does.
    """
    written = SweepTable(collect(folder))
    for name, text in zip(TABLES, (written.markdown(), written.csv()), strict=True):
        write_atomic(folder.path / name, text)
    write_atomic(folder.path / PAGE, page(sweep_report(written)))
    return written


def show_sweep(console: Console, shown: SweepTable) -> None:
    """Prints the tables and the conclusions."""
    put(console, shown.heading(), wrapped=True)
    for grid in shown.grids():
        put(console, table(grid.caption, grid.columns, grid.rows))
    for text in shown.conclusions():
        put(console, f"- {text}", wrapped=True)
