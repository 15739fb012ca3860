"""How to read a report: what its words mean, and what of a trained model's score the model before it held already.

Training by rewards can only strengthen what sampling finds. So the report sets a trained checkpoint beside what its
base reaches with more samples, a vote or another prompt, and counts the problems that no sample of the base solved.
"""

from collections.abc import Iterator, Mapping

import numpy as np

from reasoning.core.statistics import mean_over_problems
from reasoning.report.facts import Facts
from reasoning.report.pairs import Pair, main_difference
from reasoning.report.samples import Answered
from reasoning.report.scores import main_score, short, spoken
from reasoning.report.sentences import listed
from reasoning.report.table import Evaluation, Score

WORDS = (
    (
        "pass@1",
        "the share of right answers when each problem is answered once, by sampling; the mean over all samples.",
    ),
    ("pass@K", "the chance that at least one of K samples is right. Guessing raises it too."),
    ("greedy", "the answer without randomness, the most probable token each time."),
    ("majority@N, weighted@N", "the answer that most of N samples agree on; weighted: each counts by its probability."),
    ("beam@K", "the answer of the most probable reply that a search with K beams finds."),
    ("strict", "right only if the answer stands where the format wants it and equals the right one."),
    ("lenient", "right if the reply ends on the right answer, whatever its form; a reply cut off is never right."),
    ("length, distinct", "tokens of a reply; how many different answers a problem's samples give."),
    (
        "95 % interval",
        "a range that would hold the mean over all problems of this sort in 95 of 100 such exams. Samples of one "
        "problem resemble each other, so intervals count problems, not samples (they are clustered by problem). A "
        "difference is paired over problems; “can't tell” says that its interval holds 0.",
    ),
)
"""What the words of the tables mean."""


def amplification(facts: Facts, evaluation: Evaluation) -> tuple[tuple[str, str], ...]:
    """(subject, sentences): for what rewards alone first made of a base, and the last of its line that they trained."""
    score = main_score(evaluation)
    if score is None or not score.endswith("/pass@1"):
        return ()
    grade, found = score.partition("/")[0], list[tuple[str, str]]()
    for root, later in _chosen(facts, evaluation):
        told = " ".join(_compared(facts, evaluation, root, later, grade))
        if told:
            found.append((f"{later} beside {root} ({evaluation.stage})", told))
    roots = {root: None for root, _ in _chosen(facts, evaluation)}
    luck = [text for root in roots if (text := _luck(facts, evaluation, root, grade))]
    return (*found, *((f"guessing ({evaluation.stage})", text) for text in luck[:1] if found))


def _chosen(facts: Facts, evaluation: Evaluation) -> tuple[tuple[str, str], ...]:
    """(base, later) pairs of an evaluation."""
    chosen: dict[str, str] = {}
    for root in evaluation.checkpoints:
        stage = facts.stage(root)
        if stage is not None and stage.kind in ("Pretrain", "Pretrained"):
            line = [name for name in evaluation.checkpoints if root in facts.lineage(name)]
            alone = [name for name in line if _by_rewards(facts, name, root)]
            trained = [name for name in line if (found := facts.stage(name)) is not None and found.kind == "GRPO"]
            chosen.update({name: root for name in (*alone[:1], *trained[-1:])})
    return tuple((root, later) for later, root in chosen.items())


def _by_rewards(facts: Facts, name: str, root: str) -> bool:
    """Whether nothing but rewards lies between a base and a checkpoint."""
    stage, before = facts.stage(name), facts.lineage(name)
    between = (name, *before[: before.index(root)])
    return stage is not None and all((facts.stage(each) or stage).kind == "GRPO" for each in between)


def _compared(facts: Facts, evaluation: Evaluation, root: str, later: str, grade: str) -> Iterator[str]:
    score = f"{grade}/pass@1"
    before, after = evaluation.checkpoints[root], evaluation.checkpoints[later]
    if score not in before or score not in after:
        return
    yield f"{spoken(score)} is {_said(before[score])} for {root} and {_said(after[score])} for {later}."
    gain = main_difference(facts, evaluation, Pair(later, root))
    if gain is not None and not (gain.mean > 0 and gain.excludes(0)):
        yield f"So {later} shows no gain over {root} here, and there is none to explain."
    else:
        yield from _explained(evaluation, root, later, grade)
        line = (later, *facts.lineage(later))
        taught = [name for name in line[: line.index(root)] if facts.taught(name)]
        if taught:
            yield f"On the way to {later} came {listed(taught)}, taught by examples, which may hold what {root} lacked."
        samples = facts.samples.get(evaluation.stage, {})
        yield from _new(samples.get(root, {}), samples.get(later, {}), root, later, grade)
    if "length" in before and "length" in after:
        lengths = (_said(scores["length"], "length") for scores in (before, after))
        yield f"Replies: {next(lengths)} tokens in {root}, {next(lengths)} in {later}."


