"""The first screen of a report: a verdict, scores on one axis, what changed most, what it cost, where to look next."""

from collections.abc import Iterator

from reasoning.evaluation.results import Score
from reasoning.findings.evaluations import Evaluation
from reasoning.findings.facts import Facts
from reasoning.findings.jumps import jumps
from reasoning.findings.numbers import points, short
from reasoning.findings.pairs import Changes, main_differences
from reasoning.findings.scores import asked, main_score, spoken
from reasoning.findings.sentences import listed
from reasoning.findings.verdict import counted_parts, steps_of, verdict
from reasoning.findings.workflow import workflow
from reasoning.report.document import Dots, Glance, Mark, Note, stage_anchor

SHOWN_EXAMS = 2
"""Exams of the first screen; those of further ones stand with their tables."""

_SHOWN_MARKS, _SHOWN_NAMES = 12, 4


def glance(facts: Facts, ran_with: str, cost: str) -> Glance:
    """The first screen of a run; ``ran_with`` is its seed and devices in words, ``cost`` a sentence."""
    changes = {each.stage: main_differences(facts, each) for each in facts.evaluations}
    notes = (*_notes(facts, changes), *((Note("Cost", cost, "totals"),) if cost else ()))
    return Glance(
        ran=f"{counted_parts(facts)}{ran_with}",
        verdict=verdict(facts, changes),
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
    return Mark(name, score.mean, short(score.mean), score.low, score.high)


def _notes(facts: Facts, changes: Changes) -> Iterator[Note]:
    """What changed most, what can't be told, and where to look next."""
    steps = steps_of(facts, changes)
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
