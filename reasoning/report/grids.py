"""The tables of a report, from facts to cells, the same for the page and for Markdown."""

from collections.abc import Mapping, Sequence

from reasoning.report.document import Cell, Grid, Tone
from reasoning.report.facts import Facts
from reasoning.report.pairs import Difference, by_kind, by_score
from reasoning.report.scores import (
    CANT_TELL,
    asked,
    grades,
    headline_scores,
    interval,
    large,
    ordered_scores,
    points,
    share,
    spoken,
)
from reasoning.report.stages import StageFacts
from reasoning.report.table import Evaluation, Scores

NOTHING = Cell("–")


def score_grids(evaluation: Evaluation) -> tuple[Grid, ...]:
    """The table of checkpoints, the scores that aren't headlines, then kinds of problems, then ways of asking."""
    names = evaluation.scores()
    first = headline_scores(names) or names
    more = tuple(name for name in ordered_scores(names) if name not in first)
    title = f"{evaluation.stage}: {asked(evaluation)}"
    grids = [_scores(title, evaluation.checkpoints, first)]
    if more:
        grids.append(_scores(f"{evaluation.stage}: further scores", evaluation.checkpoints, more, folded=True))
    grids += _part_grids(f"{evaluation.stage}, by kind of problem", evaluation.kinds, {})
    grids += _part_grids(f"{evaluation.stage}, by prompt", evaluation.prompts, evaluation.checkpoints)
    return tuple(grids)


def difference_grid(facts: Facts, evaluation: Evaluation) -> Grid | None:
    """Pairs of checkpoints by score, and where there are several kinds of problems the main score by kind."""
    names, rows = by_score(facts, evaluation)
    if not rows:
        return None
    score, kinds, by_kinds = by_kind(facts, evaluation)
    more = {row[0].pair: row for row in by_kinds}
    cells = tuple(
        (
            Cell(f"{row[0].pair.later} − {row[0].pair.earlier}"),
            *(_difference_cell(item) for item in row),
            *(_difference_cell(item) for item in more.get(row[0].pair, ())),
        )
        for row in rows
    )
    groups = (("all problems", len(names)), (f"{spoken(score)} by kind", len(kinds))) if kinds else ()
    size = len(names) + len(kinds)
    whole = tuple((*row, *[NOTHING] * (1 + size - len(row))) for row in cells)
    return Grid(f"{evaluation.stage}: differences", ("pair", *names, *kinds), whole, groups=groups)


def total_grid(facts: Facts) -> Grid | None:
    """Tokens and FLOPs by stage and in all; None where no stage counted any."""
    counted = [stage for stage in facts.stages if {"tokens", "flops"} & set(_costs(stage))]
    if not counted:
        return None
    rows = [(Cell(stage.name), Cell(stage.kind), *_cost_cells(_costs(stage))) for stage in counted]
    rows.append((Cell("in all"), Cell(""), *_cost_cells(totals(facts))))
    return Grid("Tokens and floating-point operations", ("stage", "kind", "tokens", "FLOPs"), tuple(rows))


def totals(facts: Facts) -> dict[str, float]:
    """Tokens and FLOPs of all stages that counted them."""
    costs = [_costs(stage) for stage in facts.stages]
    return {
        name: sum(cost[name] for cost in costs if name in cost)
        for name in ("tokens", "flops")
        if any(name in cost for cost in costs)
    }


def _costs(stage: StageFacts) -> dict[str, float]:
    """What models read and wrote; the tokens that a packed corpus holds are no work."""
    if stage.kind in ("Prepare", "WriteAnswers"):
        return {}
    return {name: value for name, value in stage.results.items() if name in ("tokens", "flops")}


def _cost_cells(cost: Mapping[str, float]) -> tuple[Cell, Cell]:
    cells = (Cell(large(cost[name])) if name in cost else NOTHING for name in ("tokens", "flops"))
    return next(cells), next(cells)


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
    every = [scores for by_part in parts.values() for scores in by_part.values()]
    names = tuple(dict.fromkeys(name for scores in every for name in scores))
    own = ("as asked",) if whole else ()
    shown = _side_by_side(names)
    rows = tuple(
        (
            Cell(checkpoint),
            *(
                cell
                for name in shown
                for cell in (
                    *([score_cell(whole.get(checkpoint, {}), name)] if whole else []),
                    *(score_cell(by_part.get(part, {}), name) for part in columns),
                )
            ),
        )
        for checkpoint, by_part in parts.items()
    )
    every_column = (*own, *columns) * len(shown)
    groups = tuple((spoken(name), len(own) + len(columns)) for name in shown)
    grids = [Grid(title, ("checkpoint", *every_column), rows, groups=groups)]
    for part in columns:
        table = {checkpoint: by_part[part] for checkpoint, by_part in parts.items() if part in by_part}
        grids.append(_scores(f"{title}: all scores of ‘{part}’", table, ordered_scores(names), folded=True))
    return grids


def _side_by_side(names: Sequence[str]) -> tuple[str, ...]:
    """The scores that parts are compared by: pass@1 of each grade, and the length of replies."""
    wanted = [f"{grade}/pass@1" for grade in grades(names)] + ["length"]
    found = tuple(name for name in wanted if name in names)
    return found or tuple(names[:1])


def score_cell(scores: Scores, name: str, show_n: bool = False) -> Cell:
    """A score's mean above its interval, and the number of problems where that must be told."""
    score = scores.get(name)
    if score is None:
        return NOTHING
    return Cell(share(score.mean, name), interval(score, name) + (f", n {score.n}" if show_n else ""))


def _difference_cell(item: Difference) -> Cell:
    if item.interval is None:
        return NOTHING
    mean, ends = points(item.interval)
    if not item.interval.excludes(0):
        return Cell(CANT_TELL, f"{mean} ({ends})", "unsure")
    tone: Tone = "up" if item.interval.mean > 0 else "down"
    return Cell(mean, ends, tone)
