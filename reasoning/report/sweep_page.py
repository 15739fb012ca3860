"""A sweep's page: arms as dots, each beside its difference to the baseline, then what that says, then the tables."""

from collections.abc import Iterator

from reasoning.core.statistics import Interval
from reasoning.findings.numbers import CANT_TELL, number
from reasoning.findings.sweep_numbers import HIGHER, LOWER, ArmNumbers, SweepNumbers, has_spread
from reasoning.report.document import Bullets, Dots, Glance, Mark, Note, Paragraph, Report, Section, Tone
from reasoning.report.sweep_text import SweepTable

_FIRST, _SHOWN_NAMES = 1, 4
_TONES: dict[str, Tone] = {HIGHER: "up", LOWER: "down", CANT_TELL: "unsure"}


def sweep_report(table: SweepTable) -> Report:
    """What is drawn of a sweep; the numbers and the words are those of ``table.md``."""
    numbers, conclusions = table.numbers, table.conclusions()
    first = tuple(dots for score in numbers.scores[:_FIRST] for dots in _dots(numbers, score))
    further = tuple(dots for score in numbers.scores[_FIRST:] for dots in _dots(numbers, score))
    parts = (
        Section("At a glance", (Glance(table.heading(), _verdict(numbers), tuple(_notes(numbers)), first),)),
        Section("Results", (Paragraph(table.heading()), *table.grids())),
        Section("What this says", (Bullets(tuple(("", text) for text in conclusions)),) if conclusions else ()),
        Section("Further scores", further),
    )
    return Report(f"Sweep of {numbers.file}", tuple(part for part in parts if part.blocks))


def _dots(numbers: SweepNumbers, score: str) -> Iterator[Dots]:
    """The arms' means, and beside them the differences to the baseline, paired by seed."""
    arms = [(arm, arm.scores[score]) for arm in numbers.arms]
    means = tuple(_mark(arm, own.mean) for arm, own in arms if own.mean is not None)
    if means:
        yield Dots(score, means)
    gaps = tuple(
        _mark(arm, own.difference, _TONES.get(own.verdict, ""), sign=True)
        for arm, own in arms
        if own.difference is not None
    )
    if gaps:
        yield Dots(f"{score}: difference to {numbers.baseline}, paired by seed", gaps, zero=True)


def _mark(arm: ArmNumbers, mean: Interval, tone: Tone = "", sign: bool = False) -> Mark:
    spread = mean.count > 1 and has_spread(mean)
    low, high = (mean.low, mean.high) if spread else (None, None)
    return Mark(arm.name, mean.mean, low, high, number(mean.mean, scale=abs(mean.mean), sign=sign), tone)


def _verdict(numbers: SweepNumbers) -> str:
    """What the first score says of the arms."""
    if not numbers.scores or not any(arm.scores[numbers.scores[0]].values for arm in numbers.arms):
        return "No run has finished, so there is nothing to conclude."
    score = numbers.scores[0]
    if len(numbers.arms) == 1:
        [dots] = _dots(numbers, score)
        return f"{score} is {dots.marks[0].text} over {len(numbers.arms[0].scores[score].values)} seeds."
    verdicts = [arm.scores[score].verdict for arm in numbers.arms[1:]]
    told = [f"{verdicts.count(each)} {each}" for each in dict.fromkeys(verdicts) if each]
    return f"{score}, beside {numbers.baseline}: of {len(verdicts)} other arms {', '.join(told) or 'none compared'}."


def _notes(numbers: SweepNumbers) -> Iterator[Note]:
    """Which differences are claimed and which can't be told, a line each, over all scores."""
    for verdict in (HIGHER, LOWER, CANT_TELL):
        found = [f"{arm.name}: {score}" for arm in numbers.arms[1:] for score in arm.named(verdict)]
        left = len(found) - _SHOWN_NAMES
        more = f"; {left} more" if left > 0 else ""
        if found:
            anchor = "results" if verdict == CANT_TELL else "what-this-says"
            yield Note(verdict.capitalize(), f"{'; '.join(found[:_SHOWN_NAMES])}{more}", anchor)
