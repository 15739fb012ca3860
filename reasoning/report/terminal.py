"""A run's results on the terminal: its stages, its evaluations, and what the models answered, side by side."""

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from reasoning.core.artifact import Artifact
from reasoning.report.table import (
    RESULTS,
    Comparison,
    Evaluation,
    Reply,
    Score,
    compare,
    default_choice,
    evaluations,
)
from reasoning.report.text import printable, shortened

SHOWN_PROBLEMS = 3
SHOWN_CHARACTERS = 600
SCORE_WIDTH, PADDING = 12, 3
"""Characters that a score's column takes, and those between two columns."""


def show(console: Console, artifacts: Sequence[Artifact], checkpoints: tuple[str, ...] = ()) -> None:
    """Prints the stages, every evaluation's table and three held-out problems with replies side by side.

    ``checkpoints`` chooses whose replies are shown; by default the first two and the last of each evaluation. Raises
    InputError for damaged results or an unknown checkpoint.
    """
    console.print(stage_table(artifacts))
    for evaluation in evaluations(artifacts):
        for names in score_groups(evaluation, console.width):
            console.print(score_table(evaluation, names))
        chosen = checkpoints or default_choice(evaluation)
        for comparison in compare(evaluation, chosen, SHOWN_PROBLEMS) if chosen else ():
            console.print(comparison_table(comparison))


def stage_table(artifacts: Sequence[Artifact]) -> Table:
    """One row a stage: what it left and its final numbers."""
    table = _table("Stages", "stage", "kind", "artifact", "results")
    for artifact in artifacts:
        numbers = ", ".join(f"{name} {value:.4g}" for name, value in artifact.results.items())
        if (artifact.path / RESULTS).exists():
            numbers = "in the table below"
        table.add_row(*(_cell(text) for text in (artifact.stage, artifact.kind, artifact.path.name, numbers)))
    return table


def score_groups(evaluation: Evaluation, width: int) -> tuple[tuple[str, ...], ...]:
    """The names of the scores, in as few groups of about equal size as fit into ``width`` characters."""
    names = evaluation.scores()
    longest = max(map(len, ("checkpoint", *evaluation.checkpoints)))
    fit = max(1, (width - longest - PADDING) // (SCORE_WIDTH + PADDING))
    groups = -(-len(names) // fit)
    size = -(-len(names) // groups) if groups else 1
    return tuple(names[start : start + size] for start in range(0, len(names), size))


def score_table(evaluation: Evaluation, names: Sequence[str]) -> Table:
    """One row a checkpoint, one column for each score of ``names``; a cell is the mean above its 95 % interval."""
    headings = [name.replace("/", "/\n") for name in names]
    table = _table(f"{evaluation.stage}: {_size(evaluation)}, means with 95 % intervals", "checkpoint", *headings)
    for checkpoint, scores in evaluation.checkpoints.items():
        cells = (_score_cell(scores.get(name), evaluation.problems() is None) for name in names)
        table.add_row(_cell(checkpoint), *cells)
    return table


def comparison_table(comparison: Comparison) -> Table:
    """One problem: the question and right answer as its title, each checkpoint's reply in a column."""
    title = f"problem {comparison.problem}: {comparison.question}   right answer: {comparison.answer}"
    table = _table(title, *comparison.replies)
    table.add_row(*(_cell(shortened(reply.text, SHOWN_CHARACTERS)) for reply in comparison.replies.values()))
    table.add_row(*(_cell(_verdict(reply), "dim") for reply in comparison.replies.values()))
    return table


def _table(title: str, *columns: str) -> Table:
    table = Table(title=_cell(title, "bold"), title_justify="left", box=box.SIMPLE_HEAD)
    for column in columns:
        table.add_column(_cell(column), overflow="fold")
    return table


def _cell(text: str, style: str = "") -> Text:
    """Text as it is: rich reads no markup in a Text, and nothing that a terminal acts on is left."""
    return Text(printable(text), style=style)


def _size(evaluation: Evaluation) -> str:
    problems = evaluation.problems()
    return "held-out problems" if problems is None else f"{problems} held-out problems"


def _score_cell(score: Score | None, show_n: bool) -> Text:
    if score is None:
        return Text("–")
    digits = 3 if abs(score.mean) < 10 else 1
    interval = "no interval"
    if score.low is not None and score.high is not None:
        interval = f"{score.low:.{digits}f}–{score.high:.{digits}f}"
    return Text(f"{score.mean:.{digits}f}\n{interval}" + (f"\nn {score.n}" if show_n else ""))


def _verdict(reply: Reply) -> str:
    return " · ".join(f"{name} {value:.2f}" for name, value in reply.scores.items() if isinstance(value, int | float))
