"""Single completions: what a stage sampled, what each reward gave, and what was made of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from reasoning.core.errors import InputError
from reasoning.core.text import shortened
from reasoning.evaluation.results import SAMPLES, Reason, Replies, read_samples
from reasoning.findings.numbers import fixed, plain
from reasoning.training.metrics import rollout_files
from reasoning.use.rollout_rows import named
from reasoning.use.stage_results import read_rollouts, spans

_SHOWN_DETAIL = 200


@dataclass(frozen=True)
class Completion:
    """One reply: whose it is, its text, and what it was given; a number that there isn't is None.

    ``total`` is what it is sorted by: the total reward, the score that counts, or whether it was kept.
    """

    label: str
    text: str
    total: float | None
    values: Mapping[str, float | None]
    advantage: float | None = None
    length: int | None = None
    truncated: bool = False
    log_prob: float | None = None
    note: str = ""
    reasons: Mapping[str, Reason] = field(default_factory=dict)


@dataclass(frozen=True)
class CompletionGroup:
    """All replies to one question; ``number`` is what ``--group`` calls it."""

    number: int
    question: str
    answer: str
    kind: str
    completions: list[Completion] = field(default_factory=list)


@dataclass(frozen=True)
class Selection:
    """What to show: the first groups, or in ``order`` "worst" or "best" single completions; None means all."""

    order: str = ""
    group: int | None = None
    kind: str = ""
    limit: int | None = None


@dataclass(frozen=True)
class Collection:
    """The groups of a stage, or of one of its steps, and what they are, in words."""

    title: str
    groups: tuple[CompletionGroup, ...]


def has_samples(folder: Path) -> bool:
    """Whether a stage's folder holds completions that can be shown."""
    return bool(rollout_files(folder)) or (folder / SAMPLES).exists()


def read(folder: Path, stage: str, step: int | None = None) -> Collection:
    """The completions in a stage's folder, of a ``step`` (default: the last) where the stage kept them step by step.

    Raises InputError where there are none, none of that step, or a file is damaged.
    """
    files = rollout_files(folder)
    if files:
        chosen = max(files) if step is None else step
        groups = groups_of_rollouts(read_rollouts(folder, stage, chosen).to_pylist())
        return Collection(f"{stage}, step {chosen} (kept: {spans(tuple(files))})", groups)
    if step is not None:
        raise InputError(f"stage {stage} keeps no completions by step; leave --step out")
    rows = read_samples(folder / SAMPLES)
    collected = any(row.kept for row in rows)
    title = "the first replies, kept or not" if collected else "every problem with the replies of all checkpoints"
    return Collection(f"{stage}: {title}", _of_replies(rows))


def choose(collection: Collection, selection: Selection) -> tuple[CompletionGroup, ...]:
    """The groups to show, with only the completions to show. Raises InputError where nothing is as chosen."""
    groups = collection.groups
    if selection.kind:
        groups = tuple(group for group in groups if group.kind == selection.kind)
        if not groups:
            there = ", ".join(sorted({group.kind for group in collection.groups}))
            raise InputError(f"no problem is of kind {selection.kind!r}; there are {there}")
    if selection.group is not None:
        groups = tuple(group for group in groups if group.number == selection.group)
        if not groups:
            there = spans(sorted(group.number for group in collection.groups))
            raise InputError(f"there is no group {selection.group}; there are {there}")
    return _extremes(groups, selection) if selection.order else _first(groups, selection.limit)


def completion_line(completion: Completion) -> str:
    """The line above a completion: its place, its numbers, the most telling first."""
    parts = [completion.label, completion.note]
    if completion.total is not None and completion.advantage is not None:
        parts.append(f"reward {plain(completion.total)}")
    given = [f"{name} {plain(value)}" for name, value in completion.values.items() if value is not None]
    parts.append(f"({' · '.join(given)})" if given else "")
    parts += [_reason(name, *reason) for name, reason in completion.reasons.items()]
    if completion.advantage is not None:
        parts.append(f"advantage {fixed(completion.advantage, 2, sign=True)}")
    if completion.length is not None:
        parts.append(f"{completion.length} tokens{', cut off' if completion.truncated else ''}")
    if completion.log_prob is not None:
        parts.append(f"log-probability {fixed(completion.log_prob, 1)}")
    return "  ".join(filter(None, parts))


