"""What the first screen says of a run in a line each: what changed, what can't be told, where to look, what it cost."""

from collections.abc import Iterator
from dataclasses import dataclass

from reasoning.findings.costs import total_sentence
from reasoning.findings.facts import Facts
from reasoning.findings.jumps import jumps
from reasoning.findings.numbers import points
from reasoning.findings.pairs import Changes
from reasoning.findings.scores import main_score, spoken
from reasoning.findings.verdict import steps_of


@dataclass(frozen=True)
class Note:
    """What a line is about, a sentence, and where there is more: at a ``stage``, or in the ``part`` of this title."""

    subject: str
    text: str
    stage: str = ""
    part: str = ""


def notes(facts: Facts, changes: Changes) -> Iterator[Note]:
    """What changed most and in which exam, what can't be told, where to look next, and what it cost.

    The first two are a line or two each on a page, so of what can't be told one step is named and the others counted.
    """
    steps = steps_of(facts, changes)
    clear = [step for step in steps if step[2].clear]
    if clear:
        evaluation, pair, change = max(clear, key=lambda step: abs(step[2].mean))
        gain, ends = points(change)
        score, exams = spoken(main_score(evaluation) or ""), len(facts.evaluations)
        where = f" in {evaluation.stage}" if exams > 1 else ""
        text = f"{pair.later}, {gain} points of {score}{where} ({ends}) over {pair.earlier}"
        yield Note("Changed most", text, stage=pair.later)
    changed = {pair for _, pair, _ in clear}
    unclear = [*dict.fromkeys(pair for _, pair, _ in steps if pair not in changed)]
    if unclear:
        more = f" ({len(unclear) - 1} more)" if len(unclear) > 1 else ""
        told = f"whether {unclear[0].later} changed over {unclear[0].earlier}{more}"
        yield Note("Can't tell", told, part="Differences")
    yield from _next(facts)
    if cost := total_sentence(facts):
        yield Note("Cost", cost, part="Totals")


def _next(facts: Facts) -> Iterator[Note]:
    """Where to look next: at what is missing, at a reward that jumped alone, else at what models wrote."""
    alone = [(stage.name, found[0].reward) for stage in facts.stages if (found := jumps(stage))]
    if facts.missing:
        yield Note("Look next", f"at what is missing ({len(facts.missing)})", part="At a glance")
    elif alone:
        stage, reward = alone[0]
        yield Note("Look next", f"at {stage}: its reward {reward} jumped alone", stage)
    elif any(evaluation.samples for evaluation in facts.evaluations):
        yield Note("Look next", "at what the checkpoints wrote, side by side", part="Replies side by side")
    elif facts.stages:
        yield Note("Look next", f"at {facts.stages[-1].name}", facts.stages[-1].name)
