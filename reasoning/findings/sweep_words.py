"""A sweep in words and as CSV: what is written depends on the results alone, to the last byte."""

import csv
import io
from collections.abc import Iterator, Sequence
from functools import partial
from os.path import commonprefix
from typing import Any

from reasoning.core.statistics import Interval
from reasoning.findings.costs import cost_words
from reasoning.findings.notes import Note
from reasoning.findings.numbers import CANT_TELL, ends, fixed, number
from reasoning.findings.prose import lines
from reasoning.findings.sweep_numbers import HIGHER, LOWER, ArmScore, SweepNumbers, has_spread

COLUMNS: tuple[str, ...] = (
    "row", "arm", "settings", "seed", "state", "score", "value",
    "mean", "low", "high", "n", "difference", "difference_low", "difference_high", "difference_n", "verdict",
)  # fmt: skip
"""Of the CSV. ``row`` is ``seed`` (one run: seed, state, value) or ``summary`` (one arm over its seeds: the rest)."""

_SHOWN_ARMS = 2
"""Of those that a line names."""


def csv_text(numbers: SweepNumbers) -> str:
    """``table.csv``, with the columns of ``COLUMNS`` and every number in full."""
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows_of(numbers))
    return out.getvalue()


def counted_verdicts(verdicts: Sequence[str]) -> str:
    """How many of the other arms each verdict is of."""
    told = [f"{verdicts.count(each)} {each}" for each in dict.fromkeys(verdicts) if each]
    arms = f"{len(verdicts)} other arm{'' if len(verdicts) == 1 else 's'}"
    return f"of {arms} {', '.join(told) or 'none compared'}"


def sweep_verdict(numbers: SweepNumbers) -> str:
    """What the first score says of the arms."""
    scores = [arm.scores[score] for score in numbers.scores[:1] for arm in numbers.arms]
    means = [score.mean for score in scores if score.mean is not None]
    if not means:
        return "No run has finished, so there is nothing to conclude."
    if len(scores) == 1:
        return f"{numbers.scores[0]} is {mean_words(means[0])[0]} over {means[0].count} seeds."
    return f"{numbers.scores[0]}, beside {numbers.baseline}: {counted_verdicts([each.verdict for each in scores[1:]])}."


def sweep_notes(numbers: SweepNumbers) -> Iterator[Note]:
    """Which differences are claimed and which can't be told, over all scores, what it cost, and where to look next."""
    shared = _shared_part(numbers.scores)
    for verdict in (HIGHER, LOWER):
        named = [(arm.name, arm.named(verdict)) for arm in numbers.arms[1:]]
        found = [f"{arm}: {', '.join(score.removeprefix(shared) for score in each)}" for arm, each in named if each]
        left = len(found) - _SHOWN_ARMS
        more = f"; {left} more arm{'' if left == 1 else 's'}" if left > 0 else ""
        if found:
            yield Note(verdict.capitalize(), f"{'; '.join(found[:_SHOWN_ARMS])}{more}", part="What this says")
    verdicts = [score.verdict for arm in numbers.arms[1:] for score in arm.scores.values() if score.verdict]
    if CANT_TELL in verdicts:
        told = f"{verdicts.count(CANT_TELL)} of {len(verdicts)} differences to {numbers.baseline}"
        yield Note(CANT_TELL.capitalize(), told, part="Results")
    if numbers.cost:
        yield Note("Cost", f"the finished runs took {cost_words(numbers.cost)}; what they share counts once")
    yield _next(numbers)


def _shared_part(scores: Sequence[str]) -> str:
    """What the names of several scores all begin with, up to a slash: ``exam/zero/``."""
    return commonprefix(scores).rpartition("/")[0] + "/" if len(scores) > 1 and "/" in commonprefix(scores) else ""


def _next(numbers: SweepNumbers) -> Note:
    """Where to look next: at runs that are missing from the numbers, else into those behind them."""
    failed = sum(len(arm.failures) for arm in numbers.arms)
    missing = sum(len(arm.missing()) for arm in numbers.arms)
    for count, word in ((failed, "failed"), (missing, "has not finished")):
        if count:
            told = f"at what {word}: {count} run{'' if count == 1 else 's'}"
            return Note("Look next", told, part="What this says")
    return Note("Look next", "into single runs, by reasoning view and this folder")


def rows_of(numbers: SweepNumbers) -> list[dict[str, Any]]:
    """The rows of ``table.csv``: of each arm and score one a seed, then the summary; None where nothing is."""
    rows: list[dict[str, Any]] = []
    for arm in numbers.arms:
        common = dict.fromkeys(COLUMNS) | {"arm": arm.label, "settings": ", ".join(arm.settings)}
        for name, score in arm.scores.items():
            own = {**common, "row": "seed", "score": name}
            rows += [
                {**own, "seed": seed, "state": state, "value": score.values.get(seed)}
                for seed, state in arm.states.items()
            ]
            rows.append({**own, "row": "summary", **_summary(score)})
    return rows


def sweep_sentences(numbers: SweepNumbers) -> list[str]:
    """What was run and what cells are, then what can and what can't be concluded, one sentence or two each."""
    finished = any(score.values for arm in numbers.arms for score in arm.scores.values())
    return lines("sweep.txt", numbers=numbers, finished=finished, written=mean_words)


def mean_words(mean: Interval, sign: bool = False) -> tuple[str, str]:
    """A mean, and its interval with the number of seeds: ``+0.010``, ``+0.002 to +0.018, n 5``."""
    several = mean.count > 1
    scale = max(abs(mean.low), abs(mean.high)) if sign and several else abs(mean.mean)
    write = partial(number, scale=scale, sign=sign)
    if not several:
        return write(mean.mean), "one seed: no interval"
    if not has_spread(mean):
        return write(mean.mean), f"in each of {mean.count} seeds: no spread, no interval"
    return write(mean.mean), f"{ends(mean.low, mean.high, write, sign)}, n {fixed(mean.count, 0)}"


def _summary(score: ArmScore) -> dict[str, Any]:
    """A summary's columns; a single seed, and seeds without spread, give no interval."""
    columns: dict[str, Any] = {"verdict": score.verdict or None}
    for name, prefix, mean in (("mean", "", score.mean), ("difference", "difference_", score.difference)):
        if mean is not None:
            low, high = (mean.low, mean.high) if mean.count > 1 and has_spread(mean) else (None, None)
            columns |= {name: mean.mean, f"{prefix}low": low, f"{prefix}high": high, f"{prefix}n": mean.count}
    return columns
