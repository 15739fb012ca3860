"""What ways of answering reached against what they took, as charts: all checkpoints of an exam in one picture."""

from collections.abc import Sequence

import numpy as np

from reasoning.findings.curves import Chart, Series
from reasoning.findings.numbers import amount, number
from reasoning.findings.scaling import Scaling, Spent


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
