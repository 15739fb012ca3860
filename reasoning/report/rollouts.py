"""Single completions on the terminal: what a stage sampled, what each reward gave, and what was made of it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from reasoning.core.errors import InputError
from reasoning.core.files import read_jsonl
from reasoning.report.text import printable, shortened
from reasoning.training.metrics import rollout_files
from reasoning.use.stage_results import read_rollouts, spans

SAMPLES = "samples.jsonl"
SHOWN_CHARACTERS = 2000
MARGIN = 4


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


@dataclass(frozen=True)
class Group:
    """All replies to one question; ``number`` is what ``--group`` calls it."""

    number: int
    question: str
    answer: str
    kind: str
    completions: tuple[Completion, ...]


@dataclass(frozen=True)
class Choice:
    """What to show: the first groups, or in ``order`` "worst" or "best" single completions; None means all."""

    order: str = ""
    group: int | None = None
    kind: str = ""
    limit: int | None = None


@dataclass(frozen=True)
class Collection:
    """The groups of a stage, or of one of its steps, and what they are, in words."""

    title: str
    groups: tuple[Group, ...]


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
        groups = _of_rollouts(read_rollouts(folder, stage, chosen).to_pylist())
        return Collection(f"{stage}, step {chosen} (kept: {spans(tuple(files))})", groups)
    if step is not None:
        raise InputError(f"stage {stage} keeps no completions by step; leave --step out")
    rows = read_jsonl(folder / SAMPLES)
    try:
        if rows and "checkpoint" in rows[0]:
            return Collection(f"{stage}: every problem with the replies of all checkpoints", _of_evaluation(rows))
        return Collection(f"{stage}: the first replies, kept or not", _of_collection(rows))
    except (KeyError, TypeError, IndexError) as error:
        raise InputError(f"{folder / SAMPLES} holds rows of another form ({error!r}); make {stage} anew") from None


def choose(found: Collection, choice: Choice) -> tuple[Group, ...]:
    """The groups to show, with only the completions to show. Raises InputError where nothing is as chosen."""
    groups = found.groups
    if choice.kind:
        groups = tuple(group for group in groups if group.kind == choice.kind)
        if not groups:
            there = ", ".join(sorted({group.kind for group in found.groups}))
            raise InputError(f"no problem is of kind {choice.kind!r}; there are {there}")
    if choice.group is not None:
        groups = tuple(group for group in groups if group.number == choice.group)
        if not groups:
            there = spans(sorted(group.number for group in found.groups))
            raise InputError(f"there is no group {choice.group}; there are {there}")
    return _extremes(groups, choice) if choice.order else _first(groups, choice.limit)


def show(console: Console, found: Collection, groups: Iterable[Group], whole: bool = False) -> None:
    """Prints groups; texts are cut after 2000 characters unless ``whole``. Nothing in a text acts on the terminal."""
    console.print(_plain(found.title, "bold"), soft_wrap=True)
    for group in groups:
        heading = f"\ngroup {group.number}  {group.question}  right answer: {group.answer}  ({group.kind})"
        console.print(_plain(heading, "bold"), soft_wrap=True)
        for completion in group.completions:
            text = completion.text if whole else shortened(completion.text, SHOWN_CHARACTERS)
            console.print(_plain(f"  {facts(completion)}", "dim"), soft_wrap=True)
            console.print(Padding(_plain(text or "(nothing)"), (0, 0, 0, MARGIN), expand=False))


def facts(completion: Completion) -> str:
    """The line above a completion: its place, its numbers, the most telling first."""
    parts = [completion.label, completion.note]
    if completion.total is not None and completion.advantage is not None:
        parts.append(f"reward {completion.total:.4g}")
    given = [f"{name} {value:.4g}" for name, value in completion.values.items() if value is not None]
    parts.append(f"({' · '.join(given)})" if given else "")
    if completion.advantage is not None:
        parts.append(f"advantage {completion.advantage:+.2f}")
    if completion.length is not None:
        parts.append(f"{completion.length} tokens{', cut off' if completion.truncated else ''}")
    if completion.log_prob is not None:
        parts.append(f"log-probability {completion.log_prob:.1f}")
    return "  ".join(filter(None, parts))


def _first(groups: Sequence[Group], limit: int | None) -> tuple[Group, ...]:
    """The first groups, until ``limit`` completions are shown."""
    if limit is None:
        return tuple(groups)
    shown: list[Group] = []
    for group in groups:
        room = limit - sum(len(other.completions) for other in shown)
        if room <= 0:
            break
        shown.append(replace(group, completions=group.completions[:room]))
    return tuple(shown)


def _extremes(groups: Sequence[Group], choice: Choice) -> tuple[Group, ...]:
    """The completions with the least or the most, each under its own question; equals by advantage, then in order."""
    every = [(group, completion) for group in groups for completion in group.completions]
    judged = [(group, completion) for group, completion in every if completion.total is not None]
    if not judged:
        raise InputError("these completions were given no rewards, so none is best or worst; leave the option out")
    sign = 1 if choice.order == "worst" else -1
    judged.sort(key=lambda pair: (sign * (pair[1].total or 0.0), sign * (pair[1].advantage or 0.0)))
    return tuple(replace(group, completions=(completion,)) for group, completion in judged[: choice.limit])


def _of_rollouts(rows: Sequence[Mapping[str, Any]]) -> tuple[Group, ...]:
    groups: dict[int, Group] = {}
    for row in rows:
        prefix = "rewards/"
        completion = Completion(
            label=f"#{row['sample']}",
            text=row["completion"],
            total=row["reward"],
            values={name.removeprefix(prefix): value for name, value in row.items() if name.startswith(prefix)},
            advantage=row["advantage"],
            length=row["length"],
            truncated=row["truncated"],
            log_prob=sum(row["sampler_log_probs"]),
        )
        _add(groups, row["group"], (row["prompt"], row["answer"], row["kind"]), completion)
    return tuple(groups.values())


def _of_collection(rows: Sequence[Mapping[str, Any]]) -> tuple[Group, ...]:
    groups: dict[int, Group] = {}
    numbers: dict[str, int] = {}
    for row in rows:
        number = numbers.setdefault(row["prompt"], len(numbers))
        place = len(groups[number].completions) if number in groups else 0
        completion = Completion(
            label=f"#{place}",
            text=row["completion"],
            total=float(row["kept"]),
            values=row["scores"],
            length=row.get("tokens"),
            note="kept" if row["kept"] else "dropped",
        )
        _add(groups, number, (row["prompt"], row["answer"], row["kind"]), completion)
    return tuple(groups.values())


def _of_evaluation(rows: Sequence[Mapping[str, Any]]) -> tuple[Group, ...]:
    """Of each checkpoint the greedy reply, then its samples; they are sorted by the first score."""
    groups: dict[int, Group] = {}
    for row in rows:
        name, texts = row["checkpoint"], row["samples"]
        completions = [Completion(f"{name}, greedy", row["greedy"], _total(row["scores"]), row["scores"])]
        log_probs = row.get("sample_log_probs") or [None] * len(texts)
        for place, text in enumerate(texts):
            values = {score: each[place] for score, each in row["sample_scores"].items()}
            completions.append(
                Completion(
                    label=f"{name}, sample {place}",
                    text=text,
                    total=_total(values),
                    values=values,
                    length=row["sample_lengths"][place],
                    log_prob=log_probs[place],
                )
            )
        for completion in completions:
            _add(groups, row["problem"], (row["question"], row["answer"], row["kind"]), completion)
    return tuple(groups[number] for number in sorted(groups))


def _add(groups: dict[int, Group], number: int, problem: tuple[str, str, str], completion: Completion) -> None:
    group = groups.get(number) or Group(number, *problem, completions=())
    groups[number] = replace(group, completions=(*group.completions, completion))


def _total(values: Mapping[str, float]) -> float | None:
    return next(iter(values.values()), None)


def _plain(text: str, style: str = "") -> Text:
    return Text(printable(text), style=style)
