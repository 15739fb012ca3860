"""The record of a training run: what it computed in one file, how fast it went in another.

``metrics.jsonl`` is the same to the last byte whenever the run is; clocks, speeds and host names go to
``timings.jsonl`` alone. Both are jsonl, one record a step, and are read by ``read_jsonl``.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from reasoning.core.errors import InputError
from reasoning.core.files import parse_json, sync, write_atomic

METRICS = "metrics.jsonl"
TIMINGS = "timings.jsonl"


@dataclass(frozen=True)
class MetricsLog:
    """The two files of one stage, in ``folder``; where ``write`` is false (all processes but one) nothing happens."""

    folder: Path
    write: bool = True

    def record(self, step: int, values: Mapping[str, Any]) -> None:
        """Append what a step computed; each value is a number, or an array that holds one.

        Equal values give equal bytes: keys are sorted, and floats are written by ``repr`` after widening to float64.
        JSON has no NaN and no infinities: they are written as the strings "nan", "inf", "-inf", which ``float`` reads.
        Raises InputError where the disk takes no more.
        """
        self._append(METRICS, step, values)

    def timing(self, step: int, values: Mapping[str, Any]) -> None:
        """Append how long a step took, by the clock; the form is that of ``record``."""
        self._append(TIMINGS, step, values)

    def flush(self) -> None:
        """Bring both files to disk; called before a checkpoint, so that no checkpoint is newer than its metrics."""
        if self.write:
            for path in self._existing():
                sync(path)

    def truncate(self, step: int) -> None:
        """Drop what was recorded after ``step``, and a last line that a kill cut off; a resumed run writes it anew.

        Each file is replaced in one move. Raises InputError with file and line for a line that is no such record.
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

    def _append(self, name: str, step: int, values: Mapping[str, Any]) -> None:
        if not self.write:
            return
        if "step" in values:
            raise ValueError('"step" is the name of the step itself and can\'t be that of a metric')
        record = {"step": int(step)} | {key: _number(value) for key, value in values.items()}
        path = self.folder / name
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with open(path, "ab") as file:
                file.write(json.dumps(record, sort_keys=True).encode() + b"\n")
        except OSError as error:
            raise InputError(f"could not write {path}: {error}; free space and run the same command again") from error

    def _existing(self) -> list[Path]:
        return [path for path in (self.folder / METRICS, self.folder / TIMINGS) if path.exists()]


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
