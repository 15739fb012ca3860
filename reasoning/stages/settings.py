"""Settings that learning stages share, each spelled once: records of fields, which the stages extend."""

from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil, isfinite

from reasoning.core.artifact import NOT_HASHED
from reasoning.core.errors import InputError
from reasoning.core.ranges import Count, Index, NonNegative, OptionalSize, Size
from reasoning.evaluation.exam import Exam
from reasoning.models.lora import LoRA
from reasoning.objectives.aggregation import token_mean
from reasoning.rewards.reward import Reward, reward_name
from reasoning.rollouts.sampling import Sampling
from reasoning.stages.stage import Stage
from reasoning.training.batches import Aggregation
from reasoning.training.guard import SpikeGuard
from reasoning.training.optimizers import Optimizer

_MOST_STEPS = 2**31 - 1
"""Steps are counted in 32 bits, on devices too."""


@dataclass(frozen=True, kw_only=True)
class KeepBest:
    """Leave the parameters of the step at which ``exam`` went best by the mean of ``score``, of equals the first.

    Without an exam those at which the loss of the rows that the stage holds out was lowest. The best of many measures
    is in part luck: its value is no estimate of how good the parameters are. Ask other problems than the evaluation
    does that the result is told by.
    """

    every: Count  # steps between two measures; the last step has one too
    exam: Exam | None = None  # None: ``eval_loss`` is what counts
    score: Reward | None = None  # one of the exam's scores

    def __post_init__(self) -> None:
        if self.exam is None:
            if self.score is not None:
                raise InputError(
                    f"score is {reward_name(self.score)}, and there is no exam that could give it; name the exam, or "
                    "drop score, and the loss of held-out rows is what counts"
                )
        elif self.score is None:
            names = ", ".join(map(reward_name, self.exam.scores))
            raise InputError(f"there is an exam, and no score of it to tell the best by; name as score one of {names}")
        elif self.score not in self.exam.scores:
            names = ", ".join(map(reward_name, self.exam.scores))
            raise InputError(f"score is {reward_name(self.score)}, which its exam doesn't give; name one of {names}")


@dataclass(frozen=True, kw_only=True)
class Learning:
    """What every stage that trains a model says of its loop."""

    name: str = ""
    optimizer: Optimizer
    steps: Index = 0  # give these …
    epochs: NonNegative = 0.0  # … or how often each row, or problem, is seen
    aggregate: Aggregation = token_mean  # how tokens weigh
    microbatches: Size = 1
    guard: SpikeGuard | None = None  # skips updates that are far out of line, too; None: only those that aren't finite
    skips_allowed: Index = field(default=10, metadata=NOT_HASHED)  # skipped updates in a row; one more stops the run
    best: KeepBest | None = None  # None: leave the last parameters
    probe: Exam | None = field(default=None, metadata=NOT_HASHED)  # held-out problems asked during training …
    probe_every: Index = field(default=0, metadata=NOT_HASHED)  # … every so many steps (0: never)


@dataclass(frozen=True, kw_only=True)
class OnRows(Learning):
    """Training on the packed rows of a data set."""

    data: Stage
    batch: Size  # rows a step
    held_out: OptionalSize = 0  # rows of data, drawn by chance, measured (``eval_loss``) and never learnt from …
    held_out_every: Index = field(default=0, metadata=NOT_HASHED)  # … every so many steps, and after the last


@dataclass(frozen=True, kw_only=True)
class FineTuning(Learning):
    """Training that goes on from what another stage left."""

    start: Stage
    lora: LoRA | None = None  # only adapters train; None: all parameters


@dataclass(frozen=True, kw_only=True)
class OnPolicy(FineTuning, Sampling):
    """Training on replies that the model samples itself, anew each step."""

    questions: Size = 32  # problems asked a step
    rollouts_every: Index = field(default=1, metadata=NOT_HASHED)  # steps whose completions are kept (0: none)
    # Tokens that rows which are learnt from are padded to (empty: powers of two from 16). Each is one more program to
    # compile; what is longer than the last is padded to the longest that there can be.
    padded_lengths: tuple[Size, ...] = ()


def check_best(stage: Learning, held_out: int) -> None:
    """Raises InputError where the best is told by the loss of held-out rows, and there are none."""
    if stage.best is not None and stage.best.exam is None and held_out == 0:
        raise InputError(
            f"stage {stage.name}: its best has no exam, so the loss of held-out rows would tell it, and no rows are "
            "held out; give best an exam and a score, or, where the stage learns from rows, set held_out"
        )


def steps_of(stage: Learning, items: int, batch: int) -> int:
    """How many steps of ``batch`` items, rows or problems, a stage with ``items`` of them takes.

    Raises InputError where not exactly one of ``steps`` and ``epochs`` is given, and for more steps than are counted.
    """
    if (stage.steps > 0) == (stage.epochs > 0):
        given = "both steps and epochs" if stage.steps else "neither steps nor epochs"
        raise InputError(f"stage {stage.name} has {given}; give one of them, {stage.name}.steps or {stage.name}.epochs")
    if stage.steps:
        given, steps = f"steps = {stage.steps}", stage.steps
    else:
        given = f"epochs = {stage.epochs}"
        # As written: 1.1 of 50 are 55. Infinity is no fraction.
        steps = ceil(Fraction(str(stage.epochs)) * items / batch) if isfinite(stage.epochs) else _MOST_STEPS + 1
    if steps > _MOST_STEPS:
        raise InputError(f"stage {stage.name}: {given} is too long; give at most {_MOST_STEPS:,} steps")
    return steps
