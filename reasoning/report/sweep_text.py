"""A sweep in words, as Markdown and as CSV: what is written depends on the results alone, to the last byte."""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from reasoning.core.statistics import Interval
from reasoning.report.sweep_numbers import BASELINE, ENOUGH_SEEDS, Cell, Numbers, Row, Verdict, has_spread
from reasoning.report.text import printable

COLUMNS: tuple[str, ...] = (
    "row", "arm", "settings", "seed", "state", "score", "value",
    "mean", "low", "high", "n", "difference", "difference_low", "difference_high", "difference_n", "verdict",
)  # fmt: skip
"""Of the CSV. ``row`` is ``seed`` (one run: seed, state, value) or ``summary`` (one arm over its seeds: the rest)."""

WAYS = {
    "grid": "all combinations; the first arm is what the others are compared to",
    "zip": "values that go together; the first arm is what the others are compared to",
    "each": "one setting at a time against the file's own",
    "seeds": "nothing varies but the seed",
}
NONE = "–"
ONE_SEED = "(one seed: no interval)"
WIDEST = 4
"""Columns of scores in one table."""


@dataclass(frozen=True)
class Line:
    """One line of a cell, with what belongs to it (an interval); ``evidence`` where that leaves out 0."""

    text: str
    detail: str = ""
    evidence: bool = False


@dataclass(frozen=True)
class Table:
    """Headings, and rows of cells, each of some lines."""

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[tuple[Line, ...], ...], ...]


def markdown(numbers: Numbers) -> str:
    """``table.md``: the tables, then what can and what can't be concluded."""
    lines = [f"# Sweep of {_escaped(numbers.file)}", "", _escaped(heading(numbers))]
    for table in tables(numbers):
        lines += ["", f"## {_escaped(table.title)}", ""]
        lines += [_row(map(_escaped, table.headings)), _row(["---"] * len(table.headings))]
        lines += [_row("<br>".join(map(_marked, cell)) for cell in row) for row in table.rows]
    lines += ["", "## What this says", "", *(f"- {_escaped(text)}" for text in conclusions(numbers))]
    return "\n".join(lines) + "\n"


def csv_text(numbers: Numbers) -> str:
    """``table.csv``, with the columns of ``COLUMNS`` and every number in full."""
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(records(numbers))
    return out.getvalue()


def records(numbers: Numbers) -> list[dict[str, Any]]:
    """The rows of ``table.csv``: for each arm and score one of each seed, then the summary; None where nothing is."""
    found: list[dict[str, Any]] = []
    for row in numbers.rows:
        arm = dict.fromkeys(COLUMNS) | {"arm": row.label, "settings": ", ".join(row.settings)}
        for score in numbers.scores:
            cell = row.cells[score]
            found += [
                {**arm, "row": "seed", "seed": seed, "state": state, "score": score, "value": cell.values.get(seed)}
                for seed, state in row.states.items()
            ]
            found.append({**arm, "row": "summary", "score": score, **_summary(cell)})
    return found


def heading(numbers: Numbers) -> str:
    """One sentence on what was run, one on what the cells are."""
    seeds = ", ".join(map(str, numbers.seeds))
    size = f"{_count(len(numbers.rows), 'arm')}, {_count(len(numbers.seeds), 'seed')} ({seeds}): {WAYS[numbers.way]}."
    if len(numbers.seeds) == 1:
        return f"{size} With one seed a cell is a single result, without an interval."
    cells = "A cell is the mean over seeds with its 95 % interval (Student's t) and their number n"
    if len(numbers.rows) == 1:
        return f"{size} {cells}."
    return f"{size} {cells}; below it the difference to {numbers.baseline}, paired by seed, with its own interval."


