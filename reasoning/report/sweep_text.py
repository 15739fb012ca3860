"""A sweep in words, as tables and as CSV: what is written depends on the results alone, to the last byte."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from reasoning.findings.numbers import number
from reasoning.findings.sweep_numbers import BASELINE, HIGHER, LOWER, SAME, ArmNumbers, ArmScore, SweepNumbers
from reasoning.findings.sweep_words import csv_text, mean_words, rows_of, sweep_sentences
from reasoning.report.document import NOTHING, Bullets, Cell, Grid, Paragraph, Report, Section
from reasoning.report.grids import difference_cell
from reasoning.report.markdown import markdown

_WIDEST = 4
"""Columns of scores in one table."""


@dataclass(frozen=True)
class SweepTable:
    """The table of a sweep; a notebook shows it as a table."""

    numbers: SweepNumbers

    def markdown(self) -> str:
        """``table.md``: the tables, and in words what can and what can't be concluded."""
        parts = (
            Section("What was run", (Paragraph(self.heading()),)),
            Section("Results", self.grids()),
            Section("What this says", (Bullets(tuple(("", text) for text in self.conclusions())),)),
        )
        return markdown(Report(f"Sweep of {self.numbers.file}", parts))

    def _repr_markdown_(self) -> str:
        return self.markdown()

    def csv(self) -> str:
        """``table.csv``, with the columns of ``COLUMNS`` and every number in full."""
        return csv_text(self.numbers)

    def rows(self) -> list[dict[str, Any]]:
        """The rows of ``table.csv``: of each arm and score one a seed, then the summary; None where nothing is."""
        return rows_of(self.numbers)

    def heading(self) -> str:
        """One sentence on what was run, one on what the cells are."""
        return sweep_sentences(self.numbers)[0]

    def conclusions(self) -> list[str]:
        """What can and what can't be concluded, one sentence or two each."""
        return sweep_sentences(self.numbers)[1:]

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


def _rows(arm: ArmNumbers, names: Sequence[str]) -> Iterator[tuple[Cell, ...]]:
    """An arm's means with its settings, one a line, and below them the differences where there are any."""
    scores = [arm.scores[name] for name in names]
    label = "\n".join(([BASELINE] if arm.label == BASELINE else []) + list(arm.settings))
    yield Cell(label), *map(_mean, scores)
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
        spread = [_mean(score), *edges] if several else []
        rows.append((Cell(name.removeprefix(f"{group}/")), *spread, *each))
    return Grid(group, columns, tuple(rows))


def _mean(score: ArmScore) -> Cell:
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
