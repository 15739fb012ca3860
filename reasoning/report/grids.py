"""The tables of a report, from facts to cells, the same for the page and for Markdown."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from reasoning.core.statistics import Interval
from reasoning.evaluation.results import Scores
from reasoning.findings.beside_plan import BesidePlan, StepTimes
from reasoning.findings.costs import COUNTED, costs, totals
from reasoning.findings.evaluations import Evaluation
from reasoning.findings.facts import Facts
from reasoning.findings.numbers import CANT_TELL, ends, large, number, points
from reasoning.findings.pairs import differences
from reasoning.findings.plans import duration, gib
from reasoning.findings.prompt_styles import style_differences
from reasoning.findings.scaling import Scaling, Spent
from reasoning.findings.scores import (
    SAMPLED,
    asked,
    chosen_scores,
    grades,
    interval,
    main_score,
    ordered_scores,
    spoken,
    ungraded,
)
from reasoning.report.document import NOTHING, Block, Cell, Grid, Paragraph, Tone

_AS_ASKED, _FRONTIER = "as asked", "*"
_SPENT = ("method", "tokens a problem", "FLOPs a problem", "", "frontier", "less the reference")


def score_grids(evaluation: Evaluation) -> tuple[Grid, ...]:
    """The table of checkpoints, the scores that aren't headlines, then kinds of problems, then ways of asking."""
    names = evaluation.results.columns()
    first = chosen_scores(evaluation)
    more = tuple(name for name in ordered_scores(names) if name not in first)
    title = f"{evaluation.stage}: {asked(evaluation)}"
    grids = [replace(_scores(title, evaluation.checkpoints, first), open=True)]
    if more:
        grids.append(_scores(f"{evaluation.stage}: further scores", evaluation.checkpoints, more, folded=True))
    grids += _part_grids(f"{evaluation.stage}, by kind of problem", evaluation.results.kinds, {})
    grids += _part_grids(f"{evaluation.stage}, by prompt style", evaluation.results.styles, evaluation.checkpoints)
    return (*grids, *_confusion_grids(evaluation))


def difference_grid(facts: Facts, evaluation: Evaluation) -> Grid | None:
    """Pairs of checkpoints by score, and where there are several kinds of problems the main score by kind."""
    names, kinds, rows = differences(facts, evaluation)
    if not rows:
        return None
    cells = tuple((Cell(f"{pair.later} − {pair.earlier}"), *map(_difference_cell, row)) for pair, row in rows.items())
    by_kind = f"{spoken(main_score(evaluation) or '')} by kind"
    groups = (("all problems", len(names)), (by_kind, len(kinds))) if kinds else ()
    return Grid(f"{evaluation.stage}: differences", ("pair", *names, *kinds), cells, groups=groups)


def style_grid(evaluation: Evaluation) -> Grid | None:
    """Each checkpoint in one prompt style less itself in another, over all problems and by kind."""
    found = style_differences(evaluation)
    if found is None:
        return None
    cells = tuple(
        (
            Cell(f"{pair.checkpoint}: {pair.style or _AS_ASKED} − {pair.other or _AS_ASKED}"),
            *map(_difference_cell, row),
        )
        for pair, row in found.rows.items()
    )
    title = f"{evaluation.stage}: {found.score} in one prompt style less another"
    return Grid(title, ("styles", "all problems", *found.kinds), cells)


def total_grid(facts: Facts) -> Grid | None:
    """Tokens and FLOPs by stage and in all; None where no stage counted any."""
    rows = [(stage.name, stage.kind, cost) for stage in facts.stages if (cost := costs(stage))]
    if not rows:
        return None
    cells = (
        (Cell(name), Cell(kind), *(Cell(large(cost[what])) if what in cost else NOTHING for what in COUNTED))
        for name, kind, cost in (*rows, ("in all", "", totals(facts)))
    )
    return Grid("Tokens and floating-point operations", ("stage", "kind", "tokens", "FLOPs"), tuple(cells))


def _scores(title: str, table: Mapping[str, Scores], names: Sequence[str], folded: bool = False) -> Grid:
    counts = {score.n for scores in table.values() for score in scores.values()}
    rows = tuple(
        (Cell(checkpoint), *(score_cell(scores, name, len(counts) > 1) for name in names))
        for checkpoint, scores in table.items()
    )
    return Grid(title, ("checkpoint", *names), rows, folded=folded)


