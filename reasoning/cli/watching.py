"""What a run is doing, read from its folder while it writes: the stage at work, its curves, its speed, its warnings."""

import json
import os
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from rich.table import Table
from rich.text import Text

from reasoning.core.artifact import RECORD
from reasoning.core.errors import InputError
from reasoning.core.files import is_number, read_json
from reasoning.core.history import History
from reasoning.core.text import shortened
from reasoning.findings.numbers import plain
from reasoning.findings.stages import mapping
from reasoning.findings.times import time_words, times_of
from reasoning.pipeline.folder import Entry, present_folder, read_run
from reasoning.report.console import headed, plain_text, table
from reasoning.report.sparklines import sparkline
from reasoning.training.metrics import METRICS, TIMINGS, WARNINGS

_SHOWN = (
    "reward", "loss", "eval_loss", "entropy", "completions/mean_length", "completions/clipped_ratio",
    "frac_reward_zero_std", "kl", "grad_norm", "sampling/sampling_logp_difference/mean",
)  # fmt: skip
"""Metrics that are drawn, in order, before the rewards' means and the probe's scores."""

_MOST_CURVES, _CURVE_WIDTH, _NAME_WIDTH = 16, 40, 60
_RECENT = 100
"""Rows that speed and split are told from."""

_CHUNK = 1 << 22


@dataclass
class Tail:
    """The rows of a file of JSON lines as they come: each is given once, a line only when it has ended.

    A file that has become shorter, as where a run went back to a checkpoint, or another one, is read anew; ``again``
    then says so.
    """

    path: Path
    offset: int = 0
    file: int = 0
    again: bool = False

    def rows(self) -> Iterator[dict[str, Any]]:
        """The rows since the last call; what isn't a row is passed over."""
        self.again = False
        try:
            with open(self.path, "rb") as file:
                status = os.fstat(file.fileno())
                if status.st_size < self.offset or status.st_ino != self.file:
                    self.again, self.offset, self.file = self.file != 0, 0, status.st_ino
                file.seek(self.offset)
                while lines := file.readlines(_CHUNK):
                    ended = [line for line in lines if line.endswith(b"\n")]
                    self.offset += sum(map(len, ended))
                    yield from filter(None, map(_row, ended))
        except OSError:
            return


def _row(line: bytes) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) and is_number(row.get("step")) else None


@dataclass
class _Followed:
    """One stage's folder and what has been read of it."""

    folder: Path
    metrics: Tail = field(init=False)
    timings: Tail = field(init=False)
    history: History = field(default_factory=History)
    recent: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=_RECENT))
    timed: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=_RECENT))
    record: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.metrics, self.timings = Tail(self.folder / METRICS), Tail(self.folder / TIMINGS)

    def read(self) -> None:
        """Reads what is new."""
        for row in self.metrics.rows():
            if self.metrics.again:
                self.history, self.metrics.again = History(), False
                self.recent.clear()
            self.recent.append(row)
            self.history.add(int(row["step"]), _numbers(row))
        for row in self.timings.rows():
            self.timed.append(row)
        if not self.record:
            try:
                self.record = mapping(read_json(self.folder / RECORD))
            except InputError:
                self.record = {}

    @property
    def steps(self) -> int:
        """How many steps the stage takes; 0 where nothing tells yet."""
        told = self.timed[-1].get("steps") if self.timed else None
        return told if isinstance(told, int) else 0


def _numbers(row: Mapping[str, Any]) -> dict[str, float]:
    return {
        name: float(value)
        for name, value in row.items()
        if name != "step" and (is_number(value) or value in ("nan", "inf", "-inf"))
    }


@dataclass
class RunWatcher:
    """A run that is looked at again and again; ``stage`` is the one that is shown (empty: the one at work, or the last
    that trained)."""

    run: Path
    stage: str = ""
    followed: dict[Path, _Followed] = field(default_factory=dict)

    def finished(self) -> bool:
        """Whether all stages of the run's configuration are done."""
        return all(entry.finished for entry in self._entries())

    def look(self) -> Iterator[Text | Table]:
        """What there is to show now. Raises InputError for a stage that the run doesn't have."""
        entries = self._entries()
        chosen = self._chosen(entries)
        yield plain_text("  ".join(map(self._mark, entries)), "bold")
        if chosen is None:
            yield plain_text("no stage trains yet")
            return
        folder = present_folder(self.run, chosen)
        stage = self.followed.setdefault(folder, _Followed(folder))
        stage.read()
        yield headed(chosen.stage, f": {_progress(stage, chosen.finished)}")
        times = times_of(list(stage.timed), list(stage.recent), stage.record)
        if times is not None:
            yield plain_text("; ".join(time_words(times)))
        if curves := list(_curves(stage.history)):
            yield table("", ("metric", "course", "first", "least", "most", "now"), curves)
        for row in Tail(folder / WARNINGS).rows():
            yield plain_text(f"step {row['step']}, {row.get('kind')}: {row.get('words')}", "yellow")

    def _entries(self) -> tuple[Entry, ...]:
        return read_run(self.run)

    def _chosen(self, entries: tuple[Entry, ...]) -> Entry | None:
        names = [entry.stage for entry in entries]
        if self.stage and self.stage not in names:
            raise InputError(f"{self.run} has no stage {self.stage!r}; there are {', '.join(names)}")
        trained = [entry for entry in entries if (present_folder(self.run, entry) / METRICS).exists()]
        if self.stage:
            return next(entry for entry in entries if entry.stage == self.stage)
        at_work = [entry for entry in trained if not entry.finished]
        return at_work[-1] if at_work else trained[-1] if trained else None

    def _mark(self, entry: Entry) -> str:
        begun = present_folder(self.run, entry).exists()
        return f"{'✓' if entry.finished else '▶' if begun else '·'} {entry.stage}"


def _progress(stage: _Followed, finished: bool) -> str:
    """Which step of how many, and how long it will take from here, by the median of the last steps."""
    done = int(stage.recent[-1]["step"]) if stage.recent else 0
    told = f"step {done:,}" + (f" of {stage.steps:,} ({done / stage.steps:.0%})" if stage.steps else "")
    seconds = [row["seconds"] for row in stage.timed if is_number(row.get("seconds"))]
    if finished or not seconds or done >= stage.steps:
        return told
    minutes, rest = divmod(round(median(seconds) * (stage.steps - done)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{told}, about {f'{hours}:{minutes:02}' if hours else minutes}:{rest:02} left"


def _curves(history: History) -> Iterator[tuple[str, ...]]:
    names = [*_SHOWN, *history.names("rewards/", "/mean"), *history.names("probe/"), *history.names("best/")]
    for name in [name for name in dict.fromkeys(names) if history.points(name)][:_MOST_CURVES]:
        values, finite = [value for _, value in history.points(name)], history.values(name)
        low, high = (plain(float(end)) for end in (finite.min(), finite.max())) if len(finite) else ("", "")
        shown = (shortened(name, _NAME_WIDTH), sparkline(values, _CURVE_WIDTH))
        yield (*shown, plain(values[0]), low, high, plain(history.last(name)))
