"""Which scores come first, by rules and not by their names, so that those of a user's own search method do too."""

import math
import re
from collections.abc import Iterable

from reasoning.evaluation.results import Score
from reasoning.findings.evaluations import Evaluation
from reasoning.findings.numbers import COUNTED_DIGITS, ends, fixed, number, plain, short

SAMPLED = "pass@1"
"""What a checkpoint is compared by: the mean over single samples; it stands first."""


_MOST_CHOSEN = 6


def grades(names: Iterable[str]) -> tuple[str, ...]:
    """Ways of telling right from wrong (``strict``, ``lenient``), as the names of scores hold them, in their order."""
    return tuple(dict.fromkeys(name.rpartition("/")[0] for name in names if "/" in name))


def headline_scores(names: Iterable[str]) -> tuple[str, ...]:
    """The scores that answer first questions: how often each method is right, the first rate, and what is counted.

    A ``pass@K`` is left out: it asks that one of K replies be right, and no method answers with K of them.
    """
    names = tuple(dict.fromkeys(names))
    methods = dict.fromkeys((SAMPLED, *(name.rpartition("/")[2] for name in names if "/" in name)))
    graded = [f"{grade}/{method}" for method in methods if not is_one_of_several(method) for grade in grades(names)]
    rates = [name for name in names if "/" not in name and name not in COUNTED_DIGITS]
    return tuple(name for name in (*graded, *rates[:1], *COUNTED_DIGITS) if name in names)


def compact_scores(evaluation: Evaluation) -> tuple[str, ...]:
    """The headline's scores for a narrow table: votes and searches only by the grade that sentences compare by."""
    grade = (main_score(evaluation) or "").partition("/")[0]
    return tuple(
        name
        for name in headline_scores(evaluation.results.columns())
        if "/" not in name or name.rpartition("/")[2] in (SAMPLED, "greedy") or name.rpartition("/")[0] == grade
    )


def chosen_scores(evaluation: Evaluation) -> tuple[str, ...]:
    """The few scores that a table opens with: the first of ``compact_scores``, and the length of replies."""
    names = compact_scores(evaluation)
    first = [name for name in names if name != "length"][: _MOST_CHOSEN - ("length" in names)]
    return (*first, "length") if "length" in names else tuple(first)


def ordered_scores(names: Iterable[str]) -> tuple[str, ...]:
    """All scores, the headline's first and the others as they came."""
    names = tuple(names)
    return tuple(dict.fromkeys((*headline_scores(names), *names)))


def main_score(evaluation: Evaluation) -> str | None:
    """The one score by which checkpoints are compared in a sentence: pass@1, lenient if there is one."""
    names = evaluation.results.columns()
    candidates = (f"{grade}/{SAMPLED}" for grade in ("lenient", *grades(names)))
    return next((name for name in candidates if name in names), next(iter(names), None))


def main_grade(evaluation: Evaluation) -> str:
    """The grade whose samples checkpoints are compared by; empty where the main score is no mean over samples."""
    grade, _, method = (main_score(evaluation) or "").rpartition("/")
    return grade if method == SAMPLED else ""


def is_one_of_several(method: str) -> bool:
    """Whether a method only asks that one of several samples be right, which guessing does too."""
    return method != SAMPLED and re.fullmatch(r"pass@\d+", method) is not None


def asked(evaluation: Evaluation) -> str:
    """What an exam asked, such as ``512 held-out problems``; those of the training split are not called held out."""
    problems = evaluation.problems()
    count = "" if problems is None else f"{problems:,} "
    what = {"test": "held-out problems", "train": "problems of the training split"}.get(
        evaluation.results.split, "problems"
    )
    return count + what


def spoken(name: str) -> str:
    """A score's name in a sentence: ``lenient pass@1``."""
    return name.replace("/", " ")


def interval(score: Score, name: str = "") -> str:
    """The ends of the 95 % interval of the score ``name``, or that there is none."""
    if score.low is None or score.high is None:
        return "no interval"
    return ends(score.low, score.high, lambda end: number(end, name))


def with_half(score: Score, name: str = "") -> str:
    """A mean and the wider half of its interval, for narrow columns: ``0.37±.02``, or the mean alone.

    The half is rounded up, so that no interval looks narrower than it is, and none like nothing.
    """
    if score.low is None or score.high is None:
        return short(score.mean, name)
    half = max(score.mean - score.low, score.high - score.mean)
    digits = COUNTED_DIGITS.get(name, 2) if half < 10 else 0
    shown = math.ceil(half * 10**digits - 1e-9) / 10**digits
    return f"{short(score.mean, name)}±{fixed(shown, digits).removeprefix('0')}"


def ungraded(score: Score) -> str:
    """The share of replies that nobody could grade, which are in no mean: ``2.5 %``; empty where all were graded."""
    return f"{plain(float(f'{100 * score.ungraded:.3g}'))} %" if score.ungraded else ""


def with_interval(score: Score) -> str:
    """A mean and its interval in a sentence."""
    if score.low is None or score.high is None:
        return short(score.mean)
    return f"{short(score.mean)} (95 % interval {short(score.low)} to {short(score.high)})"
