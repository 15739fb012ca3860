"""How to read a report: what its words mean, and what of a trained model's score the model before it held already.

Training by rewards can only strengthen what sampling finds. So the report sets a trained checkpoint beside what its
base reaches with more samples, a vote or another prompt style, and counts the problems that no sample of the base
solved.
"""

from collections.abc import Iterator

import numpy as np

from reasoning.core.statistics import mean_over_problems
from reasoning.evaluation.results import Score
from reasoning.report.evaluations import Evaluation, sampled
from reasoning.report.facts import Facts
from reasoning.report.numbers import ends, short
from reasoning.report.pairs import CheckpointPair, main_difference
from reasoning.report.scores import SAMPLED, is_one_of_several, main_grade, spoken
from reasoning.report.sentences import listed
from reasoning.report.template import lines


def words() -> tuple[tuple[str, str], ...]:
    """What the words of the tables mean, as (words, meaning)."""
    meanings = (line.partition(": ") for line in lines("glossary.txt"))
    return tuple((word, meaning) for word, _, meaning in meanings)


def amplification(facts: Facts, evaluation: Evaluation) -> tuple[tuple[str, str], ...]:
    """(subject, sentences): for what rewards alone first made of a base, and the last of its line that they trained."""
    grade, told = main_grade(evaluation), list[tuple[str, str]]()
    chosen = _chosen(facts, evaluation) if grade else ()
    for root, later in chosen:
        text = " ".join(_compared(facts, evaluation, root, later, grade))
        if text:
            told.append((f"{later} beside {root} ({evaluation.stage})", text))
    luck = [text for root in dict(chosen) if (text := _luck(evaluation, root, grade))]
    return (*told, *((f"guessing ({evaluation.stage})", text) for text in luck[:1] if told))


def _chosen(facts: Facts, evaluation: Evaluation) -> tuple[tuple[str, str], ...]:
    """(base, later) pairs of an evaluation."""
    chosen: dict[str, str] = {}
    for root in filter(facts.is_root, evaluation.checkpoints):
        line = [name for name in evaluation.checkpoints if root in facts.lineage(name)]
        alone = [name for name in line if _by_rewards(facts, name, root)]
        trained = [name for name in line if facts.learns_from(name) == "rewards"]
        chosen.update({name: root for name in (*alone[:1], *trained[-1:])})
    return tuple((root, later) for later, root in chosen.items())


def _by_rewards(facts: Facts, name: str, root: str) -> bool:
    """Whether nothing but rewards lies between a base and a checkpoint."""
    before = facts.lineage(name)
    return all(facts.learns_from(each) == "rewards" for each in (name, *before[: before.index(root)]))


def _compared(facts: Facts, evaluation: Evaluation, root: str, later: str, grade: str) -> Iterator[str]:
    score = f"{grade}/{SAMPLED}"
    before, after = evaluation.checkpoints[root], evaluation.checkpoints[later]
    if score not in before or score not in after:
        return
    yield f"{spoken(score)} is {_with_ends(before[score])} for {root} and {_with_ends(after[score])} for {later}."
    gain = main_difference(evaluation, CheckpointPair(later, root))
    if gain is not None and not (gain.mean > 0 and gain.excludes(0)):
        yield f"So {later} shows no gain over {root} here, and there is none to explain."
    else:
        yield from _explained(evaluation, root, later, grade)
        line = (later, *facts.lineage(later))
        taught = [name for name in line[: line.index(root)] if facts.taught(name)]
        if taught:
            yield f"On the way to {later} came {listed(taught)}, taught by examples, which may hold what {root} lacked."
        yield from _new(evaluation, root, later, grade)
    if "length" in before and "length" in after:
        lengths = (_with_ends(scores["length"], "length") for scores in (before, after))
        yield f"Replies: {next(lengths)} tokens in {root}, {next(lengths)} in {later}."


def _explained(evaluation: Evaluation, root: str, later: str, grade: str) -> Iterator[str]:
    """How much of the later score the base reaches without training."""
    own, later_score = (evaluation.checkpoints[name][f"{grade}/{SAMPLED}"] for name in (root, later))
    reach = _reach(evaluation, root, grade)
    if reach:
        told = ", ".join(f"{name} {_with_ends(score)}" for name, score in reach.items())
        yield f"Untrained, {root} reaches by other ways of asking: {told}."
    steady = {SAMPLED: own} | {name: score for name, score in reach.items() if not is_one_of_several(name)}
    best = max(steady, key=lambda name: steady[name].mean)
    if steady[best].mean >= later_score.mean:
        yield f"{root}'s {best} is no lower than {later}'s pass@1: all of that can be a mode that {root} held already."
    else:
        yield (
            f"Up to {short(steady[best].mean)} ({root}'s {best}) {later}'s pass@1 can be a mode that {root} held "
            f"already and training made the usual one; beyond that {root} was right in single samples at most."
        )


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


def _new(evaluation: Evaluation, root: str, later: str, grade: str) -> Iterator[str]:
    """How the later model does on problems that none of the base's samples solved."""
    before, after = (evaluation.samples.get(name, {}) for name in (root, later))
    numbers = sorted(before.keys() & after.keys())
    values = {k: [sampled(each[k]).scores.get(grade, ()) for each in (before, after)] for k in numbers}
    common = {number: pair for number, pair in values.items() if all(pair)}
    if not common:
        return
    tries = len(next(iter(common.values()))[0])
    unsolved = [later_values for base_values, later_values in common.values() if max(base_values) < 1]
    if not unsolved:
        yield (
            f"Each of the {len(common):,} problems was solved by at least one of {root}'s {tries} samples, so these "
            f"samples show nothing in {later} that {root} never did."
        )
        return
    means = np.array([np.mean(each) for each in unsolved])
    if means.min() < 0 or means.max() > 1:
        return
    solved = mean_over_problems(means)
    new = f" At most this is new: more samples of {root} might solve some of them." if solved.mean > 0 else ""
    yield (
        f"None of {root}'s {tries} samples solved {len(unsolved):,} of the {len(common):,} problems; on these {later} "
        f"has pass@1 {_with_ends(Score(solved.mean, solved.low, solved.high, solved.count))}.{new}"
    )


def _with_ends(score: Score, name: str = "") -> str:
    """A mean with its interval, in short."""
    if score.low is None or score.high is None:
        return short(score.mean, name)
    return f"{short(score.mean, name)} ({ends(score.low, score.high, lambda end: short(end, name))})"
