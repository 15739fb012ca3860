"""The one training loop: a batch, a step, metrics, and a checkpoint when one is due."""

import math
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import jax

from reasoning.core.errors import InputError
from reasoning.core.progress import Progress
from reasoning.training.best import Best
from reasoning.training.checkpoints import Checkpointer
from reasoning.training.metrics import MetricsLog
from reasoning.training.preemption import Interrupted
from reasoning.training.sinks import Open, Sink
from reasoning.training.state import TrainState

Step = Callable[[TrainState, Any, Any], tuple[TrainState, dict[str, Any]]]


class Source(Protocol):
    """Where batches come from: a data pipeline, or rollouts of the policy itself.

    A call gives the batch for a state and metrics of its own, among them ``tokens``: how many were sampled, or carry
    loss; ``flops``, if given, are the operations that making the batch took. ``get_state`` is json-able and, set again,
    makes the source go on with the very next batch.
    """

    def __call__(self, state: TrainState, step: int) -> tuple[Any, Mapping[str, float]]: ...

    def get_state(self) -> dict[str, Any]: ...

    def set_state(self, cursor: dict[str, Any]) -> None: ...


@dataclass(frozen=True)
class Probe:
    """Held-out metrics of the state after ``every`` so many steps and after the last (0: only then)."""

    every: int
    measure: Callable[[TrainState, int], Mapping[str, float]]


@dataclass(frozen=True)
class Loop:
    """How long ``fit`` runs, what it reports to, and when it saves, probes and gives up.

    ``best`` looks at the state when it is due, too, and goes into checkpoints (None: the last state is what counts).
    ``flops(batch)`` are the operations that a step on this batch takes. ``open_sink`` opens whatever the metrics go to
    beside the log. ``tokens_per_step`` only serves to show a speed.
    """

    name: str
    steps: int
    checkpointer: Checkpointer
    checkpoint_every: int
    log: MetricsLog
    open_sink: Open
    report: Callable[[Progress], None]
    stop: Callable[[int], int | None]
    skips_allowed: int
    probes: tuple[Probe, ...]
    best: Best | None
    shown: tuple[str, ...]
    tokens_per_step: int
    flops: Callable[[Any], int]


@dataclass(frozen=True)
class Spent:
    """What a stage has taken so far, over all processes: tokens that were sampled or carried loss, and operations."""

    tokens: int = 0
    flops: int = 0

    def plus(self, values: Mapping[str, float]) -> "Spent":
        """With the metrics of one more step."""
        return Spent(self.tokens + int(values["tokens"]), self.flops + int(values["flops"]))


def fit(
    initial: Callable[[], TrainState], abstract: TrainState, step: Step, frozen: Any, source: Source, loop: Loop
) -> tuple[TrainState, Spent]:
    """Trains for ``loop.steps`` steps, from the newest valid checkpoint if there is one.

    Gives the last state, and what all steps took, those before an interruption too. Raises Interrupted after saving
    when a signal asks to stop, and InputError when too many updates in a row weren't finite.
    """
    restored = loop.checkpointer.restore(abstract)
    if restored is None:
        done, state, spent = 0, initial(), Spent()
    else:
        done, state, cursor = restored
        source.set_state(cursor["source"])
        spent = Spent(**cursor.get("spent", {}))
        if loop.best is not None:
            loop.best.set_state(cursor["best"])
    # What was recorded after the checkpoint is computed again, so each step is in the record once.
    loop.log.resume(done, loop.checkpointer.path(done), loop.checkpointer.warn)
    with closing(loop.open_sink(done + 1)) as sink:
        return _train(state, spent, done, step, frozen, source, loop, sink)


def _train(
    state: TrainState, spent: Spent, begun: int, step: Step, frozen: Any, source: Source, loop: Loop, sink: Sink
) -> tuple[TrainState, Spent]:
    """The steps after ``begun``."""
    done = begun
    loop.stop(done)  # From here on a signal waits for the end of a step, the first one's too.
    while done < loop.steps:
        started = time.monotonic()
        state, values = _advance(state, step, frozen, source, loop, done)
        done, spent = done + 1, spent.plus(values)
        for probe in loop.probes:
            if _due(probe.every, done, loop.steps):
                values |= probe.measure(state, done)
        if loop.best is not None and _due(loop.best.every, done, loop.steps):
            values |= loop.best.look(done, state)
        loop.log.record(done, values)
        sink.record(done, values)
        loop.log.timing(done, {"seconds": time.monotonic() - started})
        shown = {name: values[name] for name in loop.shown if name in values}
        loop.report(Progress(loop.name, done, loop.steps, shown, loop.tokens_per_step * (done - begun)))
        _check_skips(loop, done, values)
        signal = loop.stop(done)
        if done % loop.checkpoint_every == 0 or done == loop.steps or signal is not None:
            # The record first: a checkpoint that is newer than it would leave steps unrecorded for ever.
            loop.log.flush()
            beside = {} if loop.best is None else {"best": loop.best.get_state()}
            cursor = {"source": source.get_state(), "spent": asdict(spent), **beside}
            loop.checkpointer.save(done, state, cursor, loop.log.copies())
        if signal is not None and done < loop.steps:
            raise Interrupted(signal)
    return state, spent


def _due(every: int, done: int, steps: int) -> bool:
    return done == steps or (every > 0 and done % every == 0)


def _advance(
    state: TrainState, step: Step, frozen: Any, source: Source, loop: Loop, done: int
) -> tuple[TrainState, dict[str, float]]:
    """One batch and one step; waits for the step, since several in flight can deadlock on virtual CPU devices.

    A mean over nothing is left out: an entropy or KL of 0 where no token counted would tell of a collapse.
    """
    batch, values = source(state, done)
    operations = int(values.get("flops", 0)) + loop.flops(batch)
    state, sums = step(state, frozen, batch)
    means = {name: float(total) / float(count) for name, (total, count) in jax.device_get(sums).items() if count}
    return state, {**values, **means, "flops": operations}


def _check_skips(loop: Loop, done: int, values: Mapping[str, float]) -> None:
    """Stops a run whose updates are no longer finite, instead of burning hours on it."""
    if values["skipped"] > loop.skips_allowed or math.isnan(values["skipped"]):
        raise InputError(
            f"stage {loop.name}: the last {int(values['skipped'])} updates up to step {done} were not finite (loss "
            f"{values['loss']}, gradient norm {values['grad_norm']}) and were skipped; lower the learning rate or "
            f"look at the data; checkpoints up to step {loop.checkpointer.latest_step() or 0} are intact"
        )
