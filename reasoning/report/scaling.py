"""Which way of answering is worth its tokens: accuracy against tokens a problem, with what is on the frontier.

All is taken from the replies that an exam kept, so methods compare problem by problem.

Shapes: P problems, V replies or groups of replies a problem.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from reasoning.core.errors import InputError
from reasoning.core.statistics import (
    Interval,
    difference_over_problems,
    mean_over_problems,
    mean_with_interval,
    together,
)
from reasoning.evaluation.methods import Method, columns_of, tokens_of
from reasoning.evaluation.results import Replies
from reasoning.evaluation.tables import answers_of
from reasoning.experiment.restore import restore
from reasoning.report.document import NOTHING, Cell, Grid
from reasoning.report.evaluations import Evaluation
from reasoning.report.facts import Facts
from reasoning.report.grids import difference_cell
from reasoning.report.numbers import ends, number, points
from reasoning.report.scores import SAMPLED, asked, grades, is_one_of_several, main_score
from reasoning.report.stages import mapping

_FRONTIER = "*"
_COLUMNS = ("method", "tokens a problem", "", "frontier", "less the reference")


@dataclass(frozen=True)
class Spent:
    """What one way of answering reached for its tokens; ``difference`` to its checkpoint's reference, where there is
    one to be told; ``frontier``: nothing cheaper is as good. A ``ceiling`` is no way of answering, but a pass@k."""

    method: str
    tokens: Interval
    accuracy: Interval
    ceiling: bool
    frontier: bool
    difference: Interval | None


@dataclass(frozen=True)
class Scaling:
    """One exam's methods by checkpoint, the cheapest first; ``references`` are what they are compared with."""

    evaluation: Evaluation
    score: str
    references: Mapping[str, str]
    checkpoints: Mapping[str, tuple[Spent, ...]]


@dataclass(frozen=True)
class _Measured:
    """A column's values, NaN for what was not graded, and its tokens."""

    values_PV: np.ndarray
    tokens_P: np.ndarray

    def means(self) -> np.ndarray:
        """Each problem's mean of what was graded; NaN for none."""
        known_PV = ~np.isnan(self.values_PV)
        counts_P = known_PV.sum(axis=1)
        sums_P = np.where(known_PV, self.values_PV, 0).sum(axis=1)
        return np.where(counts_P > 0, sums_P / np.maximum(counts_P, 1), np.nan)

    def accuracy(self) -> Interval:
        """The mean with its interval, as the exam's table has it."""
        means_P = self.means()
        return mean_over_problems(means_P[~np.isnan(means_P)] if np.isnan(self.values_PV).any() else self.values_PV)


def scaling_of(facts: Facts, exam: str, score: str = "") -> Scaling:
    """The methods of an exam, by one of its scores (empty: the one that reports compare by).

    Raises InputError where the run has no such exam or score, and where the exam's methods can't be told any more.
    """
    evaluation = next((each for each in facts.evaluations if each.stage == exam), None)
    stage = facts.stage(exam)
    if evaluation is None or stage is None:
        known = ", ".join(each.stage for each in facts.evaluations)
        raise InputError(f"the run has no finished exam {exam}; it has {known or 'none'}")
    known = grades(evaluation.results.columns())
    chosen = score or (main_score(evaluation) or "").partition("/")[0]
    if chosen not in known:
        raise InputError(f"the exam {exam} has no score {chosen}; it has {', '.join(known) or 'none'}")
    methods = _methods(mapping(stage.record.get("settings")), exam)
    measured = {name: _measured(evaluation, name, methods, chosen) for name in evaluation.checkpoints}
    references = {name: _reference(each) for name, each in measured.items() if each}
    differences = _differences(measured, references)
    tables = {name: _spent(each, differences.get(name, {})) for name, each in measured.items() if each}
    return Scaling(evaluation, chosen, references, tables)


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


def _row(spent: Spent) -> tuple[Cell, ...]:
    tokens, accuracy, difference = spent.tokens, spent.accuracy, spent.difference
    told = ends(tokens.low, tokens.high, lambda end: number(end, "length")) if np.isfinite(tokens.low) else ""
    return (
        Cell(spent.method, "one of them is right" if spent.ceiling else ""),
        Cell(number(tokens.mean, "length"), told),
        Cell(number(accuracy.mean), ends(accuracy.low, accuracy.high, number)),
        Cell(_FRONTIER) if spent.frontier else NOTHING,
        NOTHING if difference is None else difference_cell(*points(difference), difference.clear, difference.mean > 0),
    )


