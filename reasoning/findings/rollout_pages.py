"""Pages of kept rollouts, read lazily: numbers of all rows to filter and sort by, texts only of rows that are shown.

A row's number counts through the files of the chosen steps. Files that change while a run goes on are read anew.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow.compute import MatchSubstringOptions, call_function

from reasoning.core.errors import InputError
from reasoning.training.metrics import rollout_files
from reasoning.use.rollout_rows import LISTS, REWARDS, named, open_rollouts, rows_by_number
from reasoning.use.stage_results import spans

_CONDITION = re.compile(r"\s*([^<>=!,]+?)\s*(<=|>=|!=|=|<|>)\s*([-+.\deE]+)\s*")
_ROWS_READ_AT_ONCE = 65_536
_COMPARE = {
    "<": np.less, "<=": np.less_equal, ">": np.greater, ">=": np.greater_equal, "=": np.equal, "!=": np.not_equal,
}  # fmt: skip


@dataclass(frozen=True)
class Condition:
    """A number that a row must have: ``strict>=1``; rewards are named with or without ``rewards/``."""

    name: str
    sign: str
    value: float

    def holds(self, values: np.ndarray) -> np.ndarray:
        """Where; what has no number never does."""
        return _COMPARE[self.sign](values, self.value) & ~np.isnan(values)

    def meets(self, value: float) -> bool:
        """Whether one number does."""
        return bool(self.holds(np.array(value)))


@dataclass(frozen=True)
class Wanted:
    """Which rows, in which order: those that meet all of ``where``, are of ``kind``, and hold ``text``.

    ``sort`` names a number, empty for the order of the files; rows without it come last.
    """

    where: tuple[Condition, ...] = ()
    kind: str = ""
    text: str = ""
    sort: str = ""
    descending: bool = False


def conditions(text: str) -> tuple[Condition, ...]:
    """``strict>=1, tagged<1`` as conditions. Raises InputError for what is none."""
    found = []
    for part in filter(str.strip, text.split(",")):
        match = _CONDITION.fullmatch(part)
        try:
            found.append(Condition(match[1], match[2], float(match[3])) if match else _no_condition(part))
        except ValueError:
            _no_condition(part)
    return tuple(found)


def _no_condition(part: str) -> Condition:
    raise InputError(f"{part.strip()!r} is no condition; write as in strict>=1, tagged<1, length>100")


@dataclass(frozen=True)
class _File:
    """A file as it was when it was looked at."""

    step: int
    path: Path
    changed: int
    size: int


@dataclass(frozen=True)
class RolloutPages:
    """The rollouts of a stage's folder at one step, or at all that were kept (``step`` None)."""

    files: tuple[_File, ...]

    @classmethod
    def of(cls, folder: Path, step: int | None) -> "RolloutPages":
        """Raises InputError where none were kept, or none of that step."""
        kept = rollout_files(folder)
        chosen = kept if step is None else {each: path for each, path in kept.items() if each == step}
        if not chosen:
            offer = f"there are {spans(tuple(kept))}" if kept else "this stage kept none"
            raise InputError(f"no rollouts of step {step}; {offer}")
        stats = ((each, path, path.stat()) for each, path in chosen.items())
        return cls(tuple(_File(each, path, found.st_mtime_ns, found.st_size) for each, path, found in stats))

    def names(self) -> tuple[str, ...]:
        """The numbers that rows can be filtered and sorted by, rewards without ``rewards/``."""
        return tuple(name.removeprefix(REWARDS) for name in _numbers(self.files))

    def find(self, wanted: Wanted) -> np.ndarray:
        """The numbers of the rows, in order. Raises InputError for a number that rows don't have."""
        return _found(self.files, wanted)

    def rows(self, numbers: Sequence[int], log_probs: bool = False) -> list[dict[str, Any]]:
        """Rows by their numbers, in that order, each with its number as ``row``; lists only with ``log_probs``."""
        starts = _starts(self.files)
        places = np.searchsorted(starts, np.asarray(numbers, np.int64), side="right") - 1
        read: dict[int, dict[str, Any]] = {}
        for place in sorted(set(places.tolist())):
            own = [row for row, of in zip(numbers, places, strict=True) if of == place]
            inside = [row - int(starts[place]) for row in own]
            with open_rollouts(self.files[place].path) as file:
                names = [name for name in file.schema_arrow.names if log_probs or name not in LISTS]
                for row, values in zip(own, rows_by_number(file, inside, names), strict=True):
                    read[row] = named(values) | {"row": int(row)}
        return [read[row] for row in numbers]


