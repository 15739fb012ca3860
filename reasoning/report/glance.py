"""The first screen of a report: a verdict, scores on one axis, what changed most, what it cost, where to look next."""

from reasoning.evaluation.results import Score
from reasoning.findings.evaluations import Evaluation
from reasoning.findings.facts import Facts
from reasoning.findings.notes import notes
from reasoning.findings.numbers import short
from reasoning.findings.pairs import main_differences
from reasoning.findings.scores import asked, main_score, spoken
from reasoning.findings.verdict import verdict, what_ran
from reasoning.findings.workflow import workflow
from reasoning.report.document import Dots, Glance, Mark

SHOWN_EXAMS = 2
"""Exams of the first screen; those of further ones stand with their tables."""

_SHOWN_MARKS = 12


def glance(facts: Facts) -> Glance:
    """The first screen of a run."""
    changes = {each.stage: main_differences(facts, each) for each in facts.evaluations}
    return Glance(
        ran=what_ran(facts),
        verdict=verdict(facts, changes),
        notes=tuple(notes(facts, changes)),
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