def _part_grids(title: str, parts: Mapping[str, Mapping[str, Scores]], whole: Mapping[str, Scores]) -> list[Grid]:
    """Main scores side by side for all parts, then each part's own full table, folded.

    ``whole``: the scores under the exam's own prompt, to stand first.
    """
    columns = tuple(dict.fromkeys(part for scores in parts.values() for part in scores))
    if not columns:
        return []
    names = tuple(dict.fromkeys(name for by_part in parts.values() for scores in by_part.values() for name in scores))
    # Parts are compared by pass@1 of each grade, and by the length of replies.
    wanted = (*(f"{grade}/{SAMPLED}" for grade in grades(names)), "length")
    shown, asked_so = [name for name in wanted if name in names] or names[:1], (_AS_ASKED,) if whole else ()
    rows = []
    for checkpoint, by_part in parts.items():
        tables = ([whole.get(checkpoint, {})] if whole else []) + [by_part.get(part, {}) for part in columns]
        rows.append((Cell(checkpoint), *(score_cell(table, name) for name in shown for table in tables)))
    every_column = (*asked_so, *columns) * len(shown)
    groups = tuple((spoken(name), len(asked_so) + len(columns)) for name in shown)
    grids = [Grid(title, ("checkpoint", *every_column), tuple(rows), groups=groups)]
    for part in columns:
        table = {checkpoint: by_part[part] for checkpoint, by_part in parts.items() if part in by_part}
        grids.append(_scores(f"{title}: all scores of ‘{part}’", table, ordered_scores(names), folded=True))
    return grids


def _confusion_grids(evaluation: Evaluation) -> Iterator[Grid]:
    """Which answers were given for which, a checkpoint and method each; open are those of the last checkpoint."""
    last = [*evaluation.checkpoints][-1:]
    for checkpoint, by_method in evaluation.results.confusions.items():
        for method, confusion in by_method.items():
            caption = f"{evaluation.stage}: what {checkpoint} gave by {method} (columns) for each right answer (rows)"
            rows = tuple(
                (Cell(label, quoted=True), *(Cell(large(count), tone=_heat(count, sum(counts))) for count in counts))
                for label, counts in zip(confusion.labels, confusion.counts, strict=True)
            )
            yield Grid(
                caption, ("right answer", *confusion.labels, "none of them"), rows, folded=checkpoint not in last
            )


def _heat(count: float, whole: float) -> Tone:
    """How much of its row a cell holds, in quarters; none for nothing."""
    heats: tuple[Tone, ...] = ("", "heat1", "heat2", "heat3", "heat4")
    return heats[math.ceil(4 * count / whole)] if whole else ""


def score_cell(scores: Scores, name: str, show_n: bool = False) -> Cell:
    """A score's mean above its interval, the number of problems where that must be told, and what was not graded."""
    score = scores.get(name)
    if score is None:
        return NOTHING
    counted, missing = f"n {score.n}" if show_n else "", ungraded(score)
    told = (interval(score, name), counted, f"{missing} not graded" if missing else "")
    return Cell(number(score.mean, name), ", ".join(filter(None, told)))


def _difference_cell(mean: Interval | None) -> Cell:
    return NOTHING if mean is None else difference_cell(*points(mean), mean.clear, mean.mean > 0)


def difference_cell(mean: str, interval: str, evident: bool, higher: bool) -> Cell:
    """A difference above its interval, or that nothing can be told of it."""
    if not evident:
        return Cell(CANT_TELL, f"{mean} ({interval})", "unsure")
    return Cell(mean, interval, "up" if higher else "down")


def plan_blocks(beside: BesidePlan | None) -> tuple[Block, ...]:
    """What a run was planned to hold and what it held, and its stages' steps beside their least time."""
    if beside is None:
        return ()
    peak = beside.peak
    found = "the devices don't tell what they held" if peak is None else f"the fullest device held {gib(peak)} GiB"
    told = f"Planned for {beside.topology}: {gib(beside.planned)} GiB of a device at the fullest; {found}."
    columns = ("stage", "a step at least", "a step, median", "times as long")
    return Paragraph(told), Grid("Steps beside the plan", columns, tuple(map(_step_row, beside.steps)))


def _step_row(step: StepTimes) -> tuple[Cell, ...]:
    if step.taken is None:
        return Cell(step.stage), Cell(duration(step.least)), NOTHING, NOTHING
    times = step.taken / step.least if step.least else 0.0
    longer = f"{times:.{0 if times >= 10 else 1}f}" if times else "–"
    return Cell(step.stage), Cell(duration(step.least)), Cell(duration(step.taken)), Cell(longer)


def scaling_grids(scaling: Scaling) -> tuple[Grid, ...]:
    """A table a checkpoint."""
    columns = tuple(name or scaling.score for name in _SPENT)
    return tuple(
        Grid(
            f"{checkpoint}: {asked(scaling.evaluation)}; reference {scaling.references[checkpoint]}",
            columns,
            tuple(map(_spent_row, rows)),
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


def _spent_row(spent: Spent) -> tuple[Cell, ...]:
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
