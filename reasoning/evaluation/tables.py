"""From the replies of one checkpoint to its table: single replies, votes, search, lengths, with intervals, by kind.

Shapes: P problems, S samples a problem, V votes a problem.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from reasoning.core.statistics import mean_over_problems, mean_with_interval, pass_at_k
from reasoning.evaluation.exam import Answers, Exam
from reasoning.generation.voting import likelihoods, majority
from reasoning.rollouts.rating import reward_name
from reasoning.tasks.problems import Problem

Table = dict[str, dict[str, float | None]]
"""Score's name -> its mean, the ends of its 95 % interval (None: it has none) and the number of problems."""


@dataclass(frozen=True)
class Replies:
    """All that one checkpoint replied: once greedily, sampled, the best of ``beams`` beams, sampled in other styles."""

    greedy: Answers
    sampled: Answers
    beam: Answers | None
    beams: int
    further: Mapping[str, Answers]


@dataclass(frozen=True)
class Values:
    """Numbers of every problem, by the score's name: ``shares`` [P, …] lie in 0..1, ``amounts`` [P] on any scale."""

    shares: dict[str, np.ndarray]
    amounts: dict[str, np.ndarray]


def tables(
    exam: Exam, problems: Sequence[Problem], replies: Replies, *, ks: Sequence[int], votes: Sequence[int]
) -> dict[str, Any]:
    """One checkpoint's part of ``results.json``: over all problems, by kind (if several), by style (if others)."""
    everything, kinds = range(len(problems)), [problem.kind for problem in problems]
    sampled = sampled_values(exam, replies.sampled, ks=ks, votes=votes)
    shares = sampled.shares | single_values(exam, replies)
    by_score = sorted(shares, key=lambda name: place(exam, name))
    values = Values({name: shares[name] for name in by_score}, sampled.amounts)
    by_kind = {
        kind: tabulate(values, [number for number in everything if kinds[number] == kind])
        for kind in sorted(set(kinds))
    }
    by_style = {
        style: tabulate(sampled_values(exam, answers, ks=ks, votes=votes), everything)
        for style, answers in replies.further.items()
    }
    found: dict[str, Any] = {"checkpoints": tabulate(values, everything)}
    return found | ({"kinds": by_kind} if len(by_kind) > 1 else {}) | ({"prompts": by_style} if by_style else {})


def place(exam: Exam, name: str) -> tuple[int, bool]:
    """The key that sorts columns: scores and rates in the exam's order, each score's greedy reply first."""
    names = [reward_name(each) for each in (*exam.scores, *exam.rates)]
    score, _, how = name.partition("/")
    return names.index(score), how != "greedy"


def single_values(exam: Exam, replies: Replies) -> dict[str, np.ndarray]:
    """Scores of the replies of which there is one a problem."""
    found = {}
    for name in (reward_name(score) for score in exam.scores):
        found[f"{name}/greedy"] = replies.greedy.scores[name]
        if replies.beam is not None:
            found[f"{name}/beam@{replies.beams}"] = replies.beam.scores[name]
    return found


def sampled_values(exam: Exam, sampled: Answers, *, ks: Sequence[int], votes: Sequence[int]) -> Values:
    """Every number of samples; a ``pass@k`` or a vote that needs more of them than there are is left out."""
    samples, shares = sampled.lengths.shape[1], dict[str, np.ndarray]()
    elected = {
        f"{word}@{size}": elections(sampled, size, weighted)
        for size in votes
        if size <= samples
        for word, weighted in (("majority", False), ("weighted", True))
    }
    for name in (reward_name(score) for score in exam.scores):
        scores_PS = sampled.scores[name]
        shares[f"{name}/pass@1"] = scores_PS
        right_P = np.round(scores_PS).astype(int).sum(axis=1)
        shares |= {f"{name}/pass@{k}": pass_at_k(right_P, samples, k) for k in ks if k <= samples}
        shares |= {f"{name}/{how}": scores_of_elected(scores_PS, chosen) for how, chosen in elected.items()}
    shares |= {name: sampled.scores[name] for name in map(reward_name, exam.rates)}
    distinct = [len({answer for answer in given if answer is not None}) for given in sampled.said]
    return Values(shares, {"length": sampled.lengths.mean(axis=1), "distinct": np.array(distinct, np.float64)})


