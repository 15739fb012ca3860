"""Whether a stage runs the very programs that it told before."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
from tiny_stages import Surroundings, work

from reasoning.core.mesh import Mesh
from reasoning.core.program import Program
from reasoning.stages.place import Place

TRACED = "/jax/core/compile/jaxpr_trace_duration"


def place_of(mesh: Mesh, notes: list[str] | None = None, **changes: Any) -> Place:
    """A place on a mesh of this machine."""
    heard = [] if notes is None else notes  # not "notes or []": an empty list is the one that is to hear
    return Place(**{"mesh": mesh, "kernels": "auto", "prompt": 8, "rows": 64, **changes}, note=heard.append)


def not_run(stage: Any, folder: Path, inputs: dict[str, Any]) -> list[str]:
    """The names of programs that were told and, when the stage has run, hadn't been traced with these very shapes."""
    surroundings = Surroundings()
    told: tuple[Program, ...] = stage.programs(place_of(surroundings.context().mesh))
    return not_traced(told, lambda: work(stage, folder, inputs, surroundings))


def not_traced(told: Sequence[Program], act: Callable[[], Any]) -> list[str]:
    """The names of programs that ``act`` doesn't trace with these very shapes."""
    jax.clear_caches()  # What other tests have left there would crowd out the very entries that are looked for.
    act()
    missing: list[str] = []
    for program in told:
        traced: list[str] = []

        def listen(event: str, seconds: float, into: list[str] = traced, **details: Any) -> None:
            into.extend([event] if event == TRACED else [])

        jax.monitoring.register_event_duration_secs_listener(listen)
        try:
            function: Any = program.function
            function.trace(*program.arguments)
        finally:
            jax.monitoring.unregister_event_duration_listener(listen)
        if traced or not function._cache_size():
            missing.append(program.name)
    return missing
