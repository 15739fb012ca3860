"""Pretraining: a fresh model learns to predict the next token of packed documents."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

from jax.sharding import Mesh

from reasoning.core.artifact import Artifact, Outcome
from reasoning.core.prng import stage_key
from reasoning.core.ranges import Count
from reasoning.models.config import ModelConfig
from reasoning.models.model import build_model, check_memory, init_sharded, parameter_count, parameter_shardings
from reasoning.stages.checkpoint import check_vocabulary, tokenizer_of
from reasoning.stages.rows import train_on_rows
from reasoning.stages.settings import Learning
from reasoning.stages.stage import Context, LearnsFrom, Stage
from reasoning.stages.trainee import Trainee, check_rows
from reasoning.training.losses import supervised


@dataclass(frozen=True, kw_only=True)
class Pretrain(Learning):
    """Trains ``model`` from random parameters on the packed rows of ``data``."""

    learns_from: ClassVar[LearnsFrom] = "text"

    model: ModelConfig
    data: Stage
    batch: Count  # rows a step

    def check(self, mesh: Mesh) -> None:
        """Raises InputError where the rows of a step, or the model, don't fit ``mesh``."""
        check_rows(self.name, self.batch, self.microbatches, mesh, f"{self.batch} rows")
        model = build_model(self.model)
        check_memory(model, mesh, self.name)
        parameter_shardings(model, mesh)

    def run(self, inputs: Mapping[str, Artifact], out: Path, context: Context) -> Outcome:
        """Trains and leaves a checkpoint."""
        self.check(context.mesh)
        tokenizer = tokenizer_of(inputs["data"])
        check_vocabulary(self.model, tokenizer, self.name)
        model = build_model(self.model, context.mesh)
        key = stage_key(context.seed, f"{self.name}/init")
        trainee = Trainee(model, partial(init_sharded, model, context.mesh, key))
        loss_fn = supervised(model, kernels=context.kernels)
        return train_on_rows(self, self.batch, inputs["data"], trainee, tokenizer, loss_fn, out, context)

    def plan(self) -> dict[str, object]:
        """Sizes for ``run --check``."""
        parameters = parameter_count(build_model(self.model))
        tokens = self.steps * self.batch * self.model.context
        return {"parameters": parameters, "steps": self.steps, "tokens at most": tokens}
