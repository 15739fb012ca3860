"""Supervised fine-tuning: a trained model learns the replies of packed conversations."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from jax.sharding import Mesh

from reasoning.core.artifact import NOT_HASHED, Artifact, Outcome, Stage
from reasoning.core.ranges import Count, Index
from reasoning.models.lora import LoRA
from reasoning.objectives.aggregation import token_mean
from reasoning.stages.context import Context
from reasoning.stages.exam import Exam
from reasoning.stages.learning import check_rows
from reasoning.stages.saved import check_data, tokenizer_of
from reasoning.stages.supervised import train_on_rows
from reasoning.stages.trainee import planned, trainee_of
from reasoning.training.batches import Aggregation
from reasoning.training.losses import supervised
from reasoning.training.optimizers import AdamW


@dataclass(frozen=True, kw_only=True)
class SFT:
    """Trains ``start`` on the packed rows of ``data``; only the replies carry loss."""

    name: str = ""
    start: Stage
    data: Stage
    optimizer: AdamW
    steps: Count
    batch: Count  # rows a step
    aggregate: Aggregation = token_mean
    lora: LoRA | None = None  # only adapters train; None: all parameters
    microbatches: Count = 1
    skips_allowed: Count = field(default=10, metadata=NOT_HASHED)  # non-finite updates in a row
    probe: Exam | None = field(default=None, metadata=NOT_HASHED)  # held-out problems asked during training …
    probe_every: Index = field(default=0, metadata=NOT_HASHED)  # … every so many steps (0: never)

    def check(self, mesh: Mesh) -> None:
        """Raises InputError where the rows of a step can't be shared out on ``mesh``, or LoRA lacks a target."""
        planned(self)
        check_rows(self.name, self.batch, self.microbatches, mesh, f"{self.batch} rows")

    def run(self, inputs: Mapping[str, Artifact], out: Path, context: Context) -> Outcome:
        """Trains and leaves a checkpoint; InputError where the data was made with another tokenizer."""
        self.check(context.mesh)
        tokenizer = tokenizer_of(inputs["start"])
        check_data(inputs, tokenizer, self.name)
        trainee = trainee_of(self, inputs["start"], context)
        return train_on_rows(
            self, inputs["data"], trainee, tokenizer, supervised(trainee.model, kernels=context.kernels), out, context
        )

    def plan(self) -> dict[str, object]:
        """Sizes for ``run --check``."""
        return {**planned(self), "steps": self.steps, "rows": self.steps * self.batch}
