"""The first screen of a report: a verdict, scores on one axis, what changed most, what it cost, where to look next."""

from collections.abc import Iterator

from reasoning.evaluation.results import Score
from reasoning.report.curves import trend
from reasoning.report.document import Dots, Glance, Mark, Note, stage_anchor
from reasoning.report.evaluations import Evaluation
from reasoning.report.facts import Facts
from reasoning.report.jumps import jumps
from reasoning.report.numbers import points, short
from reasoning.report.pairs import Changes, CheckpointPair, main_differences
from reasoning.report.scores import asked, main_score, spoken
from reasoning.report.sentences import listed
from reasoning.report.workflow import workflow

SHOWN_EXAMS = 2
"""Exams of the first screen; those of further ones stand with their tables."""

_SHOWN_MARKS, _SHOWN_NAMES = 12, 4


def glance(facts: Facts, ran_with: str, cost: str) -> Glance:
    """The first screen of a run; ``ran_with`` is its seed and devices in words, ``cost`` a sentence."""
    changes = {each.stage: main_differences(facts, each) for each in facts.evaluations}
    notes = (*_notes(facts, changes), *((Note("Cost", cost, "totals"),) if cost else ()))
    return Glance(
        ran=f"{_counted(facts)}{ran_with}",
        verdict=_verdict(facts, changes),
        notes=notes,
        dots=tuple(filter(None, map(score_dots, facts.evaluations[:SHOWN_EXAMS]))),
        flow=workflow(facts.stages, facts.evaluations) if facts.stages else None,
    )


def score_dots(evaluation: Evaluation) -> Dots | None:
    """The checkpoints of an exam by its main score, the last one among them; None where none has it."""
    name = main_score(evaluation)
    found = {each: scores[name] for each, scores in evaluation.checkpoints.items() if name and name in scores}
    if not found or name is None:
        return None
    every = tuple(_mark(checkpoint, score) for checkpoint, score in found.items())
    left_out = len(every) - _SHOWN_MARKS
    shown = every if left_out <= 0 else (*every[: _SHOWN_MARKS - 1], every[-1])
    more = f" ({left_out} more below)" if left_out > 0 else ""
    return Dots(f"{evaluation.stage}: {spoken(name)}, {asked(evaluation)}{more}", shown)


def _mark(name: str, score: Score) -> Mark:
    return Mark(name, score.mean, score.low, score.high, short(score.mean))


def _counted(facts: Facts) -> str:
    """How many stages, checkpoints and exams there are."""
    checkpoints = sum(stage.holds == "checkpoint" for stage in facts.stages)
    counts = {"stage": len(facts.stages), "checkpoint": checkpoints, "exam": len(facts.evaluations)}
    told = [f"{count} {word}{'' if count == 1 else 's'}" for word, count in counts.items() if count or word == "stage"]
    finished = sum(stage.artifact is not None for stage in facts.stages)
    left = "" if finished == len(facts.stages) else f" ({finished} finished)"
    return f"{told[0]}{left}{''.join(f', {each}' for each in told[1:])}"


def _verdict(facts: Facts, changes: Changes) -> str:
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


def _notes(facts: Facts, changes: Changes) -> Iterator[Note]:
    """What changed most, what can't be told, and where to look next."""
    steps = [
        (evaluation, pair, change)
        for evaluation in facts.evaluations
        for pair, change in changes[evaluation.stage].items()
        if change is not None and pair.earlier in _starts(facts, pair.later)
    ]
    clear = [step for step in steps if step[2].clear]
    if clear:
        evaluation, pair, change = max(clear, key=lambda step: abs(step[2].mean))
        gain, ends = points(change)
        score = spoken(main_score(evaluation) or "")
        text = f"{pair.later}, {gain} points of {score} ({ends}) over {pair.earlier}"
        yield Note("Changed most", text, stage_anchor(pair.later))
    unclear = dict.fromkeys(f"{pair.later} over {pair.earlier}" for _, pair, change in steps if not change.clear)
    if unclear:
        shown, left = [*unclear][:_SHOWN_NAMES], len(unclear) - _SHOWN_NAMES
        text = listed([*shown, f"{left} more"] if left > 0 else shown)
        yield Note("Can't tell", f"whether anything changed in {text}", "differences")
    yield from _next(facts)


def _starts(facts: Facts, name: str) -> tuple[str, ...]:
    stage = facts.stage(name)
    return () if stage is None else stage.starts


def _next(facts: Facts) -> Iterator[Note]:
    """Where to look next: at what is missing, at a reward that jumped alone, else at what models wrote."""
    alone = [(stage.name, found[0].reward) for stage in facts.stages if (found := jumps(stage))]
    if facts.missing:
        yield Note("Look next", f"at what is missing ({len(facts.missing)})", "at-a-glance")
    elif alone:
        stage, reward = alone[0]
        yield Note("Look next", f"at {stage}: its reward {reward} jumped alone", stage_anchor(stage))
    elif any(evaluation.samples for evaluation in facts.evaluations):
        yield Note("Look next", "at what the checkpoints wrote, side by side", "replies-side-by-side")
    elif facts.stages:
        yield Note("Look next", f"at {facts.stages[-1].name}", stage_anchor(facts.stages[-1].name))
