"""Supervised fine-tuning: a trained model learns the replies of packed conversations."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from jax.sharding import Mesh

from reasoning.core.artifact import Artifact, Outcome
from reasoning.core.program import Program
from reasoning.stages.checkpoint import check_data, tokenizer_of
from reasoning.stages.place import Place
from reasoning.stages.programs import trained_model
from reasoning.stages.row_programs import programs_on_rows
from reasoning.stages.rows import train_on_rows
from reasoning.stages.settings import FineTuning, OnRows
from reasoning.stages.stage import Context, LearnsFrom
from reasoning.stages.trainee import check_on_rows, planned, planned_rows, trainee_of
from reasoning.training.losses import supervised


@dataclass(frozen=True, kw_only=True)
class SFT(FineTuning, OnRows):
    """Trains ``start`` on the packed rows of ``data``; only the replies carry loss."""

    learns_from: ClassVar[LearnsFrom] = "examples"

    def check(self, mesh: Mesh) -> None:
        """Raises InputError where the rows of a step can't be shared out on ``mesh``, or LoRA lacks a target."""
        planned(self)
        check_on_rows(self, mesh)

    def run(self, inputs: Mapping[str, Artifact], out: Path, context: Context) -> Outcome:
        """Trains and leaves a checkpoint; InputError where the data was made with another tokenizer."""
        self.check(context.mesh)
        tokenizer = tokenizer_of(inputs["start"])
        check_data(inputs, tokenizer, self.name)
        trainee = trainee_of(self, inputs["start"], context)
        loss_fn = supervised(trainee.model, kernels=context.kernels)
        return train_on_rows(self, inputs["data"], trainee, tokenizer, loss_fn, out, context)

    def programs(self, place: Place) -> tuple[Program, ...]:
        """What ``run`` will compile."""
        model = trained_model(self, place)
        return tuple(programs_on_rows(self, place, model, supervised(model, kernels=place.kernels)))

    def plan(self) -> dict[str, object]:
        """Sizes for ``run --check``."""
        return {**planned(self), **planned_rows(self)}
