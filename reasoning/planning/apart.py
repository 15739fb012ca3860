"""Programs compiled in processes of their own, which are left once buffers are placed; imports are made only once."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

from reasoning.core.program import Program
from reasoning.pipeline.run import Run
from reasoning.planning.built import Built, build, write_built
from reasoning.planning.compiling import Compiler
from reasoning.planning.plan import Assumed, Planner, Told
from reasoning.planning.topology import topology_devices


def apart(work: Callable[..., None], *given: Any) -> str:
    """Does ``work`` in another process and says how that failed, or nothing; it may end by ``os._exit(0)`` as well.

    Not in a fork of this one, in which the compiler's threads would be missing. All processes come from one that has
    this module's imports and no threads. They end when this one does.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    process = context.Process(target=_work, args=(work, given), daemon=True)
    process.start()
    try:
        process.join()
    except BaseException:
        process.kill()
        raise
    code = process.exitcode or 0
    if code < 0:
        return f"killed by {signal.Signals(-code).name}{' (out of memory?)' if code == -signal.SIGKILL else ''}"
    return f"ended with status {code}" if code else ""


def _work(work: Callable[..., None], given: tuple[Any, ...]) -> None:
    threading.Thread(target=_follow, daemon=True).start()
    jax.config.update("jax_platforms", "cpu")
    work(*given)


def _follow() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def place(topology: str, assumed: Assumed, told: Told, file: Path) -> str:
    """Has a program that was told compiled until its buffers are placed, at least, into ``file``; how that failed."""
    return apart(_place, topology, assumed, told.run, told.stage, told.number, file)


def _place(topology: str, assumed: Assumed, run: Run, stage: str, number: int, file: Path) -> None:
    compiler = Compiler(topology, file.parent, lambda name: None)
    planner = Planner(topology, topology_devices(topology), compiler, assumed, lambda progress: None)
    place_here(list(planner.told(run, planner.place(run, lambda note: None), stage))[number].program, file)


def place_here(program: Program, file: Path) -> None:
    """Compiles a program into ``file``, and ends this process once that is written, with its buffers placed at least.

    The text of a program depends a little on what was traced before it, so whoever asked says where it is looked for.
    """
    function: Any = program.function

    def leave(built: Built) -> None:
        write_built(file, built)
        os._exit(0)

    leave(build(function.lower(*program.arguments), leave))
