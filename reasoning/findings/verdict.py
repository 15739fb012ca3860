"""What came of a run in a sentence, and which of its steps changed a score, or can't be told to."""

from reasoning.core.statistics import Interval
from reasoning.findings.curves import trend
from reasoning.findings.environments import environments
from reasoning.findings.evaluations import Evaluation
from reasoning.findings.facts import Facts
from reasoning.findings.numbers import points, short
from reasoning.findings.pairs import Changes, CheckpointPair
from reasoning.findings.scores import main_score, spoken

Step = tuple[Evaluation, CheckpointPair, Interval]
"""An exam, a checkpoint beside what it started from, and how much more of the main score it has."""


def verdict(facts: Facts, changes: Changes) -> str:
    """Whether the last checkpoint of the first exam that compares two is better than the first, in a sentence."""
    for evaluation in facts.evaluations:
        score, names = main_score(evaluation), tuple(evaluation.checkpoints)
        tables = [evaluation.checkpoints[name] for name in (*names[:1], *names[-1:])]
        if score is None or len(names) < 2 or not all(score in table for table in tables):
            continue
        before, after = (short(table[score].mean) for table in tables)
        change = changes[evaluation.stage].get(CheckpointPair(names[-1], names[0]))
        told = f"{spoken(score)} from {before} ({names[0]}) to {after} ({names[-1]})"
        if change is None:
            return f"{told.capitalize()}, without a paired interval."
        gain, ends = points(change)
        within = f"{gain} points, 95 % interval {ends}"
        if not change.clear:
            return f"Can't tell whether it learnt: {told}; {within}."
        return f"It {'learnt' if change.mean > 0 else 'got worse'}: {told}; {within}."
    learnt = [f"{stage.name}: {course}" for stage in facts.stages if (course := trend(stage.metrics))]
    return f"No exam compared two checkpoints{f'; {learnt[-1]}' if learnt else ''}."


def what_ran(facts: Facts) -> str:
    """How many stages, checkpoints and exams there are, the seed and the devices."""
    checkpoints = sum(stage.holds == "checkpoint" for stage in facts.stages)
    counts = {"stage": len(facts.stages), "checkpoint": checkpoints, "exam": len(facts.evaluations)}
    told = [f"{count} {word}{'' if count == 1 else 's'}" for word, count in counts.items() if count or word == "stage"]
    finished = sum(stage.artifact is not None for stage in facts.stages)
    left = "" if finished == len(facts.stages) else f" ({finished} finished)"
    where, named = environments(facts), {"seed": "seed ", "devices": ""}
    with_them = "".join(f"; {before}{', '.join(where[name])}" for name, before in named.items() if name in where)
    return f"{told[0]}{left}{''.join(f', {each}' for each in told[1:])}{with_them}"


def steps_of(facts: Facts, changes: Changes) -> list[Step]:
    """Each checkpoint beside what it started from, exam by exam, where replies tell."""
    return [
        (evaluation, pair, change)
        for evaluation in facts.evaluations
        for pair, change in changes[evaluation.stage].items()
        if change is not None and pair.earlier in _starts(facts, pair.later)
    ]


def _starts(facts: Facts, name: str) -> tuple[str, ...]:
    stage = facts.stage(name)
    return () if stage is None else stage.starts


def ends_of(facts: Facts) -> tuple[str, ...]:
    """The first and the last checkpoint of the first exam, or of the run where there was none."""
    examined = (tuple(evaluation.checkpoints) for evaluation in facts.evaluations if evaluation.checkpoints)
    names = next(examined, tuple(stage.name for stage in facts.stages if stage.holds == "checkpoint"))
    return names if len(names) < 2 else (names[0], names[-1])
