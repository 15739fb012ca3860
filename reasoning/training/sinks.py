"""Other places that metrics may go to beside ``metrics.jsonl``, which stays the truth: TensorBoard, Weights & Biases.

A sink never changes a result and never ends a run: what it can't deliver it drops, with one warning.
"""

import importlib.util
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from reasoning.core.errors import InputError

SinkName = Literal["tensorboard", "wandb"]

_PACKAGES: Mapping[str, str] = {"tensorboard": "tensorboardX", "wandb": "wandb"}
"""The package that each sink needs; the extra that installs it has the sink's name."""

_PROJECT = "reasoning"
"""The project on Weights & Biases where ``WANDB_PROJECT`` names none."""

_ID_DIGITS = 16

_LOGIN_SECONDS = 60
"""How long Weights & Biases may ask on a terminal for a key that it lacks; then the run goes on without it."""


class Sink(Protocol):
    """A place that takes the metrics of one stage, step by step."""

    def record(self, step: int, values: Mapping[str, Any]) -> None:
        """Takes what a step computed: numbers, or arrays that hold one."""
        ...

    def close(self) -> None:
        """Delivers what is still on its way."""
        ...


Open = Callable[[int], Sink]
"""Opens a sink whose first record will be that of this step; what it holds of later steps is out of date."""


@dataclass(frozen=True)
class Labels:
    """What a stage's metrics are filed under: the run's folder, the stage's name and its artifact's hash."""

    out: Path
    stage: str
    hash: str


def _finite(values: Mapping[str, Any]) -> dict[str, float]:
    """The metrics that a chart can show, as plain numbers; NaN and infinities are left out."""
    numbers = {name: float(value) for name, value in values.items()}
    return {name: value for name, value in numbers.items() if math.isfinite(value)}


@dataclass(frozen=True)
class _TensorBoard:
    """Scalars in ``OUT/tensorboard/<stage>``."""

    writer: Any

    def record(self, step: int, values: Mapping[str, Any]) -> None:
        """Adds one scalar a metric."""
        for name, value in _finite(values).items():
            self.writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Brings the file to disk."""
        self.writer.close()


@dataclass(frozen=True)
class _Wandb:
    """One run of Weights & Biases for each stage, grouped by the run's folder."""

    run: Any

    def record(self, step: int, values: Mapping[str, Any]) -> None:
        """Logs all metrics of a step at once."""
        self.run.log(_finite(values), step=step)

    def close(self) -> None:
        """Ends the upload; the same hash goes on with the same run later."""
        self.run.finish()


@dataclass
class Guarded:
    """A sink that warns once where it fails, and is left alone from there on: a run is worth more than its charts."""

    name: str
    warn: Callable[[str], None]
    sink: Sink | None = field(default=None)

    def attempt(self, act: Callable[[], None]) -> None:
        """Does something that may fail for reasons which aren't the run's, such as a network that is down."""
        try:
            act()
        except Exception as error:
            self.sink = None
            self.warn(
                f"{self.name} gets no more metrics of this stage ({type(error).__name__}: {error}); "
                "metrics.jsonl has them all"
            )

    def open(self, make: Callable[[], Sink]) -> None:
        """Opens the sink itself."""

        def act() -> None:
            self.sink = make()

        self.attempt(act)

    def record(self, step: int, values: Mapping[str, Any]) -> None:
        """Passes a step's metrics on."""
        sink = self.sink
        if sink is not None:
            self.attempt(lambda: sink.record(step, values))

    def close(self) -> None:
        """Closes the sink; nothing is passed on any more."""
        sink, self.sink = self.sink, None
        if sink is not None:
            self.attempt(sink.close)


@dataclass(frozen=True)
class Several:
    """All sinks of a stage as one; none at all is a sink too."""

    sinks: tuple[Sink, ...] = ()

    def record(self, step: int, values: Mapping[str, Any]) -> None:
        """Passes a step's metrics on to each."""
        for sink in self.sinks:
            sink.record(step, values)

    def close(self) -> None:
        """Closes each."""
        for sink in self.sinks:
            sink.close()


def check_installed(names: Sequence[SinkName]) -> None:
    """Raises InputError for a sink whose package is missing: before any stage begins, and with what installs it."""
    for name in names:
        if importlib.util.find_spec(_PACKAGES[name]) is None:
            raise InputError(
                f"run.log_to names {name!r}, but the package {_PACKAGES[name]} isn't installed; "
                f"pip install 'reasoning-jax[{name}]', or take {name!r} out of run.log_to"
            )


def open_sinks(names: Sequence[SinkName], labels: Labels, warn: Callable[[str], None], first: int) -> Sink:
    """The sinks of one stage as one, for records from step ``first`` on; never fails, but warns."""
    makers: Mapping[str, Callable[[], Sink]] = {
        "tensorboard": lambda: _tensorboard(labels, first),
        "wandb": lambda: _wandb(labels),
    }
    opened = tuple(Guarded(name, warn) for name in names)
    for sink in opened:
        sink.open(makers[sink.name])
    return Several(opened)


def _tensorboard(labels: Labels, first: int) -> Sink:
    """``purge_step`` makes TensorBoard forget what an interrupted run had written after its last checkpoint."""
    from tensorboardX import SummaryWriter

    folder = labels.out / "tensorboard" / labels.stage
    return _TensorBoard(SummaryWriter(str(folder), purge_step=first if first > 1 else None))


def _wandb(labels: Labels) -> Sink:
    """The mode, the project and the account are the environment's (``WANDB_MODE``, ``WANDB_PROJECT``, …).

    A resumed stage computes steps again that were logged before the interruption; the service keeps the first of two
    equal ones. The service's own capture of the console is off: it would tear progress bars apart.
    """
    import wandb

    name = labels.out.resolve().name
    run = wandb.init(
        project=os.environ.get("WANDB_PROJECT", _PROJECT),
        group=name,
        name=f"{name}/{labels.stage}",
        id=labels.hash[:_ID_DIGITS],
        resume="allow",
        dir=str(labels.out),
        config={"stage": labels.stage, "hash": labels.hash},
        settings=wandb.Settings(console="off", quiet=True, login_timeout=_LOGIN_SECONDS),
    )
    return _Wandb(run)
