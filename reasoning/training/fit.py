"""The one training loop: a batch, a step, metrics, and a checkpoint when one is due."""

import math
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import jax

from reasoning.core.errors import InputError
from reasoning.core.prng import step_key
from reasoning.core.progress import Progress
from reasoning.core.stopwatch import Stopwatch
from reasoning.training.best import Best
from reasoning.training.checkpoints import Checkpointer
from reasoning.training.failed import FailedStep, keep_failed
from reasoning.training.metrics import MetricsLog
from reasoning.training.preemption import Interrupted
from reasoning.training.profiling import Profile
from reasoning.training.saves import Saves, saves_of
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
    beside the log. ``tokens_per_step`` only serves to show a speed. ``failed`` keeps the step that ends a run whose
    updates are skipped more than ``skips_allowed`` times in a row, with the key that ``key`` gives it. ``clock`` is the
    one by which sources, too, count their parts of a step; ``look`` sees each step's metrics and its seconds by part.
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
    failed: Checkpointer
    key: jax.Array
    look: Callable[[int, Mapping[str, float], Mapping[str, float]], None]
    clock: Stopwatch = field(default_factory=Stopwatch)
    profile: Profile = field(default_factory=Profile)


@dataclass(frozen=True)
class Spent:
    """What a stage has taken so far, over all processes: tokens that were sampled or carried loss, and operations."""

    tokens: int = 0
    flops: int = 0

    def plus(self, values: Mapping[str, float]) -> "Spent":
        """With the metrics of one more step."""
        return Spent(self.tokens + int(values["tokens"]), self.flops + int(values["flops"]))


class Fit(Protocol):
    """What trains: ``fit``, or what does a few of its steps again."""

    def __call__(
        self,
        initial: Callable[[], TrainState],
        abstract: TrainState,
        step: Step,
        frozen: Any,
        source: Source,
        loop: Loop,
        /,
    ) -> tuple[TrainState, Spent]: ...


def fit(
    initial: Callable[[], TrainState], abstract: TrainState, step: Step, frozen: Any, source: Source, loop: Loop
) -> tuple[TrainState, Spent]:
    """Trains for ``loop.steps`` steps, from the newest valid checkpoint if there is one.

    Gives the last state, and what all steps took, those before an interruption too. Raises Interrupted after saving
    when a signal asks to stop, and InputError when too many updates in a row were skipped.
    """
    done, state, spent = begin(initial, abstract, source, loop)
    # What was recorded after the checkpoint is computed again, so each step is in the record once.
    loop.log.resume(done, loop.checkpointer.path(done), loop.checkpointer.warn)
    with closing(loop.open_sink(done + 1)) as sink, saves_of(loop.checkpointer) as saves:
        return _train(state, spent, done, step, frozen, source, loop, sink, saves)


def begin(
    initial: Callable[[], TrainState], abstract: TrainState, source: Source, loop: Loop
) -> tuple[int, TrainState, Spent]:
    """How many steps are done, the state after them and what they took, from the newest valid checkpoint if any.

    The source then gives the batch of the next step.
    """
    restored = loop.checkpointer.restore(abstract)
    if restored is None:
        return 0, initial(), Spent()
    done, state, cursor = restored
    source.set_state(cursor["source"])
    if loop.best is not None:
        loop.best.set_state(cursor["best"])
    return done, state, Spent(**cursor.get("spent", {}))


def _train(
    state: TrainState,
    spent: Spent,
    begun: int,
    step: Step,
    frozen: Any,
    source: Source,
    loop: Loop,
    sink: Sink,
    saves: Saves,
) -> tuple[TrainState, Spent]:
    """The steps after ``begun``."""
    done, clock = begun, loop.clock
    loop.stop(done)  # From here on a signal waits for the end of a step, the first one's too.
    while done < loop.steps:
        started = time.monotonic()
        clock.lap()
        saves.look()
        with loop.profile.of_stage(loop.name, done + 1, loop.steps):
            state, values, refused = advance(state, step, frozen, source, loop, done)
        done, spent = done + 1, spent.plus(values)
        with clock.part("probe"):
            values |= _measured(loop, done, state)
        loop.log.record(done, values)
        if refused is not None:
            _tell_times(loop, done, values, time.monotonic() - started, sink)
            saves.finish()
            _give_up(loop, done, values, state, refused)
        shown = {name: values[name] for name in loop.shown if name in values}
        loop.report(Progress(loop.name, done, loop.steps, shown, loop.tokens_per_step * (done - begun)))
        signal = loop.stop(done)
        if done % loop.checkpoint_every == 0 or done == loop.steps or signal is not None:
            with clock.part("checkpoint"):
                _save(loop, done, state, source, spent, saves)
                if signal is not None or done == loop.steps:
                    saves.finish()
        _tell_times(loop, done, values, time.monotonic() - started, sink)
        if signal is not None and done < loop.steps:
            raise Interrupted(signal)
    return state, spent


