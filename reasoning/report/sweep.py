"""What a sweep has found, as an object for notebooks, as files, on the terminal, and as a page.

The page has arms as dots, each beside its difference to the baseline, then what that says, then the tables.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from rich.console import Console

from reasoning.core.files import write_atomic
from reasoning.findings.numbers import CANT_TELL, number
from reasoning.findings.sweep_numbers import BASELINE, HIGHER, LOWER, SAME, ArmNumbers, ArmScore, SweepNumbers, collect
from reasoning.findings.sweep_words import csv_text, mean_words, rows_of, sweep_notes, sweep_sentences, sweep_verdict
from reasoning.pipeline.sweeps.folder import TABLES, SweepFolder
from reasoning.report.console import put, table
from reasoning.report.content import PAGE
from reasoning.report.document import NOTHING, Bullets, Cell, Dots, Glance, Grid, Mark, Paragraph, Report, Section, Tone
from reasoning.report.grids import difference_cell
from reasoning.report.markdown import markdown
from reasoning.report.page import page
from reasoning.use.run_folder import RunFolder, open_run

_WIDEST = 4
"""Columns of scores in one table."""

_TONES: dict[str, Tone] = {HIGHER: "up", LOWER: "down", CANT_TELL: "unsure"}


@dataclass(frozen=True)
class SweepTable:
    """The table of a sweep; a notebook shows it as a table."""

    numbers: SweepNumbers

    def markdown(self) -> str:
        """``table.md``: the tables, and in words what can and what can't be concluded."""
        return markdown(Report(f"Sweep of {self.numbers.file}", self.sections()))

    def _repr_markdown_(self) -> str:
        return self.markdown()

    def sections(self) -> tuple[Section, ...]:
        """The tables, then what they say, on the page as in ``table.md``."""
        heading, *conclusions = self.sentences()
        return (
            Section("Results", (Paragraph(heading), *self.grids())),
            Section("What this says", (Bullets(tuple(("", text) for text in conclusions)),)),
        )

    def sentences(self) -> list[str]:
        """What was run and what the cells are, then what can and what can't be concluded, one sentence or two each."""
        return sweep_sentences(self.numbers)

    def grids(self) -> tuple[Grid, ...]:
        """For each checkpoint a row an arm, a column a score; of a single arm a row a score, a column a seed."""
        arms, groups = self.numbers.arms, dict[str, list[str]]()
        for score in self.numbers.scores:
            pieces = score.split("/")
            groups.setdefault("/".join(pieces[:2] if len(pieces) > 2 else pieces[:1]), []).append(score)
        if len(arms) == 1:
            return tuple(_by_seed(arms[0], group, scores, self.numbers.seeds) for group, scores in groups.items())
        parts = [
            (group, scores[start : start + _WIDEST])
            for group, scores in groups.items()
            for start in range(0, len(scores), _WIDEST)
        ]
        return tuple(_by_arm(arms, *part) for part in parts)


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
    for name, text in zip(TABLES, (written.markdown(), csv_text(written.numbers)), strict=True):
        write_atomic(folder.path / name, text)
    write_atomic(folder.path / PAGE, page(sweep_report(written)))
    return written


def show_sweep(console: Console, shown: SweepTable) -> None:
    """Prints the tables and the conclusions."""
    heading, *conclusions = shown.sentences()
    put(console, heading, wrapped=True)
    for grid in shown.grids():
        put(console, table(grid.caption, grid.columns, grid.rows))
    for text in conclusions:
        put(console, f"- {text}", wrapped=True)


