"""Pretraining: a fresh model learns to predict the next token of packed documents."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

from jax.sharding import Mesh

from reasoning.core.artifact import Artifact, Outcome
from reasoning.core.prng import stage_key
from reasoning.core.program import Program
from reasoning.models.config import ModelConfig
from reasoning.models.model import build_model, check_memory, init_sharded, parameter_count, parameter_shardings
from reasoning.stages.checkpoint import check_vocabulary, tokenizer_of
from reasoning.stages.place import Place
from reasoning.stages.row_programs import programs_on_rows
from reasoning.stages.rows import train_on_rows
from reasoning.stages.settings import OnRows
from reasoning.stages.stage import Context, LearnsFrom
from reasoning.stages.trainee import Trainee, check_on_rows, planned_rows
from reasoning.training.losses import supervised


@dataclass(frozen=True, kw_only=True)
class Pretrain(OnRows):
    """Trains ``model`` from random parameters on the packed rows of ``data``."""

    learns_from: ClassVar[LearnsFrom] = "text"

    model: ModelConfig

    def check(self, mesh: Mesh) -> None:
        """Raises InputError where the rows of a step, or the model, don't fit ``mesh``."""
        check_on_rows(self, mesh)
        model = build_model(self.model)
        check_memory(model, mesh, self.name)
        parameter_shardings(model, mesh)

    def run(self, inputs: Mapping[str, Artifact], out: Path, context: Context) -> Outcome:
        """Trains and leaves a checkpoint."""
        self.check(context.mesh)
        tokenizer = tokenizer_of(inputs["data"])
        check_vocabulary(self.model, tokenizer, self.name)
        model = build_model(self.model, context.mesh, context.kernels)
        key = stage_key(context.seed, f"{self.name}/init")
        trainee = Trainee(model, partial(init_sharded, model, context.mesh, key))
        loss_fn = supervised(model, kernels=context.kernels)
        return train_on_rows(self, inputs["data"], trainee, tokenizer, loss_fn, out, context)

    def programs(self, place: Place) -> tuple[Program, ...]:
        """What ``run`` will compile."""
        model = build_model(self.model, place.mesh, place.kernels)
        return tuple(programs_on_rows(self, place, model, supervised(model, kernels=place.kernels)))

    def plan(self) -> dict[str, object]:
        """Sizes for ``run --check``."""
        parameters = parameter_count(build_model(self.model))
        tokens = {"tokens at most": self.steps * self.batch * self.model.context} if self.steps else {}
        return {"parameters": parameters, **planned_rows(self), **tokens}
