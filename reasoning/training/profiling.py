"""A few steps' trace for xprof (TensorBoard) and Perfetto: what ran on which device, and what it waited for."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import jax

from reasoning.core.errors import InputError

PROFILE = "profile"
"""The folder of traces in a run's."""


@dataclass
class Profile:
    """Traces the steps from ``first`` to ``last``, counted from 1, of each stage into ``folder/<stage>/``.

    ``first`` 0 traces nothing. A trace costs time and memory while it runs, and changes no result.
    """

    first: int = 0
    last: int = 0
    folder: Path = Path()
    running: bool = False

    @contextmanager
    def of_stage(self, stage: str, step: int, steps: int) -> Iterator[None]:
        """Around each step of a stage of ``steps``; a trace that is running ends with an error, too."""
        if step == self.first:
            jax.profiler.start_trace(str(self.folder / stage), create_perfetto_trace=True)
            self.running = True
        try:
            yield
        except BaseException:
            self._end()
            raise
        if step == min(self.last, steps):
            self._end()

    def _end(self) -> None:
        if self.running:
            self.running = False
            jax.profiler.stop_trace()


def profile_of(text: str, folder: Path) -> Profile:
    """The profile that ``10:13`` asks for, or ``10``; empty: none. Raises InputError for anything else."""
    if not text:
        return Profile()
    first, _, last = text.partition(":")
    last = last or first
    if not (first.isdecimal() and last.isdecimal() and 0 < int(first) <= int(last)):
        raise InputError(f"--profile {text} names no steps; write FIRST:LAST, counted from 1, as in --profile 10:13")
    return Profile(int(first), int(last), folder)