def _explained(evaluation: Evaluation, root: str, later: str, grade: str) -> Iterator[str]:
    """How much of the later score the base reaches without training."""
    own, score = evaluation.checkpoints[root][f"{grade}/pass@1"], evaluation.checkpoints[later][f"{grade}/pass@1"]
    reach = _reach(evaluation, root, grade)
    if reach:
        told = ", ".join(f"{name} {_said(found)}" for name, found in reach.items())
        yield f"Untrained, {root} reaches by other ways of asking: {told}."
    steady = {"pass@1": own} | {name: item for name, item in reach.items() if not _is_pass(name)}
    best = max(steady, key=lambda name: steady[name].mean)
    if steady[best].mean >= score.mean:
        yield f"{root}'s {best} is no lower than {later}'s pass@1: all of that can be a mode that {root} held already."
    else:
        yield (
            f"Up to {short(steady[best].mean)} ({root}'s {best}) {later}'s pass@1 can be a mode that {root} held "
            f"already and training made the usual one; beyond that {root} was right in single samples at most."
        )


def _reach(evaluation: Evaluation, root: str, grade: str) -> dict[str, Score]:
    """What more samples, a vote or another prompt get out of the base, by name."""
    found = {
        measure: score
        for name, score in evaluation.checkpoints[root].items()
        for measure in [name.removeprefix(f"{grade}/")]
        if name != measure and measure != "pass@1" and measure.startswith(("pass@", "majority@", "weighted@"))
    }
    for prompt, scores in evaluation.prompts.get(root, {}).items():
        if f"{grade}/pass@1" in scores:
            found[f"pass@1 under the prompt ‘{prompt}’"] = scores[f"{grade}/pass@1"]
    return found


def _is_pass(name: str) -> bool:
    """Whether a measure only asks that one of several samples be right, which guessing does too."""
    return name.startswith("pass@") and " " not in name


def _luck(facts: Facts, evaluation: Evaluation, root: str, grade: str) -> str:
    """What blind guessing among the right answers that occur would reach, where there are few of them."""
    answered = facts.samples.get(evaluation.stage, {}).get(root, {})
    answers = {row.answer for row in answered.values()}
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


def _new(
    before: Mapping[int, Answered], after: Mapping[int, Answered], root: str, later: str, grade: str
) -> Iterator[str]:
    """How the later model does on problems that none of the base's samples solved."""
    common = [
        number
        for number in sorted(before.keys() & after.keys())
        if before[number].samples.get(grade) and after[number].samples.get(grade)
    ]
    if not common:
        return
    tries = len(before[common[0]].samples[grade])
    unsolved = [number for number in common if max(before[number].samples[grade]) < 1]
    if not unsolved:
        yield (
            f"Each of the {len(common):,} problems was solved by at least one of {root}'s {tries} samples, so these "
            f"samples show nothing in {later} that {root} never did."
        )
        return
    values = np.array([np.mean(after[number].samples[grade]) for number in unsolved])
    if values.min() < 0 or values.max() > 1:
        return
    found = mean_over_problems(values)
    said = _said(Score(found.mean, found.low, found.high, found.count))
    new = f" At most this is new: more samples of {root} might solve some of them." if found.mean > 0 else ""
    yield (
        f"None of {root}'s {tries} samples solved {len(unsolved):,} of the {len(common):,} problems; on these {later} "
        f"has pass@1 {said}.{new}"
    )


def _said(score: Score, name: str = "") -> str:
    """A mean with its interval, in short."""
    if score.low is None or score.high is None:
        return short(score.mean, name)
    return f"{short(score.mean, name)} ({short(score.low, name)}–{short(score.high, name)})"
