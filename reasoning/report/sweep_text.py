"""A sweep in words, as tables and as CSV: what is written depends on the results alone, to the last byte."""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from reasoning.core.statistics import Interval
from reasoning.report.document import NOTHING, Bullets, Cell, Grid, Paragraph, Report, Section
from reasoning.report.grids import difference_cell
from reasoning.report.markdown import markdown
from reasoning.report.numbers import CANT_TELL, ends, fixed, number
from reasoning.report.sweep_numbers import (
    BASELINE,
    ENOUGH_SEEDS,
    HIGHER,
    LOWER,
    SAME,
    ArmNumbers,
    ArmScore,
    SweepNumbers,
    has_spread,
)

COLUMNS: tuple[str, ...] = (
    "row", "arm", "settings", "seed", "state", "score", "value",
    "mean", "low", "high", "n", "difference", "difference_low", "difference_high", "difference_n", "verdict",
)  # fmt: skip
"""Of the CSV. ``row`` is ``seed`` (one run: seed, state, value) or ``summary`` (one arm over its seeds: the rest)."""

_WAYS = {
    "grid": "all combinations; the first arm is what the others are compared to",
    "zip": "values that go together; the first arm is what the others are compared to",
    "each": "one setting at a time against the file's own",
    "seeds": "nothing varies but the seed",
}
_ONE_SEED = "one seed: no interval"
_WIDEST = 4
"""Columns of scores in one table."""


@dataclass(frozen=True)
class SweepTable:
    """The table of a sweep; a notebook shows it as a table."""

    numbers: SweepNumbers

    def markdown(self) -> str:
        """``table.md``: the tables, and in words what can and what can't be concluded."""
        parts = (
            Section("What was run", (Paragraph(self.heading()),)),
            Section("Results", self.grids()),
            Section("What this says", (Bullets(tuple(("", text) for text in self.conclusions())),)),
        )
        return markdown(Report(f"Sweep of {self.numbers.file}", parts))

    def _repr_markdown_(self) -> str:
        return self.markdown()

    def csv(self) -> str:
        """``table.csv``, with the columns of ``COLUMNS`` and every number in full."""
        out = io.StringIO()
        writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows())
        return out.getvalue()

    def rows(self) -> list[dict[str, Any]]:
        """The rows of ``table.csv``: of each arm and score one a seed, then the summary; None where nothing is."""
        rows: list[dict[str, Any]] = []
        for arm in self.numbers.arms:
            common = dict.fromkeys(COLUMNS) | {"arm": arm.label, "settings": ", ".join(arm.settings)}
            for name, score in arm.scores.items():
                own = {**common, "row": "seed", "score": name}
                rows += [
                    {**own, "seed": seed, "state": state, "value": score.values.get(seed)}
                    for seed, state in arm.states.items()
                ]
                rows.append({**own, "row": "summary", **_summary(score)})
        return rows

    def heading(self) -> str:
        """One sentence on what was run, one on what the cells are."""
        seeds, arms = self.numbers.seeds, len(self.numbers.arms)
        size = f"{_count(arms, 'arm')}, {_count(len(seeds), 'seed')} ({', '.join(map(str, seeds))})"
        size += f": {_WAYS[self.numbers.way]}."
        if len(seeds) == 1:
            return f"{size} With one seed a cell is a single result, without an interval."
        cells = "A cell is the mean over seeds with its 95 % interval (Student's t) and their number n"
        if arms == 1:
            return f"{size} {cells}."
        return f"{size} {cells}; below it the difference to {self.numbers.baseline}, paired by seed, with its interval."

    def grids(self) -> tuple[Grid, ...]:
        """For each checkpoint a row an arm, a column a score; of a single arm a row a score, a column a seed."""
        arms, groups = self.numbers.arms, dict[str, list[str]]()
        for score in self.numbers.scores:
            pieces = score.split("/")
            groups.setdefault("/".join(pieces[:2] if len(pieces) > 2 else pieces[:1]), []).append(score)
        if len(arms) == 1:
            return tuple(_by_seed(arms[0], group, scores, self.numbers.seeds) for group, scores in groups.items())
        parts = [
            (group, scores[start : start + _WIDEST])
            for group, scores in groups.items()
            for start in range(0, len(scores), _WIDEST)
        ]
        return tuple(_by_arm(arms, *part) for part in parts)

    def conclusions(self) -> list[str]:
        """What can and what can't be concluded, one sentence or two each."""
        numbers = self.numbers
        if not any(score.values for arm in numbers.arms for score in arm.scores.values()):
            return ["No run has finished, so there is nothing to conclude.", *_open_ends(numbers)]
        return [*_differences(numbers), *_about_seeds(numbers), *_open_ends(numbers)]


