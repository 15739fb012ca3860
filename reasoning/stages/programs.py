"""The programs of learning stages before they run: what ``run`` calls, with the shapes that it will be called with."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from reasoning.core import mesh as meshes
from reasoning.core.errors import InputError
from reasoning.core.program import Program
from reasoning.generation.calls import sampling_told
from reasoning.generation.engine import build_engine
from reasoning.generation.sampler import SamplerSettings
from reasoning.models.flops import forward_flops, training_flops
from reasoning.models.lora import with_adapters
from reasoning.models.model import Model, adapter_count, build_model, parameter_shardings, with_lora, without_lora
from reasoning.rollouts.sampling import allowed_by
from reasoning.stages.learn import stage_step
from reasoning.stages.place import Place, asked_of
from reasoning.stages.settings import FineTuning, Learning
from reasoning.stages.stage import Stage, is_stage
from reasoning.stages.trainee import planned_config, publishing
from reasoning.training.program import StepProgram
from reasoning.training.shared_prompts import ReplyGroups, computed_places
from reasoning.training.step import LossFunction

COLUMNS = MappingProxyType({name: np.int32 for name in ("tokens", "positions", "segments", "loss_mask")})
"""Of packed rows, with their dtypes."""


def model_before(stage: Stage, place: Place, whose: str) -> Model:
    """The model that a stage will leave, on the place's mesh. Raises InputError where settings don't tell it."""
    config = planned_config(stage)
    if config is None:
        raise InputError(
            f"stage {whose}: which model stage {stage.name} leaves can't be told before it has run, so it can't be "
            "planned; name a stages.Pretrained or a stages.Pretrain in its place"
        )
    return build_model(config, place.mesh, place.kernels)


def trained_model(stage: FineTuning, place: Place) -> Model:
    """The model that a stage trains, with its adapters."""
    return with_lora(model_before(stage.start, place, stage.name), stage.lora)


def row_shapes(mesh: Mesh, rows: int, length: int, columns: Mapping[str, Any] = COLUMNS) -> dict[str, Any]:
    """The shapes of so many packed rows with these columns, split over the data-parallel devices."""
    place = meshes.row_sharding(mesh)
    return {name: jax.ShapeDtypeStruct((rows, length), kind, sharding=place) for name, kind in columns.items()}


def split_by_rows(mesh: Mesh, function: Callable[..., Any], *arguments: Any) -> Any:
    """The shapes of what a jitted function of batches gives, which are split by rows."""
    shapes = jax.eval_shape(function, *arguments)
    return meshes.with_shardings(shapes, jax.tree.map(lambda _: meshes.row_sharding(mesh), shapes))


@dataclass(frozen=True)
class Learned:
    """What a learning stage is planned from: its settings, what it trains, the step, and who else is there.

    ``steps`` are batches, each learnt from ``updates`` times. ``beside`` are further arrays that stay on the devices,
    such as a reference, by name. ``groups`` say which sampled rows share a prompt.
    """

    stage: Learning
    place: Place
    model: Model
    step: StepProgram
    steps: int
    updates: int = 1
    teacher: Model | None = None
    beside: Mapping[str, Any] = field(default_factory=dict)
    groups: ReplyGroups | None = None

    @property
    def base(self) -> Any:
        """The shapes of what lies beneath adapters; None without."""
        return None if self.model.lora is None else self.step.frozen["base"]

    @property
    def all_params(self) -> Any:
        """The shapes of the parameters of ``model``, adapters among them."""
        params = self.step.abstract.params
        return params if self.base is None else with_adapters(self.base, params)

    def around(self, *arguments: str) -> dict[str, Any]:
        """What is on the devices besides a program's ``arguments``, of which these are some, by name."""
        frozen = self.step.frozen
        held = {"parameters": self.step.abstract.params, "optimizer": self.step.abstract.optimizer, **self.beside}
        if self.base is not None:
            held["base"] = self.base
        if self.teacher is not None:
            held["teacher"] = frozen if self.base is None else frozen["beside"]
        return {name: tree for name, tree in held.items() if name not in arguments}

    def update(self, batch: Any, rows: int, length: int) -> Program:
        """The update by a batch of so many rows, or by one of several minibatches."""
        config = without_lora(self.model).config
        places = computed_places(self.groups, self.model, rows, length, self.stage.microbatches)
        own = training_flops(config, adapter_count(self.model), places, length)
        theirs = 0 if self.teacher is None else forward_flops(self.teacher.config, places, length)
        return Program(
            "update",
            self.step.step,
            (self.step.abstract, self.step.frozen, batch),
            calls=self.steps * self.updates,
            tokens=rows * length,
            flops=own + theirs,
            beside=self.around("parameters", "optimizer", "base", "teacher"),
        )

    def publish(self, settings: SamplerSettings, calls: float, name: str = "publish") -> Program:
        """The trainer's weights as an engine wants them."""
        plain, mesh = without_lora(self.model), self.place.mesh
        engine = build_engine(plain, mesh, settings)
        if self.base is None:
            function: Any = engine.publish
            return Program(name, function, (self.step.abstract.params,), calls, beside=self.around("parameters"))
        arguments = (self.base, self.step.abstract.params)
        return Program(name, publishing(self.model, engine), arguments, calls, beside=self.around("base", "parameters"))

    def exams(self) -> Iterator[Program]:
        """What probes, and exams that tell the best, compile and how often."""
        stage, best = self.stage, self.stage.best
        plain = without_lora(self.model)
        asking = [("probe", stage.probe if stage.probe_every else None, stage.probe_every)]
        asking += [] if best is None else [("best", best.exam, best.every)]
        for name, exam, every in asking:
            if exam is not None and is_stage(stage):
                where, calls = f"{stage.name}, {name}", -(-self.steps // every)
                asked = asked_of(self.place, where, exam, stage, plain.config.context, exam.style)
                settings = SamplerSettings(exam.samples, exam.max_new_tokens, asked.ends, exam.slots, asked.longest)
                yield self.publish(settings, calls, f"{name}: publish")
                mesh, allowed = self.place.mesh, allowed_by(exam)
                yield sampling_told(
                    f"{name}: sample", plain, mesh, settings, asked.prompts, allowed, calls, self.around()
                )


def learned_of(
    stage: Learning,
    place: Place,
    model: Model,
    loss_fn: LossFunction,
    steps: int,
    updates: int = 1,
    teacher: Model | None = None,
) -> Learned:
    """What a stage with this model and loss is planned from, with the step that ``learn`` takes."""
    step = stage_step(stage, model, place.mesh, loss_fn, steps * updates, teacher)[1]
    return Learned(stage, place, model, step, steps, updates, teacher)


def publishing_program(model: Model, place: Place, settings: SamplerSettings) -> Program:
    """A finished model's weights as an engine wants them."""
    params = meshes.with_shardings(model.shapes, parameter_shardings(model, place.mesh))
    function: Any = build_engine(model, place.mesh, settings).publish
    return Program("publish", function, (params,))