def _methods(settings: Mapping[str, Any], exam: str) -> dict[str, dict[str, Method]]:
    """The exam's methods by style (empty: its own) and name. InputError where a module of theirs isn't at hand."""
    try:
        own, further = restore(settings["methods"]), restore(settings["style_methods"])
        styles = [style["name"] for style in settings["styles"]]
    except (KeyError, TypeError) as error:
        raise InputError(f"the recorded settings of {exam} name no methods ({error!r}); run it again") from None
    except InputError as error:
        raise InputError(f"a method of {exam} can't be told: {error}; start where its module lies") from error
    return {style: {each.name: each for each in (further if style else own)} for style in ("", *styles)}


def _measured(
    evaluation: Evaluation, checkpoint: str, methods: Mapping[str, Mapping[str, Method]], score: str
) -> dict[str, _Measured]:
    """All columns of a checkpoint, those in other styles with the style behind their name."""
    found: dict[str, _Measured] = {}
    for style, samples in {"": evaluation.samples, **evaluation.restyled}.items():
        answered = samples.get(checkpoint, {})
        by_method: dict[str, list[Replies]] = {}
        for problem in sorted(answered):
            for row in answered[problem]:
                by_method.setdefault(row.method, []).append(row)
        for name, rows in by_method.items():
            if len(rows) != len(answered):
                raise InputError(f"{evaluation.stage} has lost replies of {checkpoint} by {name}; evaluate again")
            method, answers = methods[style][name], answers_of(rows)
            values, tokens = columns_of(method, answers, score), tokens_of(method, answers)
            behind = f" ({style})" if style else ""
            found |= {
                column + behind: _Measured(values[column].reshape(len(rows), -1), tokens[column])
                for column in values.keys() & tokens
            }
    return dict(
        sorted(found.items(), key=lambda item: (item[1].tokens_P.mean(), -np.nanmean(item[1].means()), item[0]))
    )


def _reference(measured: Mapping[str, _Measured]) -> str:
    """The cheapest majority of several samples, else the mean over samples, else the cheapest method."""
    votes = [name for name in measured if name.startswith("majority@") and not name.endswith("@1")]
    return next((name for name in (*votes, SAMPLED) if name in measured), next(iter(measured)))


def _differences(
    measured: Mapping[str, Mapping[str, _Measured]], references: Mapping[str, str]
) -> dict[str, dict[str, Interval]]:
    """How much more than its checkpoint's reference each method has, corrected for all of them together."""
    found: dict[tuple[str, str], Interval] = {}
    for checkpoint, reference in references.items():
        of_reference_P = measured[checkpoint][reference].means()
        for name, each in measured[checkpoint].items():
            means_P = each.means()
            both_P = ~np.isnan(means_P) & ~np.isnan(of_reference_P)
            if name != reference and not is_one_of_several(name) and both_P.sum() > 1:
                found[checkpoint, name] = difference_over_problems(means_P[both_P], of_reference_P[both_P])
    tables: dict[str, dict[str, Interval]] = {}
    for (checkpoint, name), one in zip(found, together(list(found.values())), strict=True):
        tables.setdefault(checkpoint, {})[name] = one
    return tables


def _spent(measured: Mapping[str, _Measured], differences: Mapping[str, Interval]) -> tuple[Spent, ...]:
    rows: list[Spent] = []
    for name, each in measured.items():
        accuracy = each.accuracy()
        ceiling = is_one_of_several(name)
        rows.append(
            Spent(
                name,
                mean_with_interval(each.tokens_P),
                accuracy,
                ceiling,
                not ceiling and _better_than_all(accuracy.mean, rows),
                differences.get(name),
            )
        )
    return tuple(rows)


def _better_than_all(mean: float, cheaper: Sequence[Spent]) -> bool:
    return all(mean > row.accuracy.mean for row in cheaper if not row.ceiling)
