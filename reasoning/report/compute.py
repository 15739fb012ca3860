"""What ways of answering reached against what they took, as tables and pictures."""

import numpy as np

from reasoning.findings.numbers import ends, large, number, points
from reasoning.findings.scaling import Scaling, Spent
from reasoning.findings.scores import SAMPLED, asked
from reasoning.report.document import NOTHING, Cell, Frontier, Grid, Spot
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


def frontier_pictures(scaling: Scaling) -> tuple[Frontier, ...]:
    """Accuracy against tokens and, where they are known, against FLOPs: all checkpoints of the exam in one picture."""

    def spots(of_flops: bool) -> tuple[Spot, ...]:
        return tuple(
            Spot(
                checkpoint,
                row.method,
                row.flops if of_flops and row.flops is not None else row.tokens.mean,
                row.accuracy.mean,
                row.accuracy.low,
                row.accuracy.high,
                row.cheapest if of_flops else row.frontier,
            )
            for checkpoint, rows in scaling.checkpoints.items()
            for row in rows
            if not row.ceiling
        )

    known = all(row.flops is not None for rows in scaling.checkpoints.values() for row in rows)
    named = ((False, "tokens a problem"), (True, "FLOPs a problem"))[: 1 + known]
    title = f"{scaling.evaluation.stage}: {scaling.score} against "
    return tuple(Frontier(title + what, what, spots(of_flops)) for of_flops, what in named)


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
