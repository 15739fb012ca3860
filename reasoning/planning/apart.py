"""Programs compiled in processes of their own, which are left once buffers are placed; imports are made only once."""

import multiprocessing
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import jax

from reasoning.core.errors import InputError
from reasoning.core.parent import end_with_parent
from reasoning.core.program import Program
from reasoning.pipeline.run import Run
from reasoning.planning.built import Built, build, write_built
from reasoning.planning.compiling import Compiler
from reasoning.planning.handed import Source, hand, take
from reasoning.planning.plan import Assumed, Planner, Told
from reasoning.planning.topology import topology_devices


def apart(work: Callable[..., None], *given: Any) -> str:
    """Does ``work`` in another process and says how that failed, or nothing; it may end by ``os._exit(0)`` as well.

    Not in a fork of this one, in which the compiler's threads would be missing. All processes come from one that has
    this module's imports and no threads. They end when this one does. An InputError there is told by its message.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    hear, tell = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(tell, work, given), daemon=True)
    process.start()
    tell.close()
    try:
        process.join()
    except BaseException:
        process.kill()
        raise
    with hear, suppress(EOFError):
        return hear.recv()
    code = process.exitcode or 0
    if code < 0:
        return f"killed by {signal.Signals(-code).name}{' (out of memory?)' if code == -signal.SIGKILL else ''}"
    return f"ended with status {code}" if code else ""


def _work(tell: Connection, work: Callable[..., None], given: tuple[Any, ...]) -> None:
    end_with_parent()
    jax.config.update("jax_platforms", "cpu")
    try:
        work(*given)
    except InputError as error:
        tell.send(str(error))


def place(source: Source, own: Run, topology: str, assumed: Assumed, told: Told, file: Path) -> str:
    """Has a program that was told compiled until its buffers are placed, at least, into ``file``; how that failed.

    ``own`` is the run of the experiment of which ``source`` tells where it was read.
    """
    return apart(_place, source, hand(own, told.run), topology, assumed, told.stage, told.number, file)


def _place(source: Source, run: bytes, topology: str, assumed: Assumed, stage: str, number: int, file: Path) -> None:
    compiler = Compiler(topology, file.parent, lambda name: None)
    planner = Planner(topology, topology_devices(topology), compiler, assumed, lambda progress: None)
    taken = take(source, run)
    place_here(list(planner.told(taken, planner.place(taken, lambda note: None), stage))[number].program, file)


def place_here(program: Program, file: Path) -> None:
    """Compiles a program into ``file``, and ends this process once that is written, with its buffers placed at least.

    The text of a program depends a little on what was traced before it, so whoever asked says where it is looked for.
    """
    function: Any = program.function

    def leave(built: Built) -> None:
        write_built(file, built)
        os._exit(0)

    leave(build(function.lower(*program.arguments), leave))
