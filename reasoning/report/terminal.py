"""A run's results on the terminal: what happened in words, its scores, and what the models answered, side by side."""

import math
from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from reasoning.core.errors import InputError
from reasoning.report.content import total_sentence
from reasoning.report.document import Cell, Grid
from reasoning.report.facts import Facts
from reasoning.report.replies import reply_grids
from reasoning.report.scores import COUNTED_DIGITS, asked, compact_scores, short
from reasoning.report.sentences import sentences
from reasoning.report.table import Evaluation, Score
from reasoning.report.text import printable, shortened

SHOWN_PROBLEMS = 3
SHOWN_CHARACTERS = 300
SCORE_WIDTH, PADDING = 8, 2
"""Characters that a score's column takes, and those between two columns."""


def show(console: Console, facts: Facts, checkpoints: tuple[str, ...] = ()) -> None:
    """Prints a sentence a stage, every evaluation's main scores, totals, and three problems with replies side by side.

    ``checkpoints`` chooses whose replies are shown, by default the base's, the first's that rewards trained and the
    last's of the first evaluation. Raises InputError for a checkpoint that no evaluation knows.
    """
    check(facts, checkpoints)
    for stage, sentence in sentences(facts):
        console.print(Text.assemble((stage, "bold"), f": {sentence}"))
    if facts.evaluations:
        console.print(_cell("\nMeans ± the wider half of their 95 % intervals, rounded up:"))
    for evaluation in facts.evaluations:
        for names in score_groups(evaluation, console.width):
            console.print(score_table(evaluation, names))
    for grid in reply_grids(facts, checkpoints)[: None if checkpoints else 1]:
        for row in grid.rows[:SHOWN_PROBLEMS]:
            console.print(comparison_table(grid, row))
    if totals := total_sentence(facts):
        console.print(_cell(totals))
    for text in facts.missing:
        console.print(_cell(f"missing: {text}", "yellow"), soft_wrap=True)


def check(facts: Facts, checkpoints: Sequence[str]) -> None:
    """Raises InputError where no evaluation examined all of ``checkpoints``."""
    if not checkpoints or any(set(checkpoints) <= set(evaluation.checkpoints) for evaluation in facts.evaluations):
        return
    known = {name: None for evaluation in facts.evaluations for name in evaluation.checkpoints}
    unknown = [name for name in checkpoints if name not in known]
    if unknown:
        raise InputError(
            f"the run has no checkpoint {', '.join(unknown)} in its evaluations; they examined "
            f"{', '.join(known) or 'nothing'}"
        )
    raise InputError(f"no evaluation examined all of {', '.join(checkpoints)}; compare those of one evaluation")


def score_groups(evaluation: Evaluation, width: int) -> tuple[tuple[str, ...], ...]:
    """The names of the main scores, in as few groups of about equal size as fit into ``width`` characters."""
    names = compact_scores(evaluation)
    longest = max(map(len, ("checkpoint", *evaluation.checkpoints)))
    fit = max(1, (width - longest - 2 * PADDING) // (SCORE_WIDTH + PADDING))
    groups = -(-len(names) // fit)
    size = -(-len(names) // groups) if groups else 1
    return tuple(names[start : start + size] for start in range(0, len(names), size))


def score_table(evaluation: Evaluation, names: Sequence[str]) -> Table:
    """One row a checkpoint, one column for each score of ``names``; a cell is the mean with its interval's half."""
    table = Table(
        title=_cell(f"{evaluation.stage}: {asked(evaluation)}", "bold"),
        title_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 0, 0, 1),
    )
    table.add_column("checkpoint", overflow="fold")
    for name in names:
        table.add_column(_cell(_heading(name)), justify="right", overflow="fold")
    for checkpoint, scores in evaluation.checkpoints.items():
        table.add_row(_cell(checkpoint), *(_score_cell(scores.get(name), name) for name in names))
    return table


def comparison_table(grid: Grid, row: Sequence[Cell]) -> Table:
    """One problem: the question and right answer as its title, each checkpoint's reply in a column."""
    title = f"{row[0].text}   {row[0].detail}"
    table = Table(title=_cell(title, "bold"), title_justify="left", box=box.SIMPLE_HEAD)
    for name in grid.columns[1:]:
        table.add_column(_cell(name), overflow="fold")
    table.add_row(*(_cell(shortened(cell.text, SHOWN_CHARACTERS)) for cell in row[1:]))
    table.add_row(*(_cell(cell.detail, "dim") for cell in row[1:]))
    return table


def _cell(text: str, style: str = "") -> Text:
    """Text as it is: rich reads no markup in a Text, and nothing that a terminal acts on is left."""
    return Text(printable(text), style=style)


def _heading(name: str) -> str:
    """A score's name, broken so that its column is no wider than its numbers."""
    grade, slash, measure = name.rpartition("/")
    measure = measure.replace("@", "\n@") if len(measure) > SCORE_WIDTH else measure
    return f"{grade}/\n{measure}" if slash else measure


def _score_cell(score: Score | None, name: str) -> Text:
    if score is None:
        return Text("–")
    if score.low is None or score.high is None:
        return Text(short(score.mean, name))
    # Rounded up: no interval looks narrower than it is, and none like nothing.
    half = max(score.mean - score.low, score.high - score.mean)
    digits = COUNTED_DIGITS.get(name, 2) if half < 10 else 0
    shown = math.ceil(half * 10**digits - 1e-9) / 10**digits
    return Text(f"{short(score.mean, name)}±{f'{shown:.{digits}f}'.removeprefix('0')}")
