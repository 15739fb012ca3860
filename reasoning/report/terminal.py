"""A run's results on the terminal: what happened in words, its scores, and what the models answered, side by side."""

from collections.abc import Sequence
from dataclasses import replace

from rich.console import Console
from rich.table import Table

from reasoning.core.text import shortened
from reasoning.evaluation.results import Score
from reasoning.findings.costs import total_sentence
from reasoning.findings.evaluations import Evaluation
from reasoning.findings.facts import Facts, check_examined
from reasoning.findings.scores import asked, compact_scores, ungraded, with_half
from reasoning.findings.sentences import sentences
from reasoning.findings.times import time_words, times_of
from reasoning.findings.warnings import reward_warnings
from reasoning.report.console import headed, put, table
from reasoning.report.document import NOTHING, Cell, Grid
from reasoning.report.replies import reply_grids

_SHOWN_PROBLEMS = 3
_SHOWN_CHARACTERS = 300
_SCORE_WIDTH, _PADDING = 8, 2
"""Characters that a score's column takes, and those between two columns."""


def show(console: Console, facts: Facts, checkpoints: tuple[str, ...] = ()) -> None:
    """Prints a sentence a stage, rewards that jumped alone, scores, totals, and three problems' replies side by side.

    ``checkpoints`` chooses whose replies are shown, by default the base's, the first's that rewards trained and the
    last's of the first evaluation. Raises InputError for a checkpoint that no evaluation knows.
    """
    check_examined(facts, checkpoints)
    for stage, sentence in sentences(facts):
        put(console, headed(stage, f": {sentence}"), wrapped=True)
    for stage, sentence in reward_warnings(facts):
        put(console, f"{stage}: {sentence}", "yellow", wrapped=True)
    if facts.evaluations:
        put(console, "\nMeans ± the wider half of their 95 % intervals, rounded up:", wrapped=True)
    for evaluation in facts.evaluations:
        for names in _score_groups(evaluation, console.width):
            put(console, _score_table(evaluation, names))
    for grid in reply_grids(facts, checkpoints)[: None if checkpoints else 1]:
        for row in grid.rows[:_SHOWN_PROBLEMS]:
            put(console, _comparison_table(grid, row))
    _put_times(console, facts)
    if totals := total_sentence(facts):
        put(console, totals, wrapped=True)
    for text in facts.missing:
        put(console, f"missing: {text}", "yellow")


def _score_groups(evaluation: Evaluation, width: int) -> tuple[tuple[str, ...], ...]:
    """The names of the main scores, in as few groups of about equal size as fit into ``width`` characters."""
    names = compact_scores(evaluation)
    longest = max(map(len, ("checkpoint", *evaluation.checkpoints)))
    fit = max(1, (width - longest - 2 * _PADDING) // (_SCORE_WIDTH + _PADDING))
    groups = -(-len(names) // fit)
    size = -(-len(names) // groups) if groups else 1
    return tuple(names[start : start + size] for start in range(0, len(names), size))


def _score_table(evaluation: Evaluation, names: Sequence[str]) -> Table:
    """One row a checkpoint, one column for each score of ``names``; a cell is the mean with its interval's half."""
    columns = ("checkpoint", *map(_heading, names))
    rows = (
        (checkpoint, *(_score_cell(scores.get(name), name) for name in names))
        for checkpoint, scores in evaluation.checkpoints.items()
    )
    return table(f"{evaluation.stage}: {asked(evaluation)}", columns, rows, numeric=True, padding=0)


def _comparison_table(grid: Grid, row: Sequence[Cell]) -> Table:
    """One problem: the question and right answer as its title, each checkpoint's reply in a column."""
    replies = [replace(cell, text=shortened(cell.text, _SHOWN_CHARACTERS)) for cell in row[1:]]
    return table(f"{row[0].text}   {row[0].detail}", grid.columns[1:], (replies,))


def _heading(name: str) -> str:
    """A score's name, broken so that its column is no wider than its numbers."""
    grade, slash, measure = name.rpartition("/")
    measure = measure.replace("@", "\n@") if len(measure) > _SCORE_WIDTH else measure
    return f"{grade}/\n{measure}" if slash else measure


def _score_cell(score: Score | None, name: str) -> str:
    """A mean with its interval's half; beneath it what was not graded, where there is some."""
    if score is None:
        return NOTHING.text
    missing = ungraded(score)
    return with_half(score, name) + (f"\n{missing}\nnot\ngraded" if missing else "")


def _put_times(console: Console, facts: Facts) -> None:
    """How fast each stage went and what its steps waited for."""
    for stage in facts.stages:
        times = times_of(stage.timings, stage.metrics, stage.record)
        if times is not None:
            put(console, headed(stage.name, f" took {'; '.join(time_words(times))}"), wrapped=True)
