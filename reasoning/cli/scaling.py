"""``reasoning scaling``: which way of answering is worth its compute, checkpoint by checkpoint."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from reasoning.cli.arguments import parsed
from reasoning.cli.progress import output
from reasoning.core.errors import InputError
from reasoning.findings.facts import gather
from reasoning.findings.scaling import Scaling, scaling_of
from reasoning.pipeline.folder import RUN
from reasoning.report.console import complain, put, say, table
from reasoning.report.document import Grid, Paragraph, Report, Section
from reasoning.report.grids import difficulty_grids, scaling_grids
from reasoning.report.markdown import markdown

_LEGEND = (
    "Means over problems with 95 % intervals, the cheapest method first. * is on the frontier: whatever takes fewer "
    "tokens (behind FLOPs: fewer of these) is less often right. Differences are percentage points less the reference "
    "(a checkpoint's cheapest majority), paired over the problems; one is claimed only where it holds at 95 % together "
    "with all in the exam (Holm's correction). Tokens are those that were decoded, of all samples and beams. FLOPs are "
    "two a parameter and token and attention's, of prompts, each read once, of what was decoded and of what scorers "
    "read."
)


def main(arguments: Sequence[str]) -> int:
    """Prints a table a checkpoint of each exam and returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="reasoning scaling",
        description="Shows for each checkpoint what every method of an exam reached, against the tokens that it took: "
        "single replies, votes, the best of N, searches, budgets. " + _LEGEND,
    )
    parser.add_argument("folder", metavar="RUN[/EXAM]", help="the --out of a run, and an exam (default: all of them)")
    parser.add_argument("--score", default="", metavar="NAME", help="by which score (default: the one reports name)")
    parser.add_argument(
        "--bins", type=int, default=0, metavar="N", help="also by difficulty: N parts of the problems (default: none)"
    )
    parser.add_argument("--markdown", action="store_true", help="write the tables as Markdown")
    chosen = parsed(parser.parse_args, arguments)
    path = Path(chosen.folder)
    if chosen.bins < 0 or chosen.bins == 1:
        raise InputError(f"--bins {chosen.bins} makes no parts to compare; give at least 2")
    run = path if (path / RUN).exists() else path.parent
    facts = gather(run)
    names = [each.stage for each in facts.evaluations] if run == path else [path.name]
    if not names:
        raise InputError(f"{run} has no finished exam; run one, or go on with the run")
    for text in facts.missing:
        complain(f"missing: {text}")
    _show([scaling_of(facts, name, chosen.score, chosen.bins) for name in names], chosen.markdown)
    return 0


def _show(found: Sequence[Scaling], as_markdown: bool) -> None:
    if as_markdown:
        sections = (Section(each.evaluation.stage, (Paragraph(_LEGEND), *_grids(each))) for each in found)
        say(markdown(Report("Accuracy against tokens", tuple(sections))))
        return
    console = output()
    for scaling in found:
        for grid in _grids(scaling):
            put(console, table(f"{scaling.evaluation.stage}, {grid.caption}", grid.columns, grid.rows, numeric=True))
    put(console, _LEGEND, "dim", wrapped=True)


def _grids(scaling: Scaling) -> tuple[Grid, ...]:
    return (*scaling_grids(scaling), *difficulty_grids(scaling))
