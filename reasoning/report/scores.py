"""Which scores come first and how numbers are written, so that every table, sentence and picture says them alike."""

import re
from collections.abc import Iterable

from reasoning.core.statistics import Interval
from reasoning.report.table import Evaluation, Score

FIRST_GRADES = ("strict", "lenient")
MEASURES = ("pass@1", "greedy", "majority@", "weighted@", "beam@")
RATES = ("tagged", "formatted", "length", "distinct")
COUNTED_DIGITS = {"length": 1, "distinct": 2}
"""Digits after the point, the same all down a column, of scores that count something."""

MOST_DIGITS = 4
CANT_TELL = "can't tell"


def grades(names: Iterable[str]) -> tuple[str, ...]:
    """Ways of telling right from wrong (``strict``, ``lenient``), as the names of scores hold them, strict first."""
    found = dict.fromkeys(name.rpartition("/")[0] for name in names if "/" in name)
    first = [grade for grade in FIRST_GRADES if grade in found]
    return (*first, *(grade for grade in found if grade not in first))


def headline_scores(names: Iterable[str]) -> tuple[str, ...]:
    """The scores that answer first questions: pass@1, greedy, votes, beam, how many in the format, how long."""
    names = tuple(dict.fromkeys(names))
    wanted = [
        name
        for measure in MEASURES
        for grade in grades(names)
        for name in names
        if name.startswith(f"{grade}/") and _measures(name.rpartition("/")[2], measure)
    ]
    return (*wanted, *(rate for rate in RATES if rate in names))


def compact_scores(evaluation: Evaluation) -> tuple[str, ...]:
    """The headline's scores for a narrow table: votes and beams only by the grade that sentences compare by."""
    names = headline_scores(evaluation.scores()) or evaluation.scores()
    grade = (main_score(evaluation) or "").partition("/")[0]
    searches = ("majority@", "weighted@", "beam@")
    return tuple(
        name for name in names if not name.rpartition("/")[2].startswith(searches) or name.rpartition("/")[0] == grade
    )


def ordered_scores(names: Iterable[str]) -> tuple[str, ...]:
    """All scores, the headline's first and the others as they came."""
    names = tuple(dict.fromkeys(names))
    first = headline_scores(names)
    return (*first, *(name for name in names if name not in first))


def main_score(evaluation: Evaluation) -> str | None:
    """The one score by which checkpoints are compared in a sentence: pass@1, lenient if there is one."""
    names = evaluation.scores()
    candidates = [f"{grade}/pass@1" for grade in ("lenient", *grades(names)) if f"{grade}/pass@1" in names]
    return candidates[0] if candidates else next(iter(names), None)


def asked(evaluation: Evaluation) -> str:
    """What an exam asked, such as ``512 held-out problems``; those of the training split are not called held out."""
    problems = evaluation.problems()
    count = "" if problems is None else f"{problems:,} "
    what = {"test": "held-out problems", "train": "problems of the training split"}.get(evaluation.split, "problems")
    return count + what


def spoken(name: str) -> str:
    """A score's name in a sentence: ``lenient pass@1``."""
    return name.replace("/", " ")


def share(value: float, name: str = "") -> str:
    """A number of a table: three digits after the point for shares, fewer for what is larger or counts something."""
    digits = COUNTED_DIGITS.get(name, 3 if abs(value) < 10 else 1) if abs(value) < 1000 else 0
    return with_minus(f"{value:,.{digits}f}")


def short(value: float, name: str = "") -> str:
    """A number of a sentence: two digits after the point for shares."""
    digits = COUNTED_DIGITS.get(name, 2 if abs(value) < 10 else 1) if abs(value) < 1000 else 0
    return with_minus(f"{value:,.{digits}f}")


def with_minus(number: str) -> str:
    """A written number with the minus of mathematics, which is as wide as a plus, and none before a zero."""
    return number.lstrip("-") if not number.strip("-0.,") else number.replace("-", "−")


def interval(score: Score, name: str = "") -> str:
    """The ends of the 95 % interval of the score ``name``, or that there is none."""
    if score.low is None or score.high is None:
        return "no interval"
    return f"{share(score.low, name)}{'–' if score.low >= 0 else ' to '}{share(score.high, name)}"


def with_interval(score: Score) -> str:
    """A mean and its interval in a sentence."""
    if score.low is None or score.high is None:
        return short(score.mean)
    return f"{short(score.mean)} (95 % interval {short(score.low)} to {short(score.high)})"


def points(difference: Interval) -> tuple[str, str]:
    """A difference of shares in percentage points with its sign, and its interval: ``+66``, ``63 to 69``."""
    mean, low, high = (100 * value for value in (difference.mean, difference.low, difference.high))
    digits = 0 if high - low >= 2 and abs(mean) >= 1 else 1
    while (
        digits < MOST_DIGITS and difference.excludes(0) and min(abs(round(low, digits)), abs(round(high, digits))) == 0
    ):
        digits += 1  # An interval that ends just before 0 must not look as if it held it.
    return signed(mean, digits), " to ".join(with_minus(f"{end:.{digits}f}") for end in (low, high))


def signed(value: float, digits: int) -> str:
    """A number with its sign, a true minus, and no sign at zero."""
    written = f"{abs(value):.{digits}f}"
    if float(written) == 0:
        return written
    return f"{'+' if value > 0 else '−'}{written}"


def large(value: float) -> str:
    """A large count: ``2.35 M``, ``1.2e15`` as ``1.2 P``."""
    for size, letter in ((1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            return f"{value / (1e3 if letter == 'k' else size):.3g} {letter}"
    return f"{value:,.0f}"


def plain(value: float) -> str:
    """Any recorded number, as short as its four leading digits allow."""
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def _measures(name: str, measure: str) -> bool:
    return bool(re.fullmatch(re.escape(measure) + r"\d+", name)) if measure.endswith("@") else name == measure