def _save(loop: Loop, done: int, state: TrainState, source: Source, spent: Spent, saves: Saves) -> None:
    """Begins a checkpoint, which is written while the next steps are done."""
    # What a source or ``best`` keeps for the checkpoints before goes as soon as it is asked where it stands.
    saves.finish()
    # The record first: a checkpoint that is newer than it would leave steps unrecorded for ever.
    loop.log.flush()
    beside = {} if loop.best is None else {"best": loop.best.get_state()}
    cursor = {"source": source.get_state(), "spent": asdict(spent), **beside}
    saves.begin(done, state, cursor, loop.log.copies())


def _measured(loop: Loop, done: int, state: TrainState) -> dict[str, float]:
    """What is due to be measured of the state after a step."""
    values: dict[str, float] = {}
    for probe in loop.probes:
        if _due(probe.every, done, loop.steps):
            values |= probe.measure(state, done)
    if loop.best is not None and _due(loop.best.every, done, loop.steps):
        values |= loop.best.look(done, state)
    return values


def _tell_times(loop: Loop, done: int, values: Mapping[str, float], seconds: float, sink: Sink) -> None:
    """Writes down where a step's seconds went; no file that runs are compared by gets any of it."""
    parts = loop.clock.lap()
    loop.log.timing(done, {"seconds": seconds, "steps": loop.steps, **parts})
    sink.record(done, {**values, "time/step": seconds, **{f"time/{name}": part for name, part in parts.items()}})
    loop.look(done, values, {"seconds": seconds, **parts})


def _due(every: int, done: int, steps: int) -> bool:
    return done == steps or (every > 0 and done % every == 0)


def advance(
    state: TrainState, step: Step, frozen: Any, source: Source, loop: Loop, done: int
) -> tuple[TrainState, dict[str, float], Any]:
    """One batch and one step; waits for the step, since several in flight can deadlock on virtual CPU devices.

    Gives the next state, the step's metrics, and the batch where it is the last of too many whose update was skipped:
    else nothing keeps it alive. A mean over nothing is left out: an entropy or KL of 0 where no token counted would
    tell of a collapse.
    """
    with loop.clock.part("data"):
        batch, values = source(state, done)
    with loop.clock.part("update"):
        operations = int(values.get("flops", 0)) + loop.flops(batch)
        state, sums = step(state, frozen, batch)
        means = means_of(sums)
    refused = batch if not means["skipped"] <= loop.skips_allowed else None
    return state, {**values, **means, "flops": operations}, refused


def means_of(sums: Mapping[str, Any]) -> dict[str, float]:
    """A step's metrics as numbers, without those of which nothing counted."""
    return {name: float(total) / float(count) for name, (total, count) in jax.device_get(sums).items() if count}


def _give_up(loop: Loop, done: int, values: Mapping[str, float], state: TrainState, batch: Any) -> None:
    """Stops a run whose updates are skipped again and again, instead of burning hours on it, and keeps the last step.

    Raises InputError always.
    """
    key = tuple(int(word) for word in jax.device_get(jax.random.key_data(step_key(loop.key, done - 1))).reshape(-1))
    loop.log.flush()
    try:
        where = keep_failed(loop.failed, FailedStep(done, key, values, state, batch))
        kept = f"the step is kept in {where}, and 'reasoning replay {where}' does it again, here or elsewhere"
    except InputError as error:
        kept = f"the step could not be kept ({error})"
    finite = math.isfinite(values["loss"]) and math.isfinite(values["grad_norm"])
    raise InputError(
        f"stage {loop.name}: the last {int(values['skipped'])} updates up to step {done} were "
        f"{'far out of line with those before' if finite else 'not finite'} "
        f"(loss {values['loss']}, gradient norm {values['grad_norm']}) and were skipped; lower the learning rate or "
        f"look at the data; checkpoints up to step {loop.checkpointer.latest_step() or 0} are intact; {kept}"
    )
