"""Questions with one right answer each, and sets of them drawn from several tasks."""

import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import cycle, islice
from typing import Annotated, Any, Protocol, runtime_checkable

import numpy as np

from reasoning.core.errors import InputError
from reasoning.core.ranges import Index, NonNegative, Range, Size
from reasoning.core.signatures import function_words
from reasoning.tasks.splits import Split, split_of

_MISSES, _FEWEST = 200, 10
"""Draws without a new question, for each that was found and for at least ten, after which a task counts as exhausted:
more tell nothing, however many are wanted."""


REWARDS_GET = ("prompts", "completions", "answer", "kind", "truncated", "lengths", "chat")
"""The names of everything that a reward gets beside columns."""

RESERVED = (*REWARDS_GET, "marks", "self")
"""The names that no column may have."""


@dataclass(frozen=True)
class Problem:
    """A question, its only right answer (how it is compared: ``rewards.accuracy``), the task's name, and ``columns``.

    Columns are what else rewards are to know of it (``rewards.reward.Reward``), by name: texts, numbers, lists, dicts.
    They count when problems are compared. ``source`` is what it is told apart by where the question holds more, such as
    labels in some order (``identity``). Raises InputError for a column with a name of ``RESERVED``.
    """

    question: str
    answer: str
    kind: str
    columns: Mapping[str, Any] = field(default_factory=dict, hash=False)
    source: str = ""

    def __post_init__(self) -> None:
        taken = ", ".join(repr(name) for name in self.columns if name in RESERVED)
        if taken:
            raise InputError(
                f"column {taken} can't be told from what rewards get under that name anyway; rename it or leave it out"
            )


def identity(problem: Problem) -> str:
    """The text that decides a problem's split and by which leaks are found: its source, else its question."""
    return problem.source or problem.question


@runtime_checkable
class Task(Protocol):
    """A source of problems; a frozen dataclass of settings."""

    def problems(self, split: Split, count: int, seed: int) -> tuple[Problem, ...]:
        """``count`` problems of distinct questions from ``split``, the same for the same settings and arguments.

        A larger count begins with the same problems. Raises InputError, naming the number that there is, where the
        task has fewer.
        """
        ...


@runtime_checkable
class Leaking(Protocol):
    """A task whose test questions can be training questions too; the setting ``allow_leaks`` lets an exam begin."""

    @property
    def allow_leaks(self) -> bool: ...

    def leaks(self) -> str:
        """How many test questions are training questions, and where, in a sentence; empty for none."""
        ...


@dataclass(frozen=True)
class ProblemSet:
    """The problems of one training or evaluation run: shared out among tasks, shuffled."""

    tasks: tuple[Task, ...]
    split: Split
    count: Annotated[int, Range(minimum=1, maximum=2**22)]  # a few GiB of them
    seed: Index = 0
    # One weight a task; empty means equal parts. Only their ratios count.
    weights: tuple[NonNegative, ...] = ()
    # How many different problems each task gives; its share is filled up with repeats. Empty: all are different.
    distinct: tuple[Size, ...] = ()

    def problems(self) -> tuple[Problem, ...]:
        """``count`` problems whose questions all differ, also between tasks, but for the repeats that are asked for.

        Raises InputError where a task can't give its share, or the weights or ``distinct`` don't fit the tasks.
        """
        seen: set[str] = set()
        chosen: list[Problem] = []
        shares = self._shares()
        for task, share, wanted in zip(self.tasks, shares, self.distinct or shares, strict=True):
            fresh = _fresh(task, self.split, min(share, wanted), self.seed, seen)
            seen.update(problem.question for problem in fresh)
            chosen.extend(islice(cycle(fresh), share))
        random.Random(f"problem set/{self.seed}").shuffle(chosen)
        return tuple(chosen)

    def leaks(self) -> tuple[str, ...]:
        """What the tasks of an exam say of test questions that are training questions too.

        Raises InputError for a task that has some and doesn't allow them.
        """
        tasks = [task for task in self.tasks if self.split == "test" and isinstance(task, Leaking)]
        told = [(task, leak) for task in tasks if (leak := task.leaks())]
        for task, leak in told:
            if not task.allow_leaks:
                raise InputError(f"{leak}; take them out of one of the two, or set allow_leaks = True")
        return tuple(leak for _, leak in told)

    def _shares(self) -> list[int]:
        weights = self.weights or (1.0,) * len(self.tasks)
        if not self.tasks:
            raise InputError("a problem set has no tasks; name at least one")
        if len(weights) != len(self.tasks) or sum(weights) <= 0:
            raise InputError(
                f"a problem set of {len(self.tasks)} tasks has the weights {weights}; "
                "give one weight a task, not all zero, or none for equal parts"
            )
        if self.distinct and len(self.distinct) != len(self.tasks):
            raise InputError(
                f"a problem set of {len(self.tasks)} tasks has distinct={self.distinct}; give one number a task or none"
            )
        return apportion(self.count, weights)


