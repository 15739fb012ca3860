"""Replies to an exam's problems, or those that a collecting stage was given: found by where they stand in the file."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from reasoning.core.errors import InputError
from reasoning.core.files import is_number
from reasoning.findings.rollout_pages import Wanted

_SHOWN_REPLIES = 16


@dataclass
class Problem:
    """One problem: its question, where its rows stand, and each checkpoint's mean of the first score."""

    number: int
    question: str
    answer: str
    kind: str
    places: list[tuple[int, int]] = field(default_factory=list)
    means: dict[str, float] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)


def problems(file: Path) -> Mapping[int, Problem]:
    """All problems of a file of samples by number; rows that can't be read are left out."""
    found = file.stat()
    return _index(file, found.st_mtime_ns, found.st_size)


def chosen(file: Path, wanted: Wanted) -> list[Problem]:
    """The problems as wanted: numbers are checkpoints' means (``r1=1, base<0.5``), or ``spread`` of these.

    Raises InputError for another name.
    """
    every = list(problems(file).values())
    names = {"problem", "spread", *(name for each in every for name in each.means)}
    for name in (*(each.name for each in wanted.where), *filter(None, [wanted.sort])):
        if name not in names:
            raise InputError(f"problems have no number {name!r}; there are {', '.join(sorted(names))}")
    kept = [each for each in every if _is_wanted(each, wanted)]
    if wanted.sort:
        sign = -1 if wanted.descending else 1
        values = {each.number: value(each, wanted.sort) for each in kept}
        kept.sort(key=lambda each: (values[each.number] is None, sign * (values[each.number] or 0.0), each.number))
    return kept


def value(problem: Problem, name: str) -> float | None:
    """The number of that name; ``spread`` is how far the best and the worst checkpoint are apart."""
    if name == "problem":
        return float(problem.number)
    if name == "spread":
        return max(problem.means.values(), default=0.0) - min(problem.means.values(), default=0.0)
    return problem.means.get(name)


def replies(file: Path, number: int) -> list[dict[str, Any]]:
    """The rows of one problem, each with at most so many replies. Raises InputError for an unknown one."""
    known = problems(file)
    if number not in known:
        raise InputError(f"there is no problem {number} in {file.name}")
    rows = []
    with open(file, "rb") as opened:
        for start, size in known[number].places:
            opened.seek(start)
            row = json.loads(opened.read(size))
            few = {
                name: row[name][:_SHOWN_REPLIES]
                for name in ("texts", "lengths", "log_probs", "answers", "kept")
                if isinstance(row.get(name), list)
            }
            scores = {name: values[:_SHOWN_REPLIES] for name, values in row["scores"].items()}
            reasons = {name: values[:_SHOWN_REPLIES] for name, values in row.get("reasons", {}).items()}
            rows.append(row | few | {"scores": scores, "reasons": reasons, "replies": len(row["texts"])})
    return rows


def _is_wanted(problem: Problem, wanted: Wanted) -> bool:
    for each in wanted.where:
        own = value(problem, each.name)
        if own is None or not each.meets(own):
            return False
    if wanted.kind and problem.kind != wanted.kind:
        return False
    return wanted.text.lower() in problem.question.lower()


@lru_cache(maxsize=4)
def _index(file: Path, changed: int, size: int) -> Mapping[int, Problem]:
    """``changed`` and ``size`` are of the file as it is now."""
    found: dict[int, Problem] = {}
    start = 0
    with open(file, "rb") as opened:
        for line in opened:
            _add(found, line, start)
            start += len(line)
    return dict(sorted(found.items()))


def _add(found: dict[int, Problem], line: bytes, start: int) -> None:
    try:
        row = json.loads(line)
        number, checkpoint, values = row["problem"], row["checkpoint"], list(row["scores"].values())
        own = found.setdefault(number, Problem(number, row["question"], row["answer"], row["kind"]))
        own.places.append((start, len(line)))
    except (ValueError, KeyError, TypeError, AttributeError):
        return
    numbers = [each for each in values[0] if is_number(each)] if values and isinstance(values[0], list) else []
    # The method with the most replies tells most.
    if numbers and not row.get("style") and len(numbers) > own.counts.get(checkpoint, 0):
        own.means[checkpoint], own.counts[checkpoint] = sum(numbers) / len(numbers), len(numbers)