def elections(sampled: Answers, size: int, weighted: bool) -> np.ndarray:
    """The sample that each vote elects [P, V], -1 where no sample gave an answer: votes of ``size`` samples, in order.

    Each problem's samples make S // size disjoint groups. A vote elects the first sample with the winning answer: the
    reply that somebody who lets the model vote would be shown, so that its scores are the vote's.
    """
    starts = range(0, sampled.lengths.shape[1] // size * size, size)

    def elect(problem: int, start: int) -> int:
        answers = sampled.said[problem][start : start + size]
        weights = likelihoods(answers, sampled.log_probs[problem, start : start + size].tolist()) if weighted else None
        winner = majority(answers, weights)
        return -1 if winner is None else start + answers.index(winner)

    return np.array([[elect(problem, start) for start in starts] for problem in range(len(sampled.said))])


def scores_of_elected(scores_PS: np.ndarray, chosen_PV: np.ndarray) -> np.ndarray:
    """The scores [P, V] of elected samples; a vote without an answer scores 0."""
    return np.where(chosen_PV < 0, 0.0, np.take_along_axis(scores_PS, np.maximum(chosen_PV, 0), axis=1))


def tabulate(values: Values, problems: Sequence[int]) -> Table:
    """Means over some of the problems, with intervals clustered by problem."""
    rows = np.asarray(problems)
    shares = {name: mean_over_problems(each[rows]) for name, each in values.shares.items()}
    amounts = {name: mean_with_interval(each[rows]) for name, each in values.amounts.items()}
    return {
        name: {"mean": found.mean, "low": finite(found.low), "high": finite(found.high), "n": found.count}
        for name, found in (shares | amounts).items()
    }


def finite(value: float) -> float | None:
    """The value, or None for the end of an interval that has none, which JSON can't write."""
    return value if np.isfinite(value) else None


def to_json(answers: Answers) -> dict[str, Any]:
    """Replies as plain values, for the file of a finished piece of an evaluation."""
    return {
        "texts": answers.texts,
        "lengths": answers.lengths.tolist(),
        "scores": {name: values.tolist() for name, values in answers.scores.items()},
        "log_probs": answers.log_probs.tolist(),
        "said": answers.said,
    }


def from_json(values: Mapping[str, Any]) -> Answers:
    """The replies that ``to_json`` wrote."""
    scores = {name: np.array(each, np.float64) for name, each in values["scores"].items()}
    return Answers(values["texts"], np.array(values["lengths"]), scores, np.array(values["log_probs"]), values["said"])


def samples_row(answers: Answers, problem: int) -> dict[str, Any]:
    """One problem's samples for ``samples.jsonl``; all numbers of the table can be found from these."""
    return {
        "samples": answers.texts[problem],
        "sample_scores": {name: values[problem].tolist() for name, values in answers.scores.items()},
        "sample_lengths": answers.lengths[problem].tolist(),
        "sample_log_probs": answers.log_probs[problem].tolist(),
        "sample_answers": answers.said[problem],
    }


def single(answers: Answers, problem: int) -> dict[str, float]:
    """The scores of one problem's only reply."""
    return {name: float(values[problem, 0]) for name, values in answers.scores.items()}


def rows(checkpoint: str, problems: Sequence[Problem], replies: Replies) -> list[dict[str, Any]]:
    """One line a problem for ``samples.jsonl``; from these lines every number of ``results.json`` can be found."""
    lines = []
    for number, problem in enumerate(problems):
        row = {
            "checkpoint": checkpoint,
            "problem": number,
            "question": problem.question,
            "answer": problem.answer,
            "kind": problem.kind,
            "greedy": replies.greedy.texts[number][0],
            "scores": single(replies.greedy, number),
            **samples_row(replies.sampled, number),
        }
        if replies.beam is not None:
            row |= {"beam": replies.beam.texts[number][0], "beam_scores": single(replies.beam, number)}
        if replies.further:
            row["prompts"] = {style: samples_row(answers, number) for style, answers in replies.further.items()}
        lines.append(row)
    return lines
