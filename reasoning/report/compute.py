"""What ways of answering reached against what they took, as tables and pictures."""

from collections.abc import Sequence

import numpy as np

from reasoning.findings.curves import Chart, Series
from reasoning.findings.numbers import amount, ends, large, number, points
from reasoning.findings.scaling import Scaling, Spent
from reasoning.findings.scores import SAMPLED, asked
from reasoning.report.document import NOTHING, Cell, Grid
from reasoning.report.grids import difference_cell

_FRONTIER = "*"
_COLUMNS = ("method", "tokens a problem", "FLOPs a problem", "", "frontier", "less the reference")


def scaling_grids(scaling: Scaling) -> tuple[Grid, ...]:
    """A table a checkpoint."""
    columns = tuple(name or scaling.score for name in _COLUMNS)
    return tuple(
        Grid(
            f"{checkpoint}: {asked(scaling.evaluation)}; reference {scaling.references[checkpoint]}",
            columns,
            tuple(map(_row, rows)),
        )
        for checkpoint, rows in scaling.checkpoints.items()
    )


def difficulty_grids(scaling: Scaling) -> tuple[Grid, ...]:
    """A table a checkpoint of accuracies by difficulty, where there are bins."""
    if not scaling.graded_by:
        return ()
    bins = len(next(iter(scaling.checkpoints.values()))[0].by_bin)
    names = [f"part {place} of {bins}" for place in range(1, bins + 1)]
    names[0], names[-1] = f"{names[0]}, hardest", f"{names[-1]}, easiest"
    return tuple(
        Grid(
            f"{checkpoint} by difficulty: equally many problems by {SAMPLED} of {scaling.graded_by}",
            ("method", *names),
            tuple(
                (
                    Cell(row.method),
                    *(Cell(number(each.mean), ends(each.low, each.high, number)) for each in row.by_bin),
                )
                for row in rows
            ),
        )
        for checkpoint, rows in scaling.checkpoints.items()
    )


def frontier_charts(scaling: Scaling) -> tuple[Chart, ...]:
    """Accuracy against tokens and, where they are known, against FLOPs: all checkpoints of the exam in one picture."""
    every = {name: [row for row in rows if not row.ceiling] for name, rows in scaling.checkpoints.items()}
    known = all(row.flops is not None for rows in scaling.checkpoints.values() for row in rows)
    charts = (
        Chart(
            f"{scaling.evaluation.stage}: {scaling.score} against {what}",
            scaling.score,
            tuple(each for name, rows in every.items() if (each := _spots(name, rows, of_flops)).smooth),
            what,
            True,
        )
        for of_flops, what in ((False, "tokens a problem"), (True, "FLOPs a problem"))[: 1 + known]
    )
    return tuple(chart for chart in charts if chart.series)


def _spots(name: str, rows: Sequence[Spent], of_flops: bool) -> Series:
    """A checkpoint's ways of answering as dots; those than which nothing cheaper is as good are joined and told."""
    costs = {row.method: row.flops if of_flops and row.flops is not None else row.tokens.mean for row in rows}
    ordered = sorted(rows, key=lambda row: (costs[row.method], row.accuracy.mean))
    places = tuple((costs[row.method], row.accuracy.mean) for row in ordered)
    names = tuple(row.method for row in ordered)
    spans = tuple((costs[row.method], row.accuracy.low, row.accuracy.high) for row in ordered)
    best = [at for at, row in enumerate(ordered) if (row.cheapest if of_flops else row.frontier)]
    told = "; ".join(f"{names[at]} {number(places[at][1])} at {amount(places[at][0])}" for at in best)
    # Until something better is paid for, what was reached stays: steps, not slopes.
    line = [places[at] for at in best[:1]]
    for at in best[1:]:
        line += [(places[at][0], line[-1][1]), places[at]]
    return Series(name, places, tuple(line), tuple(span for span in spans if np.isfinite(span).all()), told, names)


def _row(spent: Spent) -> tuple[Cell, ...]:
    tokens, accuracy, difference = spent.tokens, spent.accuracy, spent.difference
    told = ends(tokens.low, tokens.high, lambda end: number(end, "length")) if np.isfinite(tokens.low) else ""
    return (
        Cell(spent.method, "one of them is right" if spent.ceiling else ""),
        Cell(number(tokens.mean, "length"), told),
        NOTHING if spent.flops is None else Cell(large(spent.flops) + f" {_FRONTIER}" * spent.cheapest),
        Cell(number(accuracy.mean), ends(accuracy.low, accuracy.high, number)),
        Cell(_FRONTIER) if spent.frontier else NOTHING,
        NOTHING if difference is None else difference_cell(*points(difference), difference.clear, difference.mean > 0),
    )
