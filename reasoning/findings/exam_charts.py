"""What an exam's replies show better than a table tells: pass@k, accuracy against tokens, lengths, calibration."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain

import numpy as np

from reasoning.core.statistics import mean_over_problems, pass_at_k
from reasoning.findings.curves import Chart, Points, Series, spaced
from reasoning.findings.evaluations import Answered, Evaluation, graded, sampled
from reasoning.findings.numbers import number, short
from reasoning.findings.scores import main_grade, main_score, spoken

MOST_LINES = 6
"""Checkpoints of a picture: the first, the last, and some between, as many as there are colours."""

_FEWEST_VOTES, _FEWEST_PROBLEMS, _CONFIDENCES, _LENGTHS = 4, 8, 5, 24


def exam_charts(evaluation: Evaluation) -> tuple[Chart, ...]:
    """The charts of an exam, one line or dot a checkpoint; those for which its replies don't suffice are left out."""
    names = [*evaluation.checkpoints]
    names = [names[place] for place in spaced(len(names), MOST_LINES)]
    replies = {name: [*evaluation.samples.get(name, {}).values()] for name in names}
    grade, score = main_grade(evaluation), spoken(main_score(evaluation) or "")
    weighed = any(row.probabilities for each in replies.values() for row in chain(*each))
    sure = "probability" if weighed else "share of votes"
    charts = (
        Chart(f"{score.partition(' ')[0]} pass@k", "share of problems", _lines(_passes, replies, grade), "k", True),
        Chart(f"{score} against tokens", score, tuple(_spent(evaluation, names)), "tokens a reply"),
        Chart("Lengths of replies", "share of replies", _lines(_lengths, replies, ""), "tokens"),
        Chart("Calibration", "share right", _lines(_calibration, replies, grade), sure, guide=((0, 0), (1, 1))),
    )  # fmt: skip
    return tuple(chart for chart in charts if chart.series)


_Line = Callable[[str, Sequence[Answered], str], Series | None]


def _lines(of: _Line, replies: Mapping[str, Sequence[Answered]], grade: str) -> tuple[Series, ...]:
    found = (of(name, answered, grade) for name, answered in replies.items() if answered)
    return tuple(series for series in found if series is not None)


def _passes(name: str, answered: Sequence[Answered], grade: str) -> Series | None:
    """The chance that one of k samples is right, for k = 1, 2, 4 ... to as many as every problem has."""
    values = [found for each in answered if grade and (found := graded(sampled(each), grade))]
    most = min(map(len, values), default=0)
    if most < 2 or any(value not in (0, 1) for found in values for value in found):
        return None
    right_P, count_P = (np.array([each(found) for found in values]).astype(int) for each in (sum, len))
    means = {
        k: mean_over_problems(
            np.concatenate([pass_at_k(right_P[count_P == count], count, k) for count in sorted(set(count_P.tolist()))])
        )
        for k in sorted({2**power for power in range(most.bit_length())} | {most})
    }
    points = tuple((float(k), mean.mean) for k, mean in means.items())
    return Series(name, points, points, tuple((float(k), mean.low, mean.high) for k, mean in means.items()))


def _spent(evaluation: Evaluation, names: Sequence[str]) -> Iterator[Series]:
    """Each checkpoint's main score at the mean length of its replies."""
    for name in names:
        length, score = (evaluation.checkpoints[name].get(each or "") for each in ("length", main_score(evaluation)))
        if length is not None and score is not None:
            point = ((length.mean, score.mean),)
            ends = () if score.low is None or score.high is None else ((length.mean, score.low, score.high),)
            yield Series(name, point, point, ends, f"{short(score.mean)} at {number(length.mean, 'length')} tokens")


def _lengths(name: str, answered: Sequence[Answered], grade: str) -> Series | None:
    """How many replies are how long, in stretches of equal width; None where all are equally long."""
    lengths_N = np.array([length for each in answered for length in sampled(each).lengths])
    if lengths_N.min() == lengths_N.max():
        return None
    width = max(1, -(-int(lengths_N.max()) // _LENGTHS))
    counts = np.bincount(lengths_N // width)
    points = tuple((width * (place + 0.5), count / len(lengths_N)) for place, count in enumerate(counts.tolist()))
    told = f"median {number(float(np.median(lengths_N)), 'length')}, longest {lengths_N.max()}"
    return Series(name, points, points, told=told)


def _calibration(name: str, answered: Sequence[Answered], grade: str) -> Series | None:
    """How often chosen answers are right by how sure the choice was, in stretches of equal width (Guo et al. 2017).

    Stretches of a few problems are not drawn, but are in the expected error.
    """
    chosen = [found for each in answered if grade and (found := _choice(each, grade)) is not None]
    if not chosen:
        return None
    sure_P, right_P = np.array(chosen).T
    place_P = np.clip(np.ceil(sure_P * _CONFIDENCES).astype(int) - 1, 0, _CONFIDENCES - 1)
    inside = [place_P == place for place in np.unique(place_P)]
    means = [(float(sure_P[here].mean()), mean_over_problems(right_P[here])) for here in inside]
    error = sum(here.mean() * abs(sure - mean.mean) for here, (sure, mean) in zip(inside, means, strict=True))
    drawn = [(sure, mean) for sure, mean in means if mean.count >= _FEWEST_PROBLEMS]
    points: Points = tuple((sure, mean.mean) for sure, mean in drawn)
    ends = tuple((sure, mean.low, mean.high) for sure, mean in drawn)
    return Series(name, points, points, ends, f"expected error {short(float(error))}") if drawn else None


def _choice(answered: Answered, grade: str) -> tuple[float, float] | None:
    """How sure a problem's answer was (its probability, else its share of the votes), and whether it is right."""
    weighed = next((row for row in answered if row.probabilities and graded(row, grade)), None)
    if weighed is not None:
        return max(weighed.probabilities.values()), graded(weighed, grade)[0]
    row = sampled(answered)
    votes = Counter(answer for answer in row.answers if answer is not None)
    if len(row.answers) < _FEWEST_VOTES or not votes:
        return None
    [(most, count)] = votes.most_common(1)
    given = [value for answer, value in zip(row.answers, row.scores.get(grade, ()), strict=False) if answer == most]
    known = [value for value in given if value is not None and 0 <= value <= 1]
    return (count / len(row.answers), sum(known) / len(known)) if known else None
