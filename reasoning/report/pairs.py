"""Which checkpoints are compared with which, and by how much they differ over the problems that both answered."""

from dataclasses import dataclass

from reasoning.core.statistics import Interval
from reasoning.report.evaluations import Evaluation, difference, kinds_of, sampled
from reasoning.report.facts import Facts
from reasoning.report.scores import SAMPLED, main_grade, main_score


@dataclass(frozen=True)
class CheckpointPair:
    """Two checkpoints of one evaluation; ``earlier`` is what ``later`` came from, or the end of another branch."""

    later: str
    earlier: str


def pairs(facts: Facts, evaluation: Evaluation) -> tuple[CheckpointPair, ...]:
    """Each checkpoint with those that it was made from, then the last one with all of its ancestors."""
    names = tuple(evaluation.checkpoints)
    chosen = [
        CheckpointPair(later, earlier) for later in names for earlier in sources(facts, later) if earlier in names
    ]
    if names:
        above = ancestors(facts, names[-1])
        chosen += [CheckpointPair(names[-1], earlier) for earlier in names if earlier in above]
    return tuple(dict.fromkeys(chosen))


def sources(facts: Facts, name: str) -> tuple[str, ...]:
    """The checkpoints that a stage was made from: its start, its teacher, and whatever wrote its data."""
    stage, names = facts.stage(name), dict[str, None]()
    for parent in stage.parent_names() if stage is not None else ():
        above = facts.stage(parent)
        if above is not None:
            names |= {parent: None} if above.holds == "checkpoint" else dict.fromkeys(sources(facts, parent))
    return tuple(names)


def ancestors(facts: Facts, name: str) -> set[str]:
    """All checkpoints that a stage goes back to."""
    above: set[str] = set()
    waiting = list(sources(facts, name))
    while waiting:
        above.add(waiting[0])
        waiting += [each for each in sources(facts, waiting.pop(0)) if each not in above]
    return above


def differences(
    facts: Facts, evaluation: Evaluation
) -> tuple[tuple[str, ...], tuple[str, ...], dict[CheckpointPair, list[Interval | None]]]:
    """Scores that samples hold, kinds of problems where there are several, and by pair how much more the later has.

    A row holds a difference for each score, then one of the main score for each kind; None where samples don't tell.
    """
    samples, main = evaluation.samples, main_score(evaluation) or ""
    names, kinds = _sampled_names(evaluation), kinds_of(samples)
    kinds = kinds if len(kinds) > 1 and main else ()
    columns = [(name, None) for name in names] + [(main.partition("/")[0], kind) for kind in kinds]
    rows = {
        pair: [difference(samples, pair.later, pair.earlier, *column) for column in columns]
        for pair in pairs(facts, evaluation)
    }
    return names, kinds, {pair: row for pair, row in rows.items() if any(row)}


def main_difference(evaluation: Evaluation, pair: CheckpointPair) -> Interval | None:
    """The difference of the score by which sentences compare; None where that is no pass@1 or the samples are gone."""
    grade = main_grade(evaluation)
    return difference(evaluation.samples, pair.later, pair.earlier, grade) if grade else None


def _sampled_names(evaluation: Evaluation) -> tuple[str, ...]:
    """Scores and rates that samples carry values of, in the order of the evaluation's table."""
    rows = [row for answered in evaluation.samples.values() for row in answered.values()]
    carried = dict.fromkeys(name for row in rows[:1] for name in sampled(row).scores)
    columns = (name.rpartition("/") for name in evaluation.results.columns())
    listed = dict.fromkeys(grade for grade, _, method in columns if grade and method == SAMPLED)
    return (*(name for name in listed if name in carried), *(name for name in carried if name not in listed))