@lru_cache(maxsize=4)
def _numbers(files: tuple[_File, ...]) -> dict[str, np.ndarray]:
    """Every column of numbers, of all rows of the files; missing ones are NaN."""
    parts = [_numbers_of(file.path) for file in files]
    sizes = [len(part["step"]) for part in parts]
    names = dict.fromkeys(name for part in parts for name in part)
    return {
        name: np.concatenate([part.get(name, np.full(size, np.nan)) for part, size in zip(parts, sizes, strict=True)])
        for name in names
    }


def _numbers_of(path: Path) -> dict[str, np.ndarray]:
    arrays: dict[str, np.ndarray] = {}
    with open_rollouts(path) as file:
        rows = file.metadata.num_rows
        for each in file.schema_arrow:
            if pa.types.is_primitive(each.type):
                wide = each.name in ("reward", "step") or each.name.startswith(REWARDS)
                arrays[each.name] = np.empty(rows, np.float64 if wide else np.float32)
        start = 0
        # A part at a time and without threads: nothing is held twice, and each thread would keep memory of its own.
        for part in file.iter_batches(_ROWS_READ_AT_ONCE, columns=list(arrays), use_threads=False):
            for name, array in arrays.items():
                column = part.column(name)
                column = column.cast(pa.float64()) if pa.types.is_boolean(column.type) else column
                array[start : start + len(part)] = column.to_numpy(zero_copy_only=False)
            start += len(part)
    return arrays


@lru_cache(maxsize=8)
def _starts(files: tuple[_File, ...]) -> np.ndarray:
    """The number of each file's first row."""
    sizes = [open_rollouts(file.path).metadata.num_rows for file in files]
    return np.cumsum([0, *sizes[:-1]])


@lru_cache(maxsize=8)
def _found(files: tuple[_File, ...], wanted: Wanted) -> np.ndarray:
    numbers = _numbers(files)
    mask = np.ones(len(numbers["step"]), bool)
    for each in wanted.where:
        mask &= each.holds(_column(numbers, each.name))
    if wanted.kind or wanted.text:
        mask &= np.concatenate([_with_texts(file.path, wanted.kind, wanted.text) for file in files])
    rows = np.flatnonzero(mask)
    if wanted.sort:
        values = _column(numbers, wanted.sort)[rows]
        order = np.argsort(-values if wanted.descending else values, kind="stable")  # NaN comes last.
        rows = rows[order]
    return rows


def _column(numbers: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    for full in (REWARDS + name, name):
        if full in numbers:
            return numbers[full]
    offer = ", ".join(each.removeprefix(REWARDS) for each in numbers)
    raise InputError(f"rows have no number {name!r}; there are {offer}")


def _with_texts(path: Path, kind: str, text: str) -> np.ndarray:
    """Which rows are of a kind and hold a text, in the question or the completion, in either case."""
    masks = []
    with open_rollouts(path) as file:
        for batch in file.iter_batches(8192, columns=["kind", "prompt", "completion"]):
            mask = np.ones(len(batch), bool)
            if kind:
                mask &= call_function("equal", [batch["kind"], kind]).to_numpy(zero_copy_only=False)
            if text:
                mask &= np.logical_or(*(_holding(batch[name], text) for name in ("prompt", "completion")))
            masks.append(mask)
    return np.concatenate(masks) if masks else np.zeros(0, bool)


def _holding(column: pa.Array, text: str) -> np.ndarray:
    options = MatchSubstringOptions(text, ignore_case=True)
    return call_function("match_substring", [column], options).to_numpy(zero_copy_only=False)


def written_rows(pages: RolloutPages, numbers: Iterable[int], block: int = 256) -> Iterator[dict[str, Any]]:
    """Rows with all that they hold, block by block, for an export."""
    chosen = list(numbers)
    for start in range(0, len(chosen), block):
        yield from pages.rows(chosen[start : start + block], log_probs=True)
