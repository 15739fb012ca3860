"""A student made of some layers of a larger model."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import jax

from reasoning.core.artifact import Artifact, Outcome
from reasoning.core.errors import InputError
from reasoning.core.ranges import Index
from reasoning.models.config import ModelConfig
from reasoning.models.cut import cut_config, cut_params
from reasoning.models.model import build_model, parameter_count, parameter_shardings
from reasoning.stages.checkpoint import model_of, params_of, save, tokenizer_of
from reasoning.stages.stage import Context, Stage
from reasoning.stages.trainee import planned_config


@dataclass(frozen=True, kw_only=True)
class Cut:
    """Keeps ``layers`` of the model of ``start`` and leaves the others out; embeddings, norms, head and tokenizer stay.

    Such a student knows its teacher's vocabulary, and learns the rest by distillation (as in arXiv 1910.01108).
    """

    name: str = ""
    start: Stage
    layers: tuple[Index, ...]  # numbers from 0, in order

    def run(self, inputs: Mapping[str, Artifact], out: Path, context: Context) -> Outcome:
        """Leaves the smaller model's checkpoint. Raises InputError for layers that the model lacks, or out of order."""
        start, mesh = inputs["start"], context.mesh
        whole = model_of(start, mesh, context.kernels)
        model = build_model(self.configured(whole.config), mesh, context.kernels)
        making = jax.jit(
            partial(cut_params, whole.config, layers=self.layers), out_shardings=parameter_shardings(model, mesh)
        )
        return save(out, model, making(params_of(start, whole, mesh)), tokenizer_of(start), {})

    def configured(self, config: ModelConfig) -> ModelConfig:
        """The config of what is left of a model."""
        try:
            return cut_config(config, self.layers)
        except InputError as error:
            raise InputError(f"stage {self.name}: {error}") from None

    def plan(self) -> dict[str, object]:
        """Sizes for ``run --check``."""
        config = planned_config(self.start)
        return {} if config is None else {"parameters": parameter_count(build_model(self.configured(config)))}
