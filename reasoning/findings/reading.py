"""How to read a report: what its words mean, and what of a trained model's score the model before it held already.

Training by rewards can only strengthen what sampling finds. So the report sets a trained checkpoint beside what its
base reaches with more samples, a vote or another prompt style, and counts the problems that no sample of the base
solved.
"""

from typing import Any

import numpy as np

from reasoning.core.statistics import mean_over_problems
from reasoning.evaluation.results import Score
from reasoning.findings.evaluations import Evaluation, graded, sampled
from reasoning.findings.facts import Facts
from reasoning.findings.numbers import ends, short
from reasoning.findings.pairs import CheckpointPair, amplified_pairs, main_difference
from reasoning.findings.prose import lines
from reasoning.findings.scores import SAMPLED, is_one_of_several, main_grade
from reasoning.findings.sentences import listed


def words() -> tuple[tuple[str, str], ...]:
    """What the words of the tables mean, as (words, meaning)."""
    meanings = (line.partition(": ") for line in lines("glossary.txt"))
    return tuple((word, meaning) for word, _, meaning in meanings)


def amplification(facts: Facts, evaluation: Evaluation) -> tuple[tuple[str, str], ...]:
    """(subject, sentences): for what rewards alone first made of a base, and the last of its line that they trained."""
    grade, told = main_grade(evaluation), list[tuple[str, str]]()
    chosen = amplified_pairs(facts, evaluation) if grade else ()
    for pair in chosen:
        text = _compared(facts, evaluation, pair, grade)
        if text:
            told.append((f"{pair.later} beside {pair.earlier} ({evaluation.stage})", text))
    roots = dict.fromkeys(pair.earlier for pair in chosen)
    luck = [text for root in roots if (text := _luck(evaluation, root, grade))]
    return (*told, *((f"guessing ({evaluation.stage})", text) for text in luck[:1] if told))


def _compared(facts: Facts, evaluation: Evaluation, pair: CheckpointPair, grade: str) -> str:
    """The sentences of ``reading.txt``; none where one of the two lacks the score."""
    name, root, later = f"{grade}/{SAMPLED}", pair.earlier, pair.later
    before, after = evaluation.checkpoints[root], evaluation.checkpoints[later]
    if name not in before or name not in after:
        return ""
    gain = main_difference(facts, evaluation, pair)
    reach = _reach(evaluation, root, grade)
    steady = {SAMPLED: before[name]} | {way: score for way, score in reach.items() if not is_one_of_several(way)}
    best = max(steady, key=lambda way: steady[way].mean)
    line = (later, *facts.lineage(later))
    sentences = lines(
        "reading.txt",
        name=name,
        root=root,
        later=later,
        before=before,
        after=after,
        gained=gain is None or (gain.mean > 0 and gain.clear),
        reach=reach,
        best=best,
        best_mean=steady[best].mean,
        taught=listed([each for each in line[: line.index(root)] if facts.taught(each)]),
        told=_with_ends,
        short=short,
        **_new(evaluation, root, later, grade),
    )
    return " ".join(sentences)


def _reach(evaluation: Evaluation, root: str, grade: str) -> dict[str, Score]:
    """What more samples, a vote, a search or another prompt style get out of the base, by name."""
    methods = ((name.rpartition("/"), score) for name, score in evaluation.checkpoints[root].items())
    reach = {method: score for (own, _, method), score in methods if own == grade and method != SAMPLED}
    for style, scores in evaluation.results.styles.get(root, {}).items():
        if f"{grade}/{SAMPLED}" in scores:
            reach[f"pass@1 in the prompt style ‘{style}’"] = scores[f"{grade}/{SAMPLED}"]
    return reach


def _luck(evaluation: Evaluation, root: str, grade: str) -> str:
    """What blind guessing among the right answers that occur would reach, where there are few of them."""
    answered = evaluation.samples.get(root, {})
    answers = {rows[0].answer for rows in answered.values()}
    names = evaluation.checkpoints[root]
    tries = [int(name.rpartition("@")[2]) for name in names if name.startswith(f"{grade}/pass@")]
    if len(answers) < 2 or len(answers) > 20 or len(answered) < 2 * len(answers) or not tries or max(tries) < 2:
        return ""
    most = max(tries)
    return (
        f"Only {len(answers)} different answers are right in this exam: a blind guess among them is right in "
        f"{short(1 / len(answers))} of all tries, and at least once in {most} tries in "
        f"{short(1 - (1 - 1 / len(answers)) ** most)}. So votes and prompts say more than pass@{most} here."
    )


def _new(evaluation: Evaluation, root: str, later: str, grade: str) -> dict[str, Any]:
    """How many samples each problem had, how many problems none of the base's solved, and the later score on these."""
    before, after = (evaluation.samples.get(name, {}) for name in (root, later))
    numbers = sorted(before.keys() & after.keys())
    values = [[graded(sampled(each[k]), grade) for each in (before, after)] for k in numbers]
    common = [pair for pair in values if all(pair)]
    means = np.array([np.mean(new) for old, new in common if max(old) < 1])
    solved = mean_over_problems(means) if len(means) and means.min() >= 0 and means.max() <= 1 else None
    return {
        "tries": len(common[0][0]) if common else 0,
        "problems": len(common),
        "unsolved": len(means),
        "solved": solved and Score(solved.mean, solved.low, solved.high, solved.count),
    }


def _with_ends(score: Score, name: str = "") -> str:
    """A mean with its interval, in short."""
    if score.low is None or score.high is None:
        return short(score.mean, name)
    return f"{short(score.mean, name)} ({ends(score.low, score.high, lambda end: short(end, name))})"
