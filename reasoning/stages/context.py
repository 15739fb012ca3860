"""What a stage gets from whoever runs it: devices, seed, and where progress and warnings go."""

from collections.abc import Callable
from dataclasses import dataclass

from jax.sharding import Mesh

from reasoning.core.progress import Progress
from reasoning.kernels.backends import Choice
from reasoning.training.sinks import Several, Sink


def no_sinks(stage: str, first: int) -> Sink:
    """Opens nothing."""
    return Several()


@dataclass(frozen=True)
class Context:
    """The surroundings of a run, the same for all of its stages; seed, mesh and kernels are all that changes results.

    ``stop(step)`` is asked after each step and gives the number of the signal that asks to stop, or None. The
    checkpoint settings say how often a stage saves, how many of the newest it keeps, and which are kept for good.
    ``open_sink(stage, first)`` opens whatever takes a stage's metrics from step ``first`` on, beside its own log.
    """

    mesh: Mesh
    seed: int
    report: Callable[[Progress], None]
    warn: Callable[[str], None]
    stop: Callable[[int], int | None]
    checkpoint_every: int
    keep: int
    keep_every: int
    open_sink: Callable[[str, int], Sink] = no_sinks
    kernels: Choice = "auto"