def tables(numbers: Numbers) -> Iterator[Table]:
    """For each checkpoint a row an arm, a column a score; where there is one arm, a row a score, a column a seed."""
    groups: dict[str, list[str]] = {}
    for score in numbers.scores:
        pieces = score.split("/")
        groups.setdefault("/".join(pieces[:2] if len(pieces) > 2 else pieces[:1]), []).append(score)
    for group, scores in groups.items():
        if len(numbers.rows) == 1:
            yield _by_seed(numbers.rows[0], group, scores, numbers.seeds)
            continue
        for start in range(0, len(scores), WIDEST):
            some = scores[start : start + WIDEST]
            headings = ("arm", *(score.removeprefix(f"{group}/") for score in some))
            rows = ((_heading(row), *(_cell(row.cells[name]) for name in some)) for row in numbers.rows)
            yield Table(group, headings, tuple(rows))


def conclusions(numbers: Numbers) -> list[str]:
    """What can and what can't be concluded, one sentence or two each."""
    if not any(cell.values for row in numbers.rows for cell in row.cells.values()):
        return ["No run has finished, so there is nothing to conclude.", *_open_ends(numbers)]
    return [*_differences(numbers), *_about_seeds(numbers), *_open_ends(numbers)]


def number(value: float, scale: float | None = None) -> str:
    """A number with the digits that suit ``scale`` (itself, where not given)."""
    scale = abs(value if scale is None else scale)
    if scale != 0 and (scale < 1e-3 or scale >= 1e6):
        return f"{value:.3g}"
    return f"{value:.3f}" if scale < 10 else f"{value:.1f}"


def _differences(numbers: Numbers) -> list[str]:
    """What every arm's differences to the baseline say."""
    baseline = numbers.baseline
    clear: list[str] = []
    unclear: list[str] = []
    compared = 0
    for row in numbers.rows[1:]:
        by_verdict: dict[Verdict, list[str]] = {}
        for score, cell in row.cells.items():
            by_verdict.setdefault(cell.verdict, []).append(score)
            if cell.verdict in ("higher", "lower") and cell.difference is not None:
                by = _difference(cell.difference, cell.verdict)
                clear.append(f"{row.name}: {score} is {cell.verdict} than with {baseline}: {by.text} {by.detail}.")
        if row.inert:
            clear.append(
                f"{row.name}: every checkpoint equals {baseline}'s bit by bit, so this changes nothing here: something "
                "else keeps it from having an effect."
            )
        compared += sum(len(by_verdict.get(verdict, [])) for verdict in ("higher", "lower", "can't tell"))
        for verdict, words in (("can't tell", "can't tell from"), ("the same", "seed by seed the same as")):
            if verdict in by_verdict:
                unclear.append(f"{row.name}: {words} {baseline} in {', '.join(by_verdict[verdict])}.")
    if any(cell.verdict == "can't tell" for row in numbers.rows for cell in row.cells.values()):
        unclear.append("\"Can't tell\" doesn't mean equal: arms may differ by as much as the interval spans.")
    if compared > 1:
        unclear.append(
            f"{compared} differences were looked at. By chance alone one in 20 such intervals leaves out 0, here about "
            f"{compared / 20:.2g}; so an effect that was expected beforehand counts for more than one that turned up."
        )
    return [*clear, *unclear]


def _about_seeds(numbers: Numbers) -> list[str]:
    """How far intervals over these seeds reach."""
    found: list[str] = []
    count = len(numbers.seeds)
    if count == 1:
        found.append(
            f"One seed says nothing about the spread, so nothing about what another seed would give, nor whether arms "
            f"differ: set sweep.seeds to at least {ENOUGH_SEEDS}."
        )
    elif count < ENOUGH_SEEDS:
        found.append(
            f"{count} seeds give wide intervals, in which only large differences show; take at least {ENOUGH_SEEDS}."
        )
    if numbers.fixed:
        found.append(
            f"One for all seeds: {', '.join(numbers.fixed)}. What another draw of that would change is in no interval."
        )
    if count > 1:
        found.append("All of it holds for these settings at this size; the intervals know of no other.")
    return found


