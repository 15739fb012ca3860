"""The one training loop: a batch, a step, metrics, and a checkpoint when one is due."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import jax

from reasoning.core.errors import InputError
from reasoning.core.progress import Progress
from reasoning.training.checkpoints import Checkpointer
from reasoning.training.metrics import MetricsLog
from reasoning.training.preemption import Interrupted
from reasoning.training.state import TrainState

Step = Callable[[TrainState, Any, Any], tuple[TrainState, dict[str, Any]]]


class Source(Protocol):
    """Where batches come from: a data pipeline, or rollouts of the policy itself.

    A call gives the batch for a state and metrics of its own. ``get_state`` is json-able and, set again, makes the
    source go on with the very next batch.
    """

    def __call__(self, state: TrainState, step: int) -> tuple[Any, Mapping[str, float]]: ...

    def get_state(self) -> dict[str, Any]: ...

    def set_state(self, cursor: dict[str, Any]) -> None: ...


@dataclass(frozen=True)
class Loop:
    """How long ``fit`` runs, what it reports to, and when it saves, probes and gives up.

    ``probe(state)`` gives held-out metrics every ``probe_every`` steps and after the last (0: never).
    ``tokens_per_step`` only serves to show a speed.
    """

    name: str
    steps: int
    checkpointer: Checkpointer
    checkpoint_every: int
    log: MetricsLog
    report: Callable[[Progress], None]
    stop: Callable[[int], int | None]
    skips_allowed: int
    probe: Callable[[TrainState], Mapping[str, float]]
    probe_every: int
    shown: tuple[str, ...]
    tokens_per_step: int


def fit(initial: Callable[[], TrainState], abstract: TrainState, step: Step, frozen: Any, source: Source, loop: Loop):
    """Trains for ``loop.steps`` steps, from the newest valid checkpoint if there is one, and gives the last state.

    Raises Interrupted after saving when a signal asks to stop, and InputError when too many updates in a row weren't
    finite.
    """
    restored = loop.checkpointer.restore(abstract)
    if restored is None:
        done, state = 0, initial()
    else:
        done, state, cursor = restored
        source.set_state(cursor["source"])
    loop.log.truncate(done)
    begun = done
    while done < loop.steps:
        started = time.monotonic()
        state, values = advance(state, step, frozen, source, done)
        done += 1
        if loop.probe_every and (done % loop.probe_every == 0 or done == loop.steps):
            values |= loop.probe(state)
        loop.log.record(done, values)
        loop.log.timing(done, {"seconds": time.monotonic() - started})
        shown = {name: values[name] for name in loop.shown if name in values}
        loop.report(Progress(loop.name, done, loop.steps, shown, loop.tokens_per_step * (done - begun)))
        check_skips(loop, done, values)
        signal = loop.stop(done)
        if done % loop.checkpoint_every == 0 or done == loop.steps or signal is not None:
            loop.log.flush()
            loop.checkpointer.save(done, state, {"source": source.get_state()})
        if signal is not None and done < loop.steps:
            raise Interrupted(signal)
    return state


def advance(
    state: TrainState, step: Step, frozen: Any, source: Source, done: int
) -> tuple[TrainState, dict[str, float]]:
    """One batch and one step; waits for the step, since several in flight can deadlock on virtual CPU devices.

    A mean over nothing is left out: an entropy or KL of 0 where no token counted would tell of a collapse.
    """
    batch, values = source(state, done)
    state, sums = step(state, frozen, batch)
    means = {name: float(total) / float(count) for name, (total, count) in jax.device_get(sums).items() if count}
    return state, {**values, **means}


def check_skips(loop: Loop, done: int, values: Mapping[str, float]) -> None:
    """Stops a run whose updates are no longer finite, instead of burning hours on it."""
    if values["skipped"] >= loop.skips_allowed or math.isnan(values["skipped"]):
        raise InputError(
            f"stage {loop.name}: the last {int(values['skipped'])} updates up to step {done} were not finite (loss "
            f"{values['loss']}, gradient norm {values['grad_norm']}) and were skipped; lower the learning rate or "
            f"look at the data; checkpoints up to step {loop.checkpointer.latest_step() or 0} are intact"
        )
