"""The one shape of a stage, and what it gets from whoever runs it."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, TypeGuard, get_args, runtime_checkable

from jax.sharding import Mesh

from reasoning.core.artifact import Outcome
from reasoning.core.errors import InputError
from reasoning.core.progress import Progress
from reasoning.core.stopwatch import Stopwatch
from reasoning.data.packing import PackedRow
from reasoning.data.tokenizers.tokenizer import Tokenizer
from reasoning.kernels.backends import Choice
from reasoning.training.diagnosis import Limits
from reasoning.training.fit import Fit, fit
from reasoning.training.profiling import Profile
from reasoning.training.sinks import Several, Sink


def _no_sinks(stage: str, first: int) -> Sink:
    """Opens nothing."""
    return Several()


@dataclass(frozen=True)
class Context:
    """The surroundings of a run, the same for all of its stages; seed, mesh and kernels are all that changes results.

    ``stop(step)`` is asked after each step and gives the number of the signal that asks to stop, or None: a stage that
    asks saves and leaves in its own time. Before it asks, and within ``at_once()``, a signal ends it where it stands
    (``Preemption.at_once``), as a kill would, but with its ``finally`` blocks. The checkpoint settings say how often a
    stage saves, how many of the newest it keeps, and which are kept for good.
    ``open_sink(stage, first)`` opens whatever takes a stage's metrics from step ``first`` on, beside its own log.
    ``train`` is the loop; a replay brings another. Stages count the parts of their steps by ``clock``,
    and warn where ``limits`` are passed.
    """

    mesh: Mesh
    seed: int
    report: Callable[[Progress], None]
    warn: Callable[[str], None]
    stop: Callable[[int], int | None]
    checkpoint_every: int
    keep: int
    keep_every: int
    open_sink: Callable[[str, int], Sink] = _no_sinks
    kernels: Choice = "auto"
    at_once: Callable[[], AbstractContextManager[None]] = nullcontext
    train: Fit = fit
    limits: Limits = Limits()
    clock: Stopwatch = field(default_factory=Stopwatch)
    profile: Profile = field(default_factory=Profile)


LearnsFrom = Literal["text", "examples", "teacher", "rewards", "nothing"]
"""What a stage's model learns from; reports describe stages by it, whatever their class is called."""


@runtime_checkable
class Stage(Protocol):
    """The one shape of a stage: a frozen dataclass of settings with a name and ``run``.

    Fields whose value is another stage, or a tuple of stages, are its parents. One that trains a model says what it
    ``learns_from``: ``learns_from: ClassVar[LearnsFrom] = "rewards"``.
    """

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def name(self) -> str:
        """The part's name in the experiment file; unique in a run, and what its randomness is derived from."""
        ...

    def run(self, inputs: Mapping[str, Any], out: Path, context: Context) -> Outcome:
        """Does the work into ``out`` and says what came of it.

        ``inputs`` gives the parents' artifacts under the names of their fields: an ``Artifact``, or a tuple of them.
        ``out`` is a folder that survives restarts: a stage that finds its own unfinished work there goes on from it.
        """
        ...


@runtime_checkable
class TokenizerAtHand(Protocol):
    """A stage whose tokenizer can be told before it has run."""

    def tokenizer_at_hand(self) -> Tokenizer:
        """The tokenizer that its artifact will hold. Raises InputError where it depends on what hasn't run yet."""
        ...


@runtime_checkable
class Peeking(Protocol):
    """A stage that packs rows, and can show the first of them before it has run."""

    def peek(self, count: int) -> tuple[Tokenizer, list[PackedRow]]:
        """The first rows, and the tokenizer that reads them; nothing is written. Raises InputError as ``run`` would."""
        ...


def holder_of_tokenizer(stage: Stage) -> TokenizerAtHand | None:
    """The stage whose tokenizer ``stage`` hands on, by its start or else its data; None where that can't be told."""
    found: Any = stage
    while found is not None and not isinstance(found, TokenizerAtHand):
        found = getattr(found, "start", None) or getattr(found, "data", None)
    return found


def is_stage(value: Any) -> TypeGuard[Stage]:
    """Whether a value is a stage; a stage's class, which has the same attributes, is none."""
    return isinstance(value, Stage) and not isinstance(value, type)


def learns_from(stage: Stage) -> LearnsFrom:
    """What a stage says that it learns from, ``nothing`` where it says nothing. Raises InputError for another word."""
    word: Any = getattr(stage, "learns_from", "nothing")
    if word not in get_args(LearnsFrom):
        raise InputError(
            f"stage {stage.name}: {type(stage).__name__}.learns_from is {word!r}; it must be one of "
            f"{', '.join(get_args(LearnsFrom))}"
        )
    return word