def sweep_report(table: SweepTable) -> Report:
    """What is drawn of a sweep; the numbers and the words are those of ``table.md``."""
    numbers = table.numbers
    names = {arm.label: arm.name for arm in numbers.arms}
    rows = [row | {"arm": names[row["arm"]]} for row in rows_of(numbers) if row["row"] == "summary"]
    drawn = [
        tuple(arm_dots(score, numbers.baseline, [row for row in rows if row["score"] == score]))
        for score in numbers.scores
    ]
    ran = f"{table.sentences()[0].partition('. ')[0].removesuffix('.')}."  # What follows is about the table's cells.
    first = Glance(ran, sweep_verdict(numbers), tuple(sweep_notes(numbers)), (*chain(*drawn[:1]),))
    further = Section("Further scores", (*chain(*drawn[1:]),))
    parts = (Section("At a glance", (first,)), *table.sections(), further)
    return Report(f"Sweep of {numbers.file}", tuple(part for part in parts if part.blocks))


def arm_dots(score: str, baseline: str, summaries: Sequence[Mapping[str, Any]]) -> Iterator[Dots]:
    """The arms' means, and beside them the differences to the baseline, paired by seed.

    ``summaries`` are a score's rows of ``table.csv`` that sum up an arm over its seeds.
    """
    gap = f"{score}: difference to {baseline}, paired by seed"
    for title, name, before in ((score, "mean", ""), (gap, "difference", "difference_")):
        marks = tuple(_mark(row, name, before) for row in summaries if row[name] is not None)
        if marks:
            yield Dots(title, marks, bool(before))


def _mark(row: Mapping[str, Any], name: str, before: str) -> Mark:
    value, low, high = row[name], row[f"{before}low"], row[f"{before}high"]
    # By the size of its interval too: what is nearly 0 beside it is rounding and no number to write out.
    scale = max(abs(each) for each in (value, low, high) if each is not None)
    tone = _TONES.get(row["verdict"] or "", "") if before else ""
    return Mark(row["arm"], value, number(value, scale=scale, sign=bool(before)), low, high, tone)


def _rows(arm: ArmNumbers, names: Sequence[str]) -> Iterator[tuple[Cell, ...]]:
    """An arm's means with its settings, one a line, and below them the differences where there are any."""
    scores = [arm.scores[name] for name in names]
    label = "\n".join(([BASELINE] if arm.label == BASELINE else []) + list(arm.settings))
    yield Cell(label), *map(_mean_cell, scores)
    if any(score.difference is not None for score in scores):
        yield Cell("difference"), *map(_difference, scores)


def _by_arm(arms: Sequence[ArmNumbers], group: str, names: Sequence[str]) -> Grid:
    columns = ("arm", *(name.removeprefix(f"{group}/") for name in names))
    return Grid(group, columns, tuple(row for arm in arms for row in _rows(arm, names)))


def _by_seed(arm: ArmNumbers, group: str, names: Sequence[str], seeds: Sequence[int]) -> Grid:
    """With one arm: what the seeds make of each score."""
    several = len(seeds) > 1
    columns = ("score", *(("mean", "lowest", "highest") if several else ()), *(f"seed {seed}" for seed in seeds))
    rows = []
    for name in names:
        score = arm.scores[name]
        values = score.values
        write = partial(number, scale=max(map(abs, values.values()), default=0.0))
        edges = [Cell(write(edge(values.values()))) if values else NOTHING for edge in (min, max)]
        each = [Cell(write(values[seed]) if seed in values else arm.states[seed]) for seed in seeds]
        spread = [_mean_cell(score), *edges] if several else []
        rows.append((Cell(name.removeprefix(f"{group}/")), *spread, *each))
    return Grid(group, columns, tuple(rows))


def _mean_cell(score: ArmScore) -> Cell:
    return NOTHING if score.mean is None else Cell(*mean_words(score.mean))


def _difference(score: ArmScore) -> Cell:
    """The difference to the baseline; where there is no spread there is no interval."""
    if score.difference is None:
        return NOTHING
    if score.verdict == SAME:
        return Cell(SAME, f"n {score.difference.count}")
    mean, interval = mean_words(score.difference, sign=True)
    if score.difference.count == 1:
        return Cell(mean, interval)
    return difference_cell(mean, interval, score.verdict in (HIGHER, LOWER), score.verdict == HIGHER)
