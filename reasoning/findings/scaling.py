"""Which way of answering is worth its compute: accuracy against tokens and FLOPs a problem, with the frontier of both.

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
from reasoning.evaluation.exam import Answers
from reasoning.evaluation.methods import Method, columns_of, scorer_flops_of, tokens_of
from reasoning.evaluation.results import Replies
from reasoning.evaluation.tables import answers_of
from reasoning.experiment.restore import restore
from reasoning.findings.evaluations import Evaluation
from reasoning.findings.facts import Facts
from reasoning.findings.scores import SAMPLED, grades, is_one_of_several, main_score
from reasoning.findings.stages import StageFacts, mapping
from reasoning.models.config import ModelConfig
from reasoning.models.flops import forward_flops
from reasoning.stages.checkpoint import CONFIG, read_model


@dataclass(frozen=True)
class Spent:
    """What one way of answering reached for its tokens; ``difference`` to its checkpoint's reference, where there is
    one to be told; ``frontier``: nothing that takes fewer tokens is as good, ``cheapest``: nothing that takes fewer
    FLOPs, where they are known. A ``ceiling`` is no way of answering, but a pass@k. ``by_bin`` are accuracies of
    problems of like difficulty, the hardest first."""

    method: str
    tokens: Interval
    flops: float | None
    accuracy: Interval
    ceiling: bool
    frontier: bool
    cheapest: bool
    difference: Interval | None
    by_bin: tuple[Interval, ...] = ()


@dataclass(frozen=True)
class Scaling:
    """One exam's methods by checkpoint, the cheapest first; ``references`` are what they are compared with."""

    evaluation: Evaluation
    score: str
    references: Mapping[str, str]
    checkpoints: Mapping[str, tuple[Spent, ...]]
    graded_by: str = ""  # whose samples tell how difficult problems are


@dataclass(frozen=True)
class _Measured:
    """A column's values, NaN for what was not graded, its tokens, and its FLOPs where the model is known."""

    values_PV: np.ndarray
    tokens_P: np.ndarray
    flops_P: np.ndarray | None

    def means(self) -> np.ndarray:
        """Each problem's mean of what was graded; NaN for none."""
        known_PV = ~np.isnan(self.values_PV)
        counts_P = known_PV.sum(axis=1)
        sums_P = np.where(known_PV, self.values_PV, 0).sum(axis=1)
        return np.where(counts_P > 0, sums_P / np.maximum(counts_P, 1), np.nan)

    def accuracy(self, rows_P: np.ndarray | None = None) -> Interval:
        """The mean with its interval, as the exam's table has it; of some problems, or of all."""
        values_PV, means_P = (each if rows_P is None else each[rows_P] for each in (self.values_PV, self.means()))
        return mean_over_problems(means_P[~np.isnan(means_P)] if np.isnan(values_PV).any() else values_PV)


def scaling_of(facts: Facts, exam: str, score: str = "", bins: int = 0) -> Scaling:
    """The methods of an exam, by one of its scores (empty: the one that reports compare by), and by ``bins``.

    Bins of difficulty hold equally many problems, sorted by the share of right samples (pass@1) of the first checkpoint
    that was sampled, so that checkpoints compare on the same problems (arXiv 2408.03314, section 3.2). Raises
    InputError where the run has no such exam or score, and where the exam's methods can't be told any more.
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
    configs = {name: _config(facts.stage(name)) for name in evaluation.checkpoints}
    measured = {name: _measured(evaluation, name, methods, chosen, configs[name]) for name in evaluation.checkpoints}
    references = {name: _reference(each) for name, each in measured.items() if each}
    differences = _differences(measured, references)
    judge = next((name for name, each in measured.items() if SAMPLED in each), "") if bins else ""
    parts = np.array_split(np.argsort(measured[judge][SAMPLED].means(), kind="stable"), bins) if judge else []
    tables = {name: _spent(each, differences.get(name, {}), parts) for name, each in measured.items() if each}
    return Scaling(evaluation, chosen, references, tables, judge)


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


def _config(stage: StageFacts | None) -> ModelConfig | None:
    """The model of a checkpoint that is at hand. InputError where its description is damaged."""
    if stage is None or stage.artifact is None or not (stage.artifact.path / CONFIG).exists():
        return None
    return read_model(stage.artifact.path)


def _flops(config: ModelConfig, rows: Sequence[Replies], answers: Answers, tokens_P: np.ndarray) -> np.ndarray:
    """The operations [P] that read each prompt once, where its length is known, and wrote ``tokens_P`` behind it.

    A token attends to the prompt and to as much as its reply had on average.
    """
    prompts_P = np.array([row.prompt or 0 for row in rows], np.float64)
    behind_P = prompts_P + (answers.lengths.mean(axis=1) + 1) / 2
    weights = forward_flops(config, 1, 0)
    a_place = forward_flops(config, 1, 1) - weights
    return prompts_P * (weights + a_place * prompts_P) + tokens_P * (weights + a_place * behind_P)


def _measured(
    evaluation: Evaluation,
    checkpoint: str,
    methods: Mapping[str, Mapping[str, Method]],
    score: str,
    config: ModelConfig | None,
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
            scorers = scorer_flops_of(method, answers)
            behind = f" ({style})" if style else ""
            for column in values.keys() & tokens:
                flops_P = None if config is None else _flops(config, rows, answers, tokens[column]) + scorers[column]
                found[column + behind] = _Measured(values[column].reshape(len(rows), -1), tokens[column], flops_P)
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


def _spent(
    measured: Mapping[str, _Measured], differences: Mapping[str, Interval], parts: Sequence[np.ndarray]
) -> tuple[Spent, ...]:
    frontier = _frontier(measured, {name: float(each.tokens_P.mean()) for name, each in measured.items()})
    flops = {name: None if each.flops_P is None else float(each.flops_P.mean()) for name, each in measured.items()}
    cheapest = _frontier(measured, {name: value for name, value in flops.items() if value is not None})
    return tuple(
        Spent(
            name,
            mean_with_interval(each.tokens_P),
            flops[name],
            each.accuracy(),
            is_one_of_several(name),
            name in frontier,
            name in cheapest,
            differences.get(name),
            tuple(each.accuracy(rows_P) for rows_P in parts),
        )
        for name, each in measured.items()
    )


def _frontier(measured: Mapping[str, _Measured], costs: Mapping[str, float]) -> set[str]:
    """The ways of answering that are better than whatever costs less; of equal costs the first."""
    found, best = set[str](), -np.inf
    for name in sorted(costs, key=lambda name: costs[name]):
        mean = measured[name].accuracy().mean
        if not is_one_of_several(name) and mean > best:
            found.add(name)
            best = mean
    return found
