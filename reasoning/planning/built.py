"""A program compiled for a topology, to its end or until its buffers are placed, and kept: its text tells all else."""

import gzip
import json
import re
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jax

from reasoning.core.files import write_atomic
from reasoning.planning.placed import Placed, leaving_when_placed, placed_memory, writing_down
from reasoning.planning.programs import no_compilation_cache

_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_USED = re.compile(r"(?:Used |\()([\d.]+)([KMGT]?)\)? (?:of|exceeds available)")


@dataclass(frozen=True)
class Built:
    """A program's text, the most bytes of HBM that it holds of a device at once, and the seconds that this took.

    ``refusal`` is the compiler's reason where it made none, and then there is no text, and ``memory`` is what it would
    have taken, 0 where that isn't said.
    """

    text: str
    memory: float
    seconds: float
    refusal: str = ""
    machine_code: bool = True


def build(lowered: jax.stages.Lowered, leave: Callable[[Built], None] | None) -> Built:
    """Compiles a program; ``leave`` is called, on another thread, when buffers are placed and it isn't ready soon."""
    begun, folder = time.monotonic(), Path(tempfile.mkdtemp())

    def left(placed: Placed, leave: Callable[[Built], None]) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        leave(Built(placed.text, placed.memory, time.monotonic() - begun, machine_code=False))

    try:
        with nullcontext() if leave is None else leaving_when_placed(folder, lambda placed: left(placed, leave)):
            return _built(lowered, folder, begun)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _built(lowered: jax.stages.Lowered, folder: Path, begun: float) -> Built:
    try:
        with no_compilation_cache():
            compiled = lowered.compile(writing_down(folder))
    except jax.errors.JaxRuntimeError as error:
        message = str(error)
        memory = placed_memory(folder) or memory_wanted(message)
        return Built("", memory, time.monotonic() - begun, " ".join(message.split())[:300])
    memory = placed_memory(folder) or peak_memory(compiled)
    return Built(compiled.as_text() or "", memory, time.monotonic() - begun)


def peak_memory(compiled: jax.stages.Compiled) -> float:
    """The most that a compiled program holds of one device: arguments, results that don't replace them, temporaries.

    On TPUs that is too much by what is free between temporaries (``placed.placed_memory``).
    """
    memory: Any = compiled.memory_analysis()
    kept = memory.output_size_in_bytes - memory.alias_size_in_bytes
    return float(memory.argument_size_in_bytes + max(kept, 0) + memory.temp_size_in_bytes)


def memory_wanted(message: str) -> float:
    """How much a program that doesn't fit would take, by the compiler's message; 0 where it doesn't say.

    What it calls temporaries there are all buffers, arguments too.
    """
    used = _USED.search(message)
    return float(used[1]) * _UNITS[used[2]] if used else 0.0


def write_built(file: Path, built: Built) -> None:
    """Keeps what was built."""
    write_atomic(file, gzip.compress(json.dumps(asdict(built)).encode(), 6))


def read_built(file: Path) -> Built | None:
    """What was kept there; None where there is nothing, or nothing that can be read."""
    try:
        return Built(**json.loads(gzip.decompress(file.read_bytes())))
    except (OSError, EOFError, ValueError, TypeError):
        return None