def _differences(numbers: SweepNumbers) -> list[str]:
    """What every arm's differences to the baseline say."""
    baseline = numbers.baseline
    clear: list[str] = []
    unclear: list[str] = []
    compared = 0
    for arm in numbers.arms[1:]:
        by_verdict: dict[str, list[str]] = {}
        for name, score in arm.scores.items():
            by_verdict.setdefault(score.verdict, []).append(name)
            if score.verdict in (HIGHER, LOWER) and score.difference is not None:
                mean, interval = _written(score.difference, sign=True)
                clear.append(f"{arm.name}: {name} is {score.verdict} than with {baseline}: {mean} ({interval}).")
        if arm.inert:
            clear.append(
                f"{arm.name}: every checkpoint equals {baseline}'s bit by bit, so this changes nothing here: something "
                "else keeps it from having an effect."
            )
        compared += sum(len(by_verdict.get(verdict, [])) for verdict in (HIGHER, LOWER, CANT_TELL))
        for verdict, words in ((CANT_TELL, f"{CANT_TELL} from"), (SAME, f"seed by seed {SAME} as")):
            if verdict in by_verdict:
                unclear.append(f"{arm.name}: {words} {baseline} in {', '.join(by_verdict[verdict])}.")
    if any(score.verdict == CANT_TELL for arm in numbers.arms for score in arm.scores.values()):
        unclear.append(
            f'"{CANT_TELL.capitalize()}" doesn\'t mean equal: arms may differ by as much as the interval spans.'
        )
    if compared > 1:
        unclear.append(
            f"{compared} differences were looked at. By chance alone one in 20 such intervals leaves out 0, here about "
            f"{compared / 20:.2g}; so an effect that was expected beforehand counts for more than one that turned up."
        )
    return [*clear, *unclear]


def _about_seeds(numbers: SweepNumbers) -> list[str]:
    """How far intervals over these seeds reach."""
    told: list[str] = []
    count = len(numbers.seeds)
    if count == 1:
        told.append(
            f"One seed says nothing about the spread, so nothing about what another seed would give, nor whether arms "
            f"differ: set sweep.seeds to at least {ENOUGH_SEEDS}."
        )
    elif count < ENOUGH_SEEDS:
        told.append(
            f"{count} seeds give wide intervals, in which only large differences show; take at least {ENOUGH_SEEDS}."
        )
    if numbers.fixed:
        told.append(
            f"One for all seeds: {', '.join(numbers.fixed)}. What another draw of that would change is in no interval."
        )
    if count > 1:
        told.append("All of it holds for these settings at this size; the intervals know of no other.")
    return told


def _open_ends(numbers: SweepNumbers) -> list[str]:
    """The runs that are missing from the numbers, and why."""
    told: list[str] = []
    for arm in numbers.arms:
        for seed, message in arm.failures.items():
            told.append(f"{arm.name}, seed {seed}: failed: {message.splitlines()[0] if message else 'no message'}")
        missing = [str(seed) for seed, state in arm.states.items() if state == "not finished"]
        if missing:
            told.append(
                f"{arm.name}: not finished for {'seed' if len(missing) == 1 else 'seeds'} {', '.join(missing)}."
            )
    if any(arm.failures for arm in numbers.arms):
        told.append(
            "Failed runs are left out of all means and differences, so an arm that has some may look better than it is."
        )
    return told


def _rows(arm: ArmNumbers, names: Sequence[str]) -> Iterator[tuple[Cell, ...]]:
    """An arm's means with its settings, one a line, and below them the differences where there are any."""
    scores = [arm.scores[name] for name in names]
    label = "\n".join(([BASELINE] if arm.label == BASELINE else []) + list(arm.settings))
    yield Cell(label), *map(_mean, scores)
    if any(score.difference is not None for score in scores):
        yield Cell("difference"), *map(_difference, scores)


def _by_arm(arms: Sequence[ArmNumbers], group: str, names: Sequence[str]) -> Grid:
    columns = ("arm", *(name.removeprefix(f"{group}/") for name in names))
    return Grid(group, columns, tuple(row for arm in arms for row in _rows(arm, names)))


def _by_seed(arm: ArmNumbers, group: str, names: Sequence[str], seeds: Sequence[int]) -> Grid:
    """With one arm: what the seeds make of each score."""
    several = len(seeds) > 1
    columns = ("score", *(("mean", "lowest", "highest") if several else ()), *(f"seed {seed}" for seed in seeds))
    rows = []
    for name in names:
        score = arm.scores[name]
        values = score.values
        write = partial(number, scale=max(map(abs, values.values()), default=0.0))
        edges = [Cell(write(edge(values.values()))) if values else NOTHING for edge in (min, max)]
        each = [Cell(write(values[seed]) if seed in values else arm.states[seed]) for seed in seeds]
        spread = [_mean(score), *edges] if several else []
        rows.append((Cell(name.removeprefix(f"{group}/")), *spread, *each))
    return Grid(group, columns, tuple(rows))


def _mean(score: ArmScore) -> Cell:
    return NOTHING if score.mean is None else Cell(*_written(score.mean))


def _difference(score: ArmScore) -> Cell:
    """The difference to the baseline; where there is no spread there is no interval."""
    if score.difference is None:
        return NOTHING
    if score.verdict == SAME:
        return Cell(SAME, f"n {score.difference.count}")
    mean, interval = _written(score.difference, sign=True)
    if score.difference.count == 1:
        return Cell(mean, interval)
    return difference_cell(mean, interval, score.verdict in (HIGHER, LOWER), score.verdict == HIGHER)


def _written(mean: Interval, sign: bool = False) -> tuple[str, str]:
    """A mean, and its interval with the number of seeds: ``+0.010``, ``+0.002 to +0.018, n 5``."""
    several = mean.count > 1
    scale = max(abs(mean.low), abs(mean.high)) if sign and several else abs(mean.mean)
    write = partial(number, scale=scale, sign=sign)
    if not several:
        return write(mean.mean), _ONE_SEED
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


def _count(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"