def _open_ends(numbers: Numbers) -> list[str]:
    """The runs that are missing from the numbers, and why."""
    found: list[str] = []
    for row in numbers.rows:
        for seed, message in row.failures.items():
            found.append(f"{row.name}, seed {seed}: failed: {message.splitlines()[0] if message else 'no message'}")
        missing = [str(seed) for seed, state in row.states.items() if state == "not finished"]
        if missing:
            found.append(
                f"{row.name}: not finished for {'seed' if len(missing) == 1 else 'seeds'} {', '.join(missing)}."
            )
    if any(row.failures for row in numbers.rows):
        found.append(
            "Failed runs are left out of all means and differences, so an arm that has some may look better than it is."
        )
    return found


def _heading(row: Row) -> tuple[Line, ...]:
    """An arm's settings, one a line."""
    return tuple(map(Line, ([BASELINE] if row.label == BASELINE else []) + list(row.settings)))


def _by_seed(row: Row, group: str, scores: Sequence[str], seeds: Sequence[int]) -> Table:
    """With one arm: what the seeds make of each score."""
    several = len(seeds) > 1
    headings = ("score", *(("mean", "lowest", "highest") if several else ()), *(f"seed {seed}" for seed in seeds))
    rows = []
    for score in scores:
        values = row.cells[score].values
        scale = max(map(abs, values.values()), default=0.0)
        spread = [number(edge(values.values()), scale) if values else NONE for edge in (min, max)] if several else []
        mean = [_cell(row.cells[score])] if several else []
        each = [number(values[seed], scale) if seed in values else row.states[seed] for seed in seeds]
        rows.append(((Line(score.removeprefix(f"{group}/")),), *mean, *((Line(text),) for text in (*spread, *each))))
    return Table(group, headings, tuple(rows))


def _cell(cell: Cell) -> tuple[Line, ...]:
    """A mean with its interval, and the difference to the baseline where there is one."""
    if cell.mean is None:
        return (Line(NONE),)
    lines = [_mean(cell.mean)]
    if cell.difference is not None and cell.verdict == "the same":
        lines.append(Line(f"the same n {cell.difference.count}"))
    elif cell.difference is not None:
        lines.append(_difference(cell.difference, cell.verdict))
    return tuple(lines)


def _mean(found: Interval) -> Line:
    if found.count == 1:
        return Line(number(found.mean), ONE_SEED)
    if not has_spread(found):
        return Line(number(found.mean), f"in each of {found.count} seeds: no spread, no interval")
    low, high = (number(end, abs(found.mean)) for end in (found.low, found.high))
    return Line(number(found.mean), f"[{low}, {high}] n {found.count}")


def _difference(found: Interval, verdict: Verdict) -> Line:
    """``+0.010 [+0.002, +0.018] n 5``; where there is no spread there is no interval."""
    scale = abs(found.mean) if found.count == 1 else max(abs(found.low), abs(found.high))
    mean, low, high = (("+" if end > 0 else "") + number(end, scale) for end in (found.mean, found.low, found.high))
    if found.count == 1:
        return Line(mean, ONE_SEED)
    interval = f"[{low}, {high}] n {found.count}"
    if not has_spread(found):
        interval = f"in each of {found.count} seeds: no spread, no interval"
    return Line(mean, interval + (f": {verdict}" if verdict == "can't tell" else ""), verdict in ("higher", "lower"))


def _summary(cell: Cell) -> dict[str, Any]:
    """A summary's columns; a single seed, and seeds without spread, give no interval."""
    found: dict[str, Any] = {"verdict": cell.verdict or None}
    for prefix, count, interval in (("", "n", cell.mean), ("difference_", "difference_n", cell.difference)):
        if interval is not None:
            known = interval.count > 1 and has_spread(interval)
            found |= {
                f"{prefix}low": interval.low if known else None,
                f"{prefix}high": interval.high if known else None,
            }
            found |= {"difference" if prefix else "mean": interval.mean, count: interval.count}
    return found


def _count(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


def _marked(line: Line) -> str:
    text = _escaped(f"{line.text} {line.detail}".rstrip())
    return f"**{text}**" if line.evidence else text


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _escaped(text: str) -> str:
    """Text that Markdown shows as it is, in a cell too."""
    plain = " ".join(printable(text).split())
    return re.sub(r"([\\`*<|])", r"\\\1", plain)