def _reason(name: str, verdict: str, failing: int | None, detail: str) -> str:
    """Why a reward gave what it gave: ``code: wrong at test 3, …``."""
    place = "" if failing is None else f" at test {failing}"
    return f"{name}: {verdict}{place}{f', {shortened(detail, _SHOWN_DETAIL)}' if detail else ''}"


def _first(groups: Sequence[CompletionGroup], limit: int | None) -> tuple[CompletionGroup, ...]:
    """The first groups, until ``limit`` completions are shown."""
    if limit is None:
        return tuple(groups)
    shown: list[CompletionGroup] = []
    for group in groups:
        shown += [replace(group, completions=group.completions[:limit])] if limit > 0 else []
        limit -= len(group.completions)
    return tuple(shown)


def _extremes(groups: Sequence[CompletionGroup], selection: Selection) -> tuple[CompletionGroup, ...]:
    """The completions with the least or the most, each under its own question; equals by advantage, then in order."""
    every = [(group, completion) for group in groups for completion in group.completions]
    judged = [(group, completion) for group, completion in every if completion.total is not None]
    if not judged:
        raise InputError("these completions were given no rewards, so none is best or worst; leave the option out")
    sign = 1 if selection.order == "worst" else -1
    judged.sort(key=lambda pair: (sign * (pair[1].total or 0.0), sign * (pair[1].advantage or 0.0)))
    return tuple(replace(group, completions=[completion]) for group, completion in judged[: selection.limit])


def groups_of_rollouts(rows: Sequence[Mapping[str, Any]]) -> tuple[CompletionGroup, ...]:
    """Rows of a file of rollouts, group by group; one that was read without log-probabilities has none."""
    groups: dict[int, CompletionGroup] = {}
    for row in map(named, rows):
        completion = Completion(
            label=f"#{row['sample']}",
            text=row["completion"],
            total=row["reward"],
            values=row["rewards"],
            advantage=row["advantage"],
            length=row["length"],
            truncated=row["truncated"],
            log_prob=sum(row["sampler_log_probs"]) if "sampler_log_probs" in row else None,
            reasons=row["verdicts"],
        )
        group = CompletionGroup(row["group"], row["prompt"], row["answer"], row["kind"])
        groups.setdefault(group.number, group).completions.append(completion)
    return tuple(groups.values())


def _of_replies(rows: Sequence[Replies]) -> tuple[CompletionGroup, ...]:
    groups: dict[int, CompletionGroup] = {}
    for row in rows:
        group = groups.setdefault(row.problem, CompletionGroup(row.problem, row.question, row.answer, row.kind))
        first = len(group.completions)
        group.completions.extend(_completion(row, place, first) for place in range(len(row.texts)))
    return tuple(groups[number] for number in sorted(groups))


def _completion(row: Replies, place: int, first: int) -> Completion:
    """One reply of a row; sorted by whether it was kept, or by the first score in the order of the file."""
    values = {name: each[place] for name, each in row.scores.items()}
    asked = [row.checkpoint, row.style, row.method + (f" {place}" if len(row.texts) > 1 else "")]
    return Completion(
        label=f"#{first + place}" if row.kept else ", ".join(filter(None, asked)),
        text=row.texts[place],
        total=float(row.kept[place]) if row.kept else next(iter(values.values()), None),
        values=values,
        length=row.lengths[place],
        log_prob=row.log_probs[place],
        note=("kept" if row.kept[place] else "dropped") if row.kept else "",
        reasons={name: each[place] for name, each in row.reasons.items() if each[place][0]},
    )
