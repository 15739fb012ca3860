"""From the replies of one checkpoint to its tables, with intervals, by kind of problem; and to rows and back.

Shapes: P problems, S samples a problem.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from reasoning.core.errors import InputError
from reasoning.core.statistics import mean_over_problems, mean_with_interval, statistic_over_problems
from reasoning.evaluation.classes import Outcomes, confusion_CC, independent, outcomes_of
from reasoning.evaluation.exam import Answers, Exam
from reasoning.evaluation.methods import Method, columns_of, tokens_of
from reasoning.evaluation.results import Confusion, Replies, Score
from reasoning.evaluation.scorers import StepScores
from reasoning.generation.voting import tally
from reasoning.rollouts.rating import reward_name
from reasoning.tasks.problems import Problem

Asked = Sequence[tuple[Method, Answers]]
"""Methods, in the order of the file, each with what it got."""


@dataclass(frozen=True)
class Values:
    """Numbers of every problem, by column: ``shares`` [P, …] lie in 0..1, ``amounts`` [P] on any scale."""

    shares: dict[str, np.ndarray]
    amounts: dict[str, np.ndarray]


def values_of(exam: Exam, asked: Asked) -> Values:
    """Every score by every method; rates, lengths and numbers of different answers over the most replies there are.

    Raises InputError for two methods with one column, for values outside 0..1, and as ``columns_of`` does.
    """
    shares: dict[str, np.ndarray] = {}
    for score in map(reward_name, exam.scores):
        for method, answers in asked:
            columns = columns_of(method, answers, score)
            if repeated := [column for column in columns if f"{score}/{column}" in shares]:
                raise InputError(f"two methods have the column {repeated[0]}, one of them {method.name}; rename it")
            shares |= {f"{score}/{column}": values for column, values in columns.items()}
    most = max((answers for _, answers in asked), key=lambda answers: answers.lengths.shape[1])
    shares |= {rate: most.scores[rate] for rate in map(reward_name, exam.rates)}
    for column, values in shares.items():
        if (outside := values[(values < 0) | (values > 1)]).size:
            raise InputError(f"{column} has the value {outside[0]:g}; an exam's scores and rates lie in 0..1, scale it")
    distinct = [len(tally(given)) for given in most.answers]
    return Values(shares, {"length": most.lengths.mean(axis=1), "distinct": np.array(distinct, np.float64)})


def tabulate(values: Values, problems: Sequence[int]) -> dict[str, Score]:
    """Means over some of the problems, with intervals clustered by problem; of those graded, where some are not.

    A problem of which some replies are not graded counts with the mean of the others. Raises InputError for a column of
    which nothing was graded.
    """
    rows = np.asarray(problems)
    intervals = {name: mean_over_problems(_graded(name, each[rows])) for name, each in values.shares.items()}
    intervals |= {name: mean_with_interval(each[rows]) for name, each in values.amounts.items()}
    missing = {name: float(np.isnan(each[rows]).mean()) for name, each in values.shares.items()}
    return {
        name: Score(each.mean, _finite(each.low), _finite(each.high), each.count, missing.get(name, 0.0))
        for name, each in intervals.items()
    }


def spent(asked: Asked) -> dict[str, Score]:
    """The mean of the tokens that each column took a problem, with its interval."""
    tokens = {name: each for method, answers in asked for name, each in tokens_of(method, answers).items()}
    intervals = {name: mean_with_interval(each) for name, each in tokens.items()}
    return {
        name: Score(each.mean, _finite(each.low), _finite(each.high), each.count) for name, each in intervals.items()
    }


def measured(exam: Exam, asked: Asked, problems: Sequence[Problem], chosen: Sequence[int]) -> dict[str, Score]:
    """The exam's measures of every method over some of the problems, as the columns ``<measure>/<method>``.

    Intervals are clustered by problem. Raises InputError for answers that are no classes, and for values outside 0..1.
    """
    table: dict[str, Score] = {}
    rows_P = np.asarray(chosen)
    for measure in exam.measures:
        for method, answers in asked:
            outcomes = _outcomes(answers, problems).pick(rows_P)
            value = measure(outcomes, np.ones(len(rows_P)))
            if value is None:
                continue
            name = f"{reward_name(measure)}/{method.name}"
            if not 0 <= value <= 1:
                raise InputError(f"{name} is {value:g}; a measure lies in 0..1, scale it")
            left_out = [measure(outcomes, 1.0 - (np.arange(len(rows_P)) == row)) for row in range(len(rows_P))]
            known = np.array([value if each is None else each for each in left_out])
            found = statistic_over_problems(value, known, independent(outcomes), outcomes.given_PS.shape[1])
            table[name] = Score(found.mean, found.low, found.high, found.count)
    return table


def confusions(exam: Exam, asked: Asked, problems: Sequence[Problem]) -> dict[str, Confusion]:
    """By method which answers were given for which, of exams with measures."""
    if not exam.measures:
        return {}
    every = {method.name: _outcomes(answers, problems) for method, answers in asked}
    return {
        name: Confusion(outcomes.labels, tuple(map(tuple, confusion_CC(outcomes).tolist())))
        for name, outcomes in every.items()
    }


def _outcomes(answers: Answers, problems: Sequence[Problem]) -> Outcomes:
    return outcomes_of([problem.answer for problem in problems], answers.answers, answers.probabilities)


def _graded(column: str, values: np.ndarray) -> np.ndarray:
    """The values, or where some are NaN the mean [P] of each problem that has others, which widens intervals."""
    known = ~np.isnan(values)
    if known.all():
        return values
    if not known.any():
        raise InputError(f"no reply was graded for {column}; see the verdicts of its replies, mend what grades them")
    values, known = values.reshape(len(values), -1), known.reshape(len(values), -1)
    some = known.any(axis=1)
    return np.where(known, values, 0)[some].sum(axis=1) / known[some].sum(axis=1)


def by_kind(values: Values, problems: Sequence[Problem]) -> dict[str, dict[str, Score]]:
    """A table for each kind of problem; none where all are of one kind.

    A column of which nothing was graded for a kind, whose only solution may be broken, is not in that kind's table.
    """
    kinds = sorted({problem.kind for problem in problems})
    if len(kinds) < 2:
        return {}
    tables = {}
    for kind in kinds:
        rows = [number for number, problem in enumerate(problems) if problem.kind == kind]
        shares = {name: each for name, each in values.shares.items() if not np.isnan(each[rows]).all()}
        tables[kind] = tabulate(Values(shares, values.amounts), rows)
    return tables


def rows_of(
    checkpoint: str,
    problems: Sequence[Problem],
    answers: Answers,
    method: str,
    style: str = "",
    first: int = 0,
    prompts: Sequence[Sequence[int]] = (),
) -> tuple[Replies, ...]:
    """Replies as rows for ``samples.jsonl``, one a problem; all numbers of the tables can be found from these.

    ``first`` is the number of the first of ``problems`` among all; ``prompts`` are what was read of each, where known.
    """
    return tuple(
        Replies(
            checkpoint=checkpoint,
            problem=first + number,
            question=problem.question,
            answer=problem.answer,
            kind=problem.kind,
            method=method,
            style=style,
            texts=tuple(answers.texts[number]),
            lengths=tuple(answers.lengths[number].tolist()),
            log_probs=tuple(answers.log_probs[number].tolist()),
            answers=tuple(answers.answers[number]),
            scores={name: _written(values[number], answers, name, number) for name, values in answers.scores.items()},
            reasons={
                name: tuple((each.verdict, each.failing, each.detail) for each in judgements[number])
                for name, judgements in answers.judgements.items()
                if any(each.verdict for each in judgements[number])
            },
            probabilities=answers.probabilities[number] if answers.probabilities else {},
            spent=None if answers.spent is None else int(answers.spent[number]),
            prompt=len(prompts[number]) if prompts else None,
            steps={
                name: tuple(tuple(scores_E.tolist()) for scores_E in each.steps[number])
                for name, each in answers.judged.items()
            },
            reads={
                name: tuple(zip(each.tokens[number].tolist(), each.flops[number].tolist(), strict=True))
                for name, each in answers.judged.items()
            },
        )
        for number, problem in enumerate(problems)
    )


def _written(values: np.ndarray, answers: Answers, name: str, number: int) -> tuple[float | None, ...]:
    """A problem's values, None for those that were not graded; what doesn't apply stays NaN."""
    missing = answers.ungraded.get(name)
    gone = [False] * len(values) if missing is None else missing[number]
    return tuple(None if lost else value for value, lost in zip(values.tolist(), gone, strict=True))


def answers_of(rows: Sequence[Replies]) -> Answers:
    """The replies that ``rows_of`` made rows of."""
    return Answers(
        texts=[list(row.texts) for row in rows],
        lengths=np.array([row.lengths for row in rows]),
        scores={name: np.array([row.scores[name] for row in rows], np.float64) for name in rows[0].scores},
        log_probs=np.array([row.log_probs for row in rows]),
        answers=[list(row.answers) for row in rows],
        probabilities=[dict(row.probabilities) for row in rows if row.probabilities],
        spent=None if rows[0].spent is None else np.array([row.spent for row in rows]),
        judged={name: _judged(rows, name) for name in rows[0].steps},
    )


def _judged(rows: Sequence[Replies], name: str) -> StepScores:
    reads_PS2 = np.array([row.reads[name] for row in rows], np.float64)
    steps = [[np.array(scores) for scores in row.steps[name]] for row in rows]
    return StepScores(steps, reads_PS2[..., 0].astype(np.int64), reads_PS2[..., 1])


def _finite(value: float) -> float | None:
    """The value, or None for the end of an interval that has none, which JSON can't write."""
    return value if np.isfinite(value) else None
