"""Which checkpoints are compared with which, and by how much they differ over the problems that both answered.

All that a report compares within one evaluation, in its table and in its sentences, is one family: p-values are
corrected over all of it, so that what is claimed holds together.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from reasoning.core.statistics import Interval, together
from reasoning.findings.evaluations import Evaluation, difference, kinds_of, sampled
from reasoning.findings.facts import Facts
from reasoning.findings.scores import SAMPLED, main_grade, main_score


@dataclass(frozen=True)
class CheckpointPair:
    """Two checkpoints of one evaluation; ``earlier`` is what ``later`` came from, or the end of another branch."""

    later: str
    earlier: str


Changes = Mapping[str, Mapping[CheckpointPair, Interval | None]]
"""By exam: how much more of its main score the later of two checkpoints has."""


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


def amplified_pairs(facts: Facts, evaluation: Evaluation) -> tuple[CheckpointPair, ...]:
    """What rewards alone first made of a base, and the last of its line that they trained, each beside that base."""
    chosen: dict[str, str] = {}
    for root in filter(facts.is_root, evaluation.checkpoints):
        line = [name for name in evaluation.checkpoints if root in facts.lineage(name)]
        alone = [name for name in line if _by_rewards(facts, name, root)]
        trained = [name for name in line if facts.learns_from(name) == "rewards"]
        chosen.update({name: root for name in (*alone[:1], *trained[-1:])})
    return tuple(CheckpointPair(later, root) for later, root in chosen.items())


def _by_rewards(facts: Facts, name: str, root: str) -> bool:
    """Whether nothing but rewards lies between a base and a checkpoint."""
    before = facts.lineage(name)
    return all(facts.learns_from(each) == "rewards" for each in (name, *before[: before.index(root)]))


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
    names, kinds = _sampled_names(evaluation), _compared_kinds(evaluation)
    columns, family = _columns(evaluation), _family(facts, evaluation)
    rows = {pair: [family[pair].get(column) for column in columns] for pair in pairs(facts, evaluation)}
    return names, kinds, {pair: row for pair, row in rows.items() if any(row)}


def comparisons(facts: Facts, evaluation: Evaluation) -> int:
    """How many differences a report looks at within one evaluation: as many as are corrected together."""
    return sum(len(row) for row in _family(facts, evaluation).values())


def main_difference(facts: Facts, evaluation: Evaluation, pair: CheckpointPair) -> Interval | None:
    """The difference of the score by which sentences compare; None where no replies have it or the samples are gone."""
    return main_differences(facts, evaluation)[pair]


def main_differences(facts: Facts, evaluation: Evaluation) -> Mapping[CheckpointPair, Interval | None]:
    """``main_difference`` of every pair that a report tells of, beginning with each stage and what it started from."""
    family, main = _family(facts, evaluation), (_compared_grade(evaluation), None)
    return {pair: row.get(main) for pair, row in family.items()}


_Column = tuple[str, str | None]
"""A score, and the kind of problem that it is taken over, or None for all problems."""


# A report asks for one family in ten places, and each takes seconds where thousands of problems were answered.
@lru_cache(8)
def _family(facts: Facts, evaluation: Evaluation) -> Mapping[CheckpointPair, Mapping[_Column, Interval]]:
    """Every difference that a report tells of an evaluation, in its table or in a sentence, corrected together."""
    columns, main = _columns(evaluation), [(grade, None) for grade in filter(None, [_compared_grade(evaluation)])]
    told = dict.fromkeys((*_start_pairs(facts, evaluation), *amplified_pairs(facts, evaluation)), main)
    found = {
        (pair, column): one
        for pair, wanted in (told | dict.fromkeys(pairs(facts, evaluation), columns)).items()
        for column in wanted
        if (one := difference(evaluation.samples, pair.later, pair.earlier, *column)) is not None
    }
    family: dict[CheckpointPair, dict[_Column, Interval]] = {pair: {} for pair in (*told, *pairs(facts, evaluation))}
    for (pair, column), one in zip(found, together(list(found.values())), strict=True):
        family[pair][column] = one
    return family


def _compared_grade(evaluation: Evaluation) -> str:
    """The grade of the main score where replies carry it: of samples, or of the one reply of each problem."""
    grade, _, method = (main_score(evaluation) or "").rpartition("/")
    first = next((sampled(row) for answered in evaluation.samples.values() for row in answered.values()), None)
    single = first is not None and first.method == method and len(first.texts) == 1
    return grade if single else main_grade(evaluation)


def _start_pairs(facts: Facts, evaluation: Evaluation) -> tuple[CheckpointPair, ...]:
    """Each stage with what it started from."""
    names = evaluation.checkpoints
    stages = [stage for stage in facts.stages if stage.name in names]
    return tuple(CheckpointPair(stage.name, start) for stage in stages for start in stage.starts if start in names)


def _columns(evaluation: Evaluation) -> list[_Column]:
    """Of the table of differences: each score over all problems, then the main one for each kind."""
    main = (main_score(evaluation) or "").partition("/")[0]
    every = [(name, None) for name in _sampled_names(evaluation)]
    return [*every, *((main, kind) for kind in _compared_kinds(evaluation))]


def _compared_kinds(evaluation: Evaluation) -> tuple[str, ...]:
    """The kinds of problems, where there are several and a score to compare them by."""
    kinds = kinds_of(evaluation.samples)
    return kinds if len(kinds) > 1 and main_score(evaluation) else ()


def _sampled_names(evaluation: Evaluation) -> tuple[str, ...]:
    """Scores and rates that samples carry values of, in the order of the evaluation's table."""
    rows = [row for answered in evaluation.samples.values() for row in answered.values()]
    carried = dict.fromkeys(name for row in rows[:1] for name in sampled(row).scores)
    columns = (name.rpartition("/") for name in evaluation.results.columns())
    listed = dict.fromkeys(grade for grade, _, method in columns if grade and method == SAMPLED)
    return (*(name for name in listed if name in carried), *(name for name in carried if name not in listed))
