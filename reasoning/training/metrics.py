"""The record of a training run: what it computed in some files, how fast it went in another.

``metrics.jsonl`` (a record a step), ``probes.jsonl`` (what it answered to the same few questions as it learnt),
``warnings.jsonl`` (what seems to go wrong) and ``rollouts/`` (what it sampled, a table a step) are the same to the last
byte whenever the run is; clocks, speeds and host names go to ``timings.jsonl`` alone. All jsonl is read by
``read_jsonl``.
"""

import json
import math
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from reasoning.core.errors import InputError, remedy
from reasoning.core.files import json_text, parse_json, read_json, sync, write_atomic
from reasoning.core.fingerprints import difference, fingerprints

METRICS = "metrics.jsonl"
TIMINGS = "timings.jsonl"
PROBES = "probes.jsonl"
WARNINGS = "warnings.jsonl"
_LINES = (METRICS, TIMINGS, PROBES, WARNINGS)
_ROLLOUTS = "rollouts"
_TABLES = "rollouts.json"
"""The file of a checkpoint that lists the tables of completions, with their SHA-256."""


def rollouts_file(folder: Path, step: int) -> Path:
    """Where a stage with this folder keeps what it sampled for a step, counted from 1."""
    return folder / _ROLLOUTS / f"step_{step:06}.parquet"


def rollout_files(folder: Path) -> dict[int, Path]:
    """The files of sampled completions in a stage's folder by their steps, in rising order."""
    files = ((re.fullmatch(r"step_(\d+)\.parquet", path.name), path) for path in (folder / _ROLLOUTS).glob("step_*"))
    return dict(sorted((int(name[1]), path) for name, path in files if name))


@dataclass(frozen=True)
class MetricsLog:
    """The records of one stage, in ``folder``; where ``write`` is false (all processes but one) nothing happens."""

    folder: Path
    write: bool = True

    def record(self, step: int, values: Mapping[str, Any]) -> None:
        """Append what a step computed; each value is a number, or an array that holds one.

        Equal values give equal bytes: keys are sorted, and floats are written by ``repr`` after widening to float64.
        JSON has no NaN and no infinities: they are written as the strings "nan", "inf", "-inf", which ``float`` reads.
        Raises InputError where the disk takes no more.
        """
        self._append(METRICS, [_row(step, values)])

    def timing(self, step: int, values: Mapping[str, Any]) -> None:
        """Append how long a step took, by the clock; the form is that of ``record``."""
        self._append(TIMINGS, [_row(step, values)])

    def probe(self, step: int, rows: Iterable[Mapping[str, Any]]) -> None:
        """Append what the model answered when it was probed after ``step``; rows are JSON-able."""
        self._append(PROBES, [{"step": step, **row} for row in rows])

    def warning(self, step: int, values: Mapping[str, str]) -> None:
        """Append what seemed to go wrong after ``step``: its ``kind``, and ``words``."""
        self._append(WARNINGS, [{"step": step, **values}])

    def flush(self) -> None:
        """Bring the files to disk; called before a checkpoint, so that no checkpoint is newer than its metrics."""
        if self.write:
            for path in self._existing():
                sync(path)

    def copies(self) -> dict[str, bytes]:
        """What a checkpoint keeps of the record, under the checkpoint's own SHA-256: the files of lines, whole, and by
        their fingerprints the tables, which are many."""
        if not self.write:
            return {}
        tables = json_text(fingerprints(self.folder, rollout_files(self.folder).values())).encode()
        return {path.name: path.read_bytes() for path in self._existing()} | {_TABLES: tables}

    def resume(self, step: int, saved: Path, warn: Callable[[str], None]) -> None:
        """Go on behind ``step``, whose checkpoint is the folder ``saved``: what came later is written anew.

        Lines are those that the checkpoint keeps; ``warn`` hears of a file in which they had changed, and of a damaged
        table, which nothing can bring back: it is set aside. Step 0 has no checkpoint and keeps nothing.
        """
        if not self.write:
            return
        if step and not (saved / _TABLES).exists():  # A checkpoint of before, which keeps no copies.
            self._truncate(step)
            return
        for path in (self.folder / name for name in _LINES):
            kept = (saved / path.name).read_bytes() if step and (saved / path.name).exists() else b""
            there = path.read_bytes() if path.exists() else b""
            if there.startswith(kept):
                kept += _of_step(there[len(kept) :], step)
            else:
                warn(f"damaged record: {path} isn't as it was written; the copy in {saved} takes its place")
            if kept != there:
                write_atomic(path, kept)
        self._remove_later(step)
        for name, expected in (read_json(saved / _TABLES) if step else {}).items():
            file = self.folder / name
            if damage := difference(file, expected, None):
                if file.exists():
                    os.replace(file, f"{file}.damaged")
                warn(f"damaged record: {damage}; the run goes on without it")

    def _truncate(self, step: int) -> None:
        """Drop lines after ``step``, and a last one that a kill cut off. InputError for a line that is no record."""
        for path in self._existing():
            old = path.read_bytes()
            kept = [
                line + b"\n"
                for number, line in enumerate(old.split(b"\n")[:-1], start=1)
                if _step_of(line, path, number) <= step
            ]
            new = b"".join(kept)
            if new != old:
                write_atomic(path, new)
        self._remove_later(step)

    def _remove_later(self, step: int) -> None:
        for sampled, path in rollout_files(self.folder).items():
            if sampled > step:
                path.unlink()

    def _append(self, name: str, records: Iterable[Mapping[str, Any]]) -> None:
        if not self.write:
            return
        path = self.folder / name
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with open(path, "ab") as file:
                file.write("".join(json.dumps(record, sort_keys=True) + "\n" for record in records).encode())
        except OSError as error:
            raise InputError(
                f"could not write {path}: {error}; {remedy(error)} and run the same command again"
            ) from error

    def _existing(self) -> list[Path]:
        return [path for name in _LINES if (path := self.folder / name).exists()]


def _row(step: int, values: Mapping[str, Any]) -> dict[str, Any]:
    if "step" in values:
        raise ValueError('"step" is the name of the step itself and can\'t be that of a metric')
    return {"step": int(step)} | {key: _number(value) for key, value in values.items()}


def _number(value: Any) -> int | float | str:
    if isinstance(value, int | np.integer):
        return int(value)
    number = float(value)
    return number if math.isfinite(number) else str(number)


def _of_step(text: bytes, step: int) -> bytes:
    """The whole lines at the beginning that are of ``step``: its time and warnings are told behind its checkpoint."""
    kept = b""
    for line in text.split(b"\n")[:-1] if step else ():
        try:
            if _step_of(line, Path(), 0) != step:
                break
        except InputError:
            break
        kept += line + b"\n"
    return kept


def _step_of(line: bytes, path: Path, number: int) -> int:
    record = parse_json(line.decode(errors="replace"), str(path), number)
    step = record.get("step") if isinstance(record, dict) else None
    if not isinstance(step, int):
        raise InputError(f'{path}:{number}: expected a record with a "step"')
    return step
