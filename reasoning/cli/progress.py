"""Live progress: a bar a stage on a terminal, now and then a plain line anywhere else, silence on other processes."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn
from rich.progress import Progress as Bars

from reasoning.core.progress import Progress
from reasoning.core.text import printable
from reasoning.pipeline.run import Watcher
from reasoning.report.console import complain, put, say

_LINE_SECONDS = 2.0
_SHOWN_VALUES = 4
_PLAIN_WIDTH = 120


@dataclass
class Pace:
    """How fast stages go, each from its first report in this process on: a resumed one's earlier steps don't count."""

    clock: Callable[[], float] = time.monotonic
    first: dict[str, tuple[float, Progress]] = field(default_factory=dict)

    def shown(self, progress: Progress) -> str:
        """Tokens a second and the time left, as far as they are known."""
        now = self.clock()
        begun, first = self.first.setdefault(progress.stage, (now, progress))
        steps, tokens = progress.step - first.step, progress.tokens - first.tokens
        if now <= begun:
            return ""
        parts = [f"{_short(tokens / (now - begun))} tokens/s"] if tokens > 0 else []
        if steps > 0 and progress.step < progress.steps:
            left = round((now - begun) / steps * (progress.steps - progress.step))
            minutes, seconds = divmod(left, 60)
            hours, minutes = divmod(minutes, 60)
            parts.append(f"{f'{hours}:{minutes:02}' if hours else minutes}:{seconds:02} left")
        return "  ".join(parts)


@dataclass
class LineProgress:
    """Progress as plain lines, at most one in two seconds for each stage, and always a stage's last."""

    write: Callable[[str], None]
    pace: Pace = field(default_factory=Pace)
    printed: dict[str, float] = field(default_factory=dict)

    def report(self, progress: Progress) -> None:
        """Prints a line if one is due."""
        now, speed = self.pace.clock(), self.pace.shown(progress)
        last = self.printed.get(progress.stage)
        if last is None or now - last >= _LINE_SECONDS or progress.step >= progress.steps:
            self.printed[progress.stage] = now
            numbers = (f"{progress.step}/{progress.steps}", shown_values(progress), speed)
            self.write("  ".join([progress.stage, *filter(None, numbers)]))


@dataclass
class BarProgress:
    """Progress as bars of rich, one a stage."""

    bars: Bars
    pace: Pace = field(default_factory=Pace)
    tasks: dict[str, TaskID] = field(default_factory=dict)

    def report(self, progress: Progress) -> None:
        """Moves the stage's bar."""
        if progress.stage not in self.tasks:
            self.tasks[progress.stage] = self.bars.add_task(printable(progress.stage), values="", speed="")
        self.bars.update(
            self.tasks[progress.stage],
            completed=progress.step,
            total=progress.steps,
            values=shown_values(progress),
            speed=self.pace.shown(progress),
        )


def shown_values(progress: Progress) -> str:
    """The first few numbers of a report, by the last piece of their names."""
    shown = list(progress.values.items())[:_SHOWN_VALUES]
    return "  ".join(f"{name.rpartition('/')[2]} {value:.4g}" for name, value in shown)


def output() -> Console:
    """The console for results: as wide as the terminal, and wide enough for tables where there is none."""
    narrow = not sys.stdout.isatty() and "COLUMNS" not in os.environ
    return Console(width=_PLAIN_WIDTH if narrow else None)


@contextmanager
def display(silent: bool = False) -> Iterator[Watcher]:
    """A watcher that shows a run on stdout while the block runs; ``silent`` for all processes of a job but one."""
    console = output()
    if silent:
        yield Watcher(lambda progress: None, lambda text: None, lambda text: None)
    elif console.is_terminal and not console.is_jupyter:
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TextColumn("{task.fields[values]}", markup=False),
            TextColumn("{task.fields[speed]}", style="dim", markup=False),
        )
        with Bars(*columns, console=console) as bars:

            def warn(text: str) -> None:
                put(console, f"warning: {text}", "yellow")

            yield Watcher(BarProgress(bars).report, lambda text: put(console, text), warn)
    else:

        def warn(text: str) -> None:
            complain(f"warning: {text}")

        lines = LineProgress(say)
        yield Watcher(lines.report, say, warn)


def _short(number: float) -> str:
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g}{letter}"
    return f"{number:.3g}"
