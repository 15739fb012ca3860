"""The record of a training run: what it computed in some files, how fast it went in another.

``metrics.jsonl`` (a record a step), ``probes.jsonl`` (what it answered to the same few questions as it learnt) and
``rollouts/`` (what it sampled, a table a step) are the same to the last byte whenever the run is; clocks, speeds and
host names go to ``timings.jsonl`` alone. All jsonl is read by ``read_jsonl``.
"""

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from reasoning.core.errors import InputError, remedy
from reasoning.core.files import parse_json, sync, write_atomic

METRICS = "metrics.jsonl"
TIMINGS = "timings.jsonl"
PROBES = "probes.jsonl"
_ROLLOUTS = "rollouts"


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

    def flush(self) -> None:
        """Bring the files to disk; called before a checkpoint, so that no checkpoint is newer than its metrics."""
        if self.write:
            for path in self._existing():
                sync(path)

    def truncate(self, step: int) -> None:
        """Drop what was recorded after ``step``, and a last line that a kill cut off; a resumed run writes it anew.

        Each file is replaced or removed in one move. Raises InputError with file and line for a line that is no such
        record.
        """
        if not self.write:
            return
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
        return [path for name in (METRICS, TIMINGS, PROBES) if (path := self.folder / name).exists()]


def _row(step: int, values: Mapping[str, Any]) -> dict[str, Any]:
    if "step" in values:
        raise ValueError('"step" is the name of the step itself and can\'t be that of a metric')
    return {"step": int(step)} | {key: _number(value) for key, value in values.items()}


def _number(value: Any) -> int | float | str:
    if isinstance(value, int | np.integer):
        return int(value)
    number = float(value)
    return number if math.isfinite(number) else str(number)


def _step_of(line: bytes, path: Path, number: int) -> int:
    record = parse_json(line.decode(errors="replace"), str(path), number)
    step = record.get("step") if isinstance(record, dict) else None
    if not isinstance(step, int):
        raise InputError(f'{path}:{number}: expected a record with a "step"')
    return step
