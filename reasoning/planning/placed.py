"""What a program takes, known while it is still being compiled: buffers are placed long before there is machine code.

Nearly all of the minutes that libtpu takes go into machine code (docs/LOG.md), most of XLA's for GPUs into PTX, and
neither has an option to end before. So they are asked to write down the program as it goes, and whoever waits leaves.
"""

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_PROGRAMS = ("after_optimizations_after_buffer_assignment.txt", "gpu_after_optimizations.txt")
"""The ends of the names of the program that libtpu, and JAX's CUDA plugin, write down when buffers are placed."""

_MEMORY = "after_optimizations-memory-usage-report.txt"
"""And of what its buffers take; a TPU's program comes after it, a GPU's less than a millisecond before it."""

_TOTAL = re.compile(r"Memory Space: default.*\nTotal bytes: (\d+)")

_POLL, _PATIENCE = 0.2, 5.0
"""Seconds between two looks, and those that a program has to end by itself, since leaving costs as much."""


@dataclass(frozen=True)
class Placed:
    """A program's text with its buffers placed, and the bytes of HBM that they take: arguments and results too."""

    text: str
    memory: float


def writing_down(folder: Path) -> dict[str, Any]:
    """Options of the compiler by which it writes down programs into ``folder``."""
    return {"xla_dump_to": str(folder), "xla_dump_hlo_as_text": True}


@contextmanager
def leaving_when_placed(folder: Path, leave: Callable[[Placed], None]) -> Iterator[None]:
    """Calls ``leave``, on another thread, where what is compiled into ``folder`` meanwhile goes on to machine code."""
    over = threading.Event()
    watch = threading.Thread(target=_watch, args=(folder, over, leave), daemon=True)
    watch.start()
    try:
        yield
    finally:
        over.set()
        watch.join()


def _watch(folder: Path, over: threading.Event, leave: Callable[[Placed], None]) -> None:
    while not over.wait(_POLL):
        if _programs(folder):
            if not over.wait(_PATIENCE):
                leave(read_placed(folder))
            return


def read_placed(folder: Path) -> Placed:
    """What the compiler wrote down there; of several programs the largest."""
    program = max(_programs(folder), key=lambda file: file.stat().st_size)
    return Placed(program.read_text(encoding="utf-8"), placed_memory(folder))


def _programs(folder: Path) -> list[Path]:
    return [file for end in _PROGRAMS for file in folder.glob(f"*{end}")]


def placed_memory(folder: Path) -> float:
    """Bytes of HBM that the buffers take of what was compiled into ``folder``; 0 where nothing tells.

    ``memory_analysis()`` of a TPU's program counts what lies between its temporaries, and so is free, as well.
    """
    found = (_TOTAL.search(file.read_text(encoding="utf-8")) for file in folder.glob(f"*{_MEMORY}"))
    return max((float(total[1]) for total in found if total), default=0.0)
