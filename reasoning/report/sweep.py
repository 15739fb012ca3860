"""What a sweep has found, as an object for notebooks, as files, on the terminal, and as a page.

The page has arms as dots, each beside its difference to the baseline, then what that says, then the tables.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from reasoning.core.files import write_atomic
from reasoning.core.statistics import Interval
from reasoning.findings.numbers import CANT_TELL, number
from reasoning.findings.sweep_numbers import HIGHER, LOWER, ArmNumbers, SweepNumbers, collect, has_spread
from reasoning.findings.sweep_words import counted_verdicts
from reasoning.pipeline.sweeps.folder import TABLES, SweepFolder
from reasoning.report.console import put, table
from reasoning.report.content import PAGE
from reasoning.report.document import Bullets, Dots, Glance, Mark, Note, Paragraph, Report, Section, Tone
from reasoning.report.page import page
from reasoning.report.sweep_text import SweepTable
from reasoning.use.run_folder import RunFolder, open_run

_FIRST, _SHOWN_NAMES = 1, 4
_TONES: dict[str, Tone] = {HIGHER: "up", LOWER: "down", CANT_TELL: "unsure"}


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


def sweep_report(table: SweepTable) -> Report:
    """What is drawn of a sweep; the numbers and the words are those of ``table.md``."""
    numbers, conclusions = table.numbers, table.conclusions()
    first = tuple(dots for score in numbers.scores[:_FIRST] for dots in _dots(numbers, score))
    further = tuple(dots for score in numbers.scores[_FIRST:] for dots in _dots(numbers, score))
    ran = f"{table.heading().partition('. ')[0].removesuffix('.')}."  # What follows is about the table's cells.
    parts = (
        Section("At a glance", (Glance(ran, _verdict(numbers), tuple(_notes(numbers)), first),)),
        Section("Results", (Paragraph(table.heading()), *table.grids())),
        Section("What this says", (Bullets(tuple(("", text) for text in conclusions)),) if conclusions else ()),
        Section("Further scores", further),
    )
    return Report(f"Sweep of {numbers.file}", tuple(part for part in parts if part.blocks))


def _dots(numbers: SweepNumbers, score: str) -> Iterator[Dots]:
    """The arms' means, and beside them the differences to the baseline, paired by seed."""
    arms = [(arm, arm.scores[score]) for arm in numbers.arms]
    means = tuple(_mark(arm, own.mean) for arm, own in arms if own.mean is not None)
    if means:
        yield Dots(score, means)
    gaps = tuple(
        _mark(arm, own.difference, _TONES.get(own.verdict, ""), sign=True)
        for arm, own in arms
        if own.difference is not None
    )
    if gaps:
        yield Dots(f"{score}: difference to {numbers.baseline}, paired by seed", gaps, zero=True)


def _mark(arm: ArmNumbers, mean: Interval, tone: Tone = "", sign: bool = False) -> Mark:
    spread = mean.count > 1 and has_spread(mean)
    low, high = (mean.low, mean.high) if spread else (None, None)
    # By the size of its interval too: what is nearly 0 beside it is rounding and no number to write out.
    scale = max(abs(each) for each in (mean.mean, low, high) if each is not None)
    return Mark(arm.name, mean.mean, low, high, number(mean.mean, scale=scale, sign=sign), tone)


def _verdict(numbers: SweepNumbers) -> str:
    """What the first score says of the arms."""
    if not numbers.scores or not any(arm.scores[numbers.scores[0]].values for arm in numbers.arms):
        return "No run has finished, so there is nothing to conclude."
    score = numbers.scores[0]
    if len(numbers.arms) == 1:
        [dots] = _dots(numbers, score)
        return f"{score} is {dots.marks[0].text} over {len(numbers.arms[0].scores[score].values)} seeds."
    verdicts = [arm.scores[score].verdict for arm in numbers.arms[1:]]
    return f"{score}, beside {numbers.baseline}: of {len(verdicts)} other arms {counted_verdicts(verdicts)}."


def _notes(numbers: SweepNumbers) -> Iterator[Note]:
    """Which differences are claimed and which can't be told, a line each, over all scores."""
    for verdict in (HIGHER, LOWER, CANT_TELL):
        found = [f"{arm.name}: {score}" for arm in numbers.arms[1:] for score in arm.named(verdict)]
        left = len(found) - _SHOWN_NAMES
        more = f"; {left} more" if left > 0 else ""
        if found:
            anchor = "results" if verdict == CANT_TELL else "what-this-says"
            yield Note(verdict.capitalize(), f"{'; '.join(found[:_SHOWN_NAMES])}{more}", anchor)
    yield _next(numbers)


def _next(numbers: SweepNumbers) -> Note:
    """Where to look next: at runs that are missing from the numbers, else into those behind them."""
    failed = sum(len(arm.failures) for arm in numbers.arms)
    missing = sum(len(arm.missing()) for arm in numbers.arms)
    for count, word in ((failed, "failed"), (missing, "has not finished")):
        if count:
            return Note("Look next", f"at what {word}: {count} run{'' if count == 1 else 's'}", "what-this-says")
    return Note("Look next", "into single runs, by reasoning view and this folder", "")