def apportion(count: int, weights: Sequence[float]) -> list[int]:
    """Whole parts of ``count`` in the ratio of ``weights`` (largest remainders, earlier parts first on a tie)."""
    exact = [count * weight / sum(weights) for weight in weights]
    parts = [int(part) for part in exact]
    by_remainder = sorted(range(len(parts)), key=lambda index: parts[index] - exact[index])
    for index in by_remainder[: count - sum(parts)]:
        parts[index] += 1
    return parts


def _fresh(task: Task, split: Split, share: int, seed: int, seen: set[str]) -> list[Problem]:
    """``share`` problems of ``task`` whose questions no earlier task has asked."""
    wanted = share
    while share:
        drawn = task.problems(split, wanted, seed)
        _check_drawn(task, drawn, wanted)
        fresh = [problem for problem in drawn if problem.question not in seen]
        if len(fresh) >= share:
            return fresh[:share]
        wanted += share - len(fresh)
    return []


def _check_drawn(task: Task, given: Any, wanted: int) -> None:
    """Raises InputError for a task that gave something else than it was asked for, or fewer without a word."""
    where = f"the task {function_words(type(task).problems)}"
    if not isinstance(given, Sequence) or not all(isinstance(each, Problem) for each in given):
        raise InputError(f"{where} gave {given!r:.60}; it must return a tuple of reasoning.tasks.problems.Problem")
    if len(given) < wanted:
        raise InputError(
            f"{where} gave {len(given)} problems where {wanted} were asked for; it must raise InputError, with the "
            "number that there is, where it has fewer"
        )


def drawn(draw: Callable[[], Problem | None], split: Split, count: int, source: str) -> tuple[Problem, ...]:
    """``count`` problems of distinct questions of ``split`` from a source that draws at random, None for no problem.

    Raises InputError, naming ``source`` and the number found, where drawing long enough gives no more.
    """
    return take_distinct(_fresh_draws(draw, split), split, count, source)


def _fresh_draws(draw: Callable[[], Problem | None], split: Split) -> Iterator[Problem]:
    seen: set[str] = set()
    misses = 0
    while misses < _MISSES * max(len(seen) + 1, _FEWEST):
        problem = draw()
        if problem is None or problem.question in seen or split_of(identity(problem)) != split:
            misses += 1
            continue
        seen.add(problem.question)
        yield problem


def json_like(value: Any, other: Callable[[Any], Any]) -> Any:
    """A column's value with lists for tuples and arrays and text for bytes; ``other`` answers for what has no form."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.ndarray | np.generic):
        return json_like(value.tolist(), other)
    if isinstance(value, Mapping):
        return {str(key): json_like(item, other) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [json_like(item, other) for item in value]
    try:
        return value.decode() if isinstance(value, bytes) else other(value)
    except UnicodeDecodeError:
        return other(value)


def take_distinct(stream: Iterable[Problem], split: Split, count: int, source: str) -> tuple[Problem, ...]:
    """The first ``count`` of ``stream``; InputError, naming ``source`` and the number found, where it ends before."""
    chosen: list[Problem] = []
    for problem in stream:
        if len(chosen) == count:
            break
        chosen.append(problem)
    if len(chosen) < count:
        raise InputError(
            f"{source} has only {len(chosen)} distinct {split} questions, {count} are asked for; "
            "ask for fewer or widen its settings"
        )
    return tuple(chosen)
