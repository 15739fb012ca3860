"""Which checkpoints are compared with which, and by how much they differ over the problems that both answered."""

from dataclasses import dataclass

from reasoning.core.statistics import Interval
from reasoning.report.facts import Facts
from reasoning.report.samples import difference, kinds_of
from reasoning.report.scores import main_score
from reasoning.report.table import Evaluation


@dataclass(frozen=True)
class Pair:
    """Two checkpoints of one evaluation; ``earlier`` is what ``later`` came from, or the end of another branch."""

    later: str
    earlier: str


@dataclass(frozen=True)
class Difference:
    """How much more a pair's later checkpoint has of a score; None where the samples don't tell."""

    pair: Pair
    name: str
    interval: Interval | None


def pairs(facts: Facts, evaluation: Evaluation) -> tuple[Pair, ...]:
    """Each checkpoint with those that it was made from, then the last one with all of its ancestors."""
    names = tuple(evaluation.checkpoints)
    found = [Pair(later, earlier) for later in names for earlier in sources(facts, later) if earlier in names]
    if names:
        above = ancestors(facts, names[-1])
        found += [Pair(names[-1], earlier) for earlier in names if earlier in above]
    return tuple(dict.fromkeys(found))


def sources(facts: Facts, name: str) -> tuple[str, ...]:
    """The checkpoints that a stage was made from: its start, its teacher, and whatever wrote its data."""
    stage, found = facts.stage(name), dict[str, None]()
    for parent in stage.parent_names() if stage is not None else ():
        above = facts.stage(parent)
        if above is not None and above.artifact is not None and above.artifact.kind == "checkpoint":
            found[parent] = None
        elif above is not None:
            found.update(dict.fromkeys(sources(facts, parent)))
    return tuple(found)


def ancestors(facts: Facts, name: str) -> set[str]:
    """All checkpoints that a stage goes back to."""
    found: set[str] = set()
    waiting = list(sources(facts, name))
    while waiting:
        found.add(waiting[0])
        waiting += [above for above in sources(facts, waiting.pop(0)) if above not in found]
    return found


def by_score(facts: Facts, evaluation: Evaluation) -> tuple[tuple[str, ...], list[list[Difference]]]:
    """The names of scores that samples hold, and a row of differences for each pair."""
    samples = facts.samples.get(evaluation.stage, {})
    names = _sampled_names(facts, evaluation)
    chosen = pairs(facts, evaluation)
    rows = [
        [Difference(pair, name, difference(samples, pair.later, pair.earlier, name)) for name in names]
        for pair in chosen
    ]
    return names, [row for row in rows if any(item.interval is not None for item in row)]


def by_kind(facts: Facts, evaluation: Evaluation) -> tuple[str, tuple[str, ...], list[list[Difference]]]:
    """The main score's name, the kinds of problems, and a row of differences for each pair; nothing for one kind."""
    samples = facts.samples.get(evaluation.stage, {})
    kinds, score = kinds_of(samples), main_score(evaluation)
    if len(kinds) < 2 or score is None:
        return "", (), []
    grade = score.partition("/")[0]
    rows = [
        [Difference(pair, kind, difference(samples, pair.later, pair.earlier, grade, kind)) for kind in kinds]
        for pair in pairs(facts, evaluation)
    ]
    return score, kinds, [row for row in rows if any(item.interval is not None for item in row)]


def main_difference(facts: Facts, evaluation: Evaluation, pair: Pair) -> Interval | None:
    """The difference of the score by which sentences compare; None where that is no pass@1 or the samples are gone."""
    score = main_score(evaluation)
    if score is None or not score.endswith("/pass@1"):
        return None
    samples = facts.samples.get(evaluation.stage, {})
    return difference(samples, pair.later, pair.earlier, score.partition("/")[0])


def _sampled_names(facts: Facts, evaluation: Evaluation) -> tuple[str, ...]:
    """Scores and rates that samples carry values of, in the order of the evaluation's table."""
    rows = [row for answered in facts.samples.get(evaluation.stage, {}).values() for row in answered.values()]
    carried = dict.fromkeys(name for row in rows[:1] for name in row.samples)
    listed = dict.fromkeys(name.removesuffix("/pass@1") for name in evaluation.scores() if name.endswith("/pass@1"))
    return (*(name for name in listed if name in carried), *(name for name in carried if name not in listed))
