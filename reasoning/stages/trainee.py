"""What a stage trains, a model's parameters or adapters on top of frozen ones, and whether that fits the devices."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import jax
from jax.sharding import Mesh

from reasoning.core import mesh as meshes
from reasoning.core.artifact import Artifact, Outcome
from reasoning.core.errors import InputError
from reasoning.core.prng import stage_key
from reasoning.data.tokenizers.tokenizer import Tokenizer
from reasoning.evaluation.exam import check_exam
from reasoning.generation.engine import Engine, decode_shardings
from reasoning.models.cache import Weights
from reasoning.models.config import ModelConfig
from reasoning.models.decoder import cast
from reasoning.models.lora import merge_adapters, with_adapters
from reasoning.models.model import (
    Model,
    adapter_count,
    build_model,
    frozen_params,
    init_adapters,
    parameter_shardings,
    with_lora,
    without_lora,
)
from reasoning.models.parameters import Params
from reasoning.rollouts.prompt_sampler import PromptSampler, prompt_sampler
from reasoning.stages.checkpoint import model_of, params_of, save, save_adapters
from reasoning.stages.prepare import Prepare
from reasoning.stages.pretrained import Pretrained
from reasoning.stages.settings import FineTuning, Learning, OnPolicy, OnRows, check_best, steps_of
from reasoning.stages.stage import Context, Stage, is_stage
from reasoning.training.program import constants

_MOST_ROWS = 2**24
"""Of one step."""


@dataclass(frozen=True)
class AdapterBase:
    """The artifact that adapters are trained on: what it is called, and its parameters, to be read when needed."""

    name: str
    load: Callable[[], Params]


@dataclass(frozen=True)
class Trainee:
    """A model, and where its training begins.

    ``model`` is what losses read; with LoRA it has adapters, which alone train, and ``base`` are the parameters beneath
    them, as ``frozen_params`` makes them of what lies in ``adapter_base``. ``start`` gives what trains, before the
    first step. The functions take what trains, at any step.
    """

    model: Model
    start: Callable[[], Params]
    base: Params | None = None
    adapter_base: AdapterBase | None = None

    @property
    def merged_model(self) -> Model:
        """The model that is sampled from and saved, which has no adapters."""
        return without_lora(self.model)

    @property
    def adapters(self) -> int:
        """How many parameters adapters have; 0 where all of the model's train."""
        return adapter_count(self.model)

    def all_params(self, params: Params) -> Params:
        """The parameters of ``model``; no array is copied."""
        return params if self.base is None else with_adapters(self.base, params)

    def reference(self) -> Params:
        """The parameters of ``merged_model`` before the first step: with LoRA the base, and no second copy."""
        return self.narrowed(self.start()) if self.base is None else self.base

    def narrowed(self, params: Params) -> Params:
        """What trains in the dtype that losses cast it to before they read it: as good for those that only read it."""
        return cast(params, self.model.config.compute_dtype)

    def merged_params(self, params: Params) -> Params:
        """The parameters of ``merged_model``, adapters merged in."""
        return params if self.base is None else _merging(self.model)(self.base, params)

    def publish(self, engine: Engine, params: Params) -> Weights:
        """An engine's weights, adapters merged in; the sum in the type of the parameters is nowhere kept."""
        if self.base is None:
            return engine.publish(params)
        return publishing(self.model, engine)(self.base, params)

    def frozen_inputs(self, beside: Any) -> Any:
        """What a step takes as frozen: ``beside``, which the loss reads, and the base."""
        return beside if self.base is None else constants(self.base, beside)

    def save(self, out: Path, params: Params, tokenizer: Tokenizer, results: Mapping[str, float]) -> Outcome:
        """Leaves a checkpoint of ``merged_model``, adapters merged in, and the adapters beside it."""
        if self.adapter_base is not None and self.model.lora is not None:
            save_adapters(out, self.model.lora, params, self.adapter_base.name)
            params = _merging(self.model)(self.adapter_base.load(), params)
        return save(out, self.merged_model, params, tokenizer, results)


@runtime_checkable
class _ChangesConfig(Protocol):
    """A stage that leaves a model of another config than that of its start."""

    def configured(self, config: ModelConfig) -> ModelConfig:
        """The config of what it leaves."""
        ...


def trainee_of(stage: FineTuning, start: Artifact, context: Context) -> Trainee:
    """What a stage trains of the model in ``start``. Raises InputError where the model lacks a target of its LoRA."""
    plain, mesh = model_of(start, context.mesh, context.kernels), context.mesh
    load = partial(params_of, start, plain, mesh)
    if stage.lora is None:
        return Trainee(plain, load)
    model, key = with_lora(plain, stage.lora), stage_key(context.seed, f"{stage.name}/lora")
    narrow = jax.jit(partial(frozen_params, model), out_shardings=parameter_shardings(plain, mesh))
    fresh = partial(init_adapters, model, mesh, key)
    return Trainee(model, fresh, narrow(load()), AdapterBase(start.path.name, load))


def sampler_of(stage: OnPolicy, trainee: Trainee, tokenizer: Tokenizer, context: Context) -> PromptSampler:
    """What samples a stage's problems from the model that it trains; InputError for a prompt that leaves no room."""
    return prompt_sampler(
        stage,
        stage.name,
        stage.questions,
        trainee.merged_model,
        trainee.publish,
        tokenizer,
        context.mesh,
        context.seed,
        stage.padded_lengths,
    )


def planned(stage: FineTuning) -> dict[str, int]:
    """How many parameters a stage with LoRA trains, for ``run --check``; nothing where that can't be told beforehand.

    Raises InputError where the model that it starts from lacks a target.
    """
    config = None if stage.lora is None else planned_config(stage.start)
    if config is None:
        return {}
    return {"trained parameters": adapter_count(with_lora(build_model(config), stage.lora))}


def check_rows(stage: str, rows: int, microbatches: int, mesh: Mesh, what: str, length: int = 1) -> None:
    """Raises InputError where the data-parallel devices can't share each microbatch of a step's ``rows`` evenly, and
    for more rows than any memory holds, of ``length`` tokens at least.

    ``what`` says in words how many rows there are and why.
    """
    if rows > _MOST_ROWS:
        raise InputError(f"stage {stage}: {what} are too many for one step; at most {_MOST_ROWS:,} can be")
    meshes.check_room(rows * length, mesh, f"stage {stage}: {what}")
    devices = meshes.data_parallel_size(mesh)
    if rows % (microbatches * devices):
        parts = f"{microbatches} microbatches on " if microbatches > 1 else ""
        raise InputError(
            f"stage {stage}: {what} can't be shared evenly by {parts}{devices} data-parallel devices; make them a "
            f"multiple of {microbatches * devices}, or change microbatches or the mesh"
        )


def check_on_rows(stage: OnRows, mesh: Mesh) -> None:
    """As ``check_rows`` for a step of packed rows; InputError also for settings that contradict each other."""
    steps_of(stage, 1, stage.batch)
    if stage.held_out_every and not stage.held_out:
        raise InputError(
            f"stage {stage.name} has held_out_every = {stage.held_out_every} and no held_out rows to measure; set "
            f"{stage.name}.held_out to how many rows of its data it shall not learn from"
        )
    check_best(stage, stage.held_out)
    _check_exams(stage, mesh)
    length = stage.data.length if isinstance(stage.data, Prepare) else 1
    check_rows(stage.name, stage.batch, stage.microbatches, mesh, f"{stage.batch} rows", length)


def check_on_policy(stage: OnPolicy, mesh: Mesh) -> None:
    """As ``check_rows`` for a step that samples; InputError also where LoRA lacks a target."""
    planned(stage)
    steps_of(stage, stage.problems.count, stage.questions)
    check_best(stage, 0)
    _check_exams(stage, mesh)
    rows = stage.questions * stage.samples
    what = f"{stage.questions} questions x {stage.samples} samples = {rows} rows"
    check_rows(stage.name, rows, stage.microbatches, mesh, what, stage.max_new_tokens)


def _check_exams(stage: Learning, mesh: Mesh) -> None:
    """Raises InputError where a probe's exam, or the one that tells the best, can't judge a problem or be held."""
    probe = stage.probe if stage.probe_every else None
    for exam in (probe, None if stage.best is None else stage.best.exam):
        if exam is not None:
            check_exam(exam, mesh, f"stage {stage.name}: the replies of its exam")


def planned_rows(stage: OnRows) -> dict[str, object]:
    """Sizes of a stage on packed rows, for ``run --check``; how many rows an epoch has is known when they are there."""
    if stage.epochs:
        return {"epochs": stage.epochs}
    return {"steps": stage.steps, "rows": stage.steps * stage.batch}


def planned_steps(stage: OnPolicy) -> int:
    """How many steps a stage that samples takes."""
    return steps_of(stage, stage.problems.count, stage.questions)


def planned_rollouts(stage: OnPolicy) -> dict[str, object]:
    """Sizes of a stage that samples, for ``run --check``."""
    steps = planned_steps(stage)
    completions = steps * stage.questions * stage.samples
    sizes = {"steps": steps, "completions": completions}
    return {**planned(stage), **sizes, "sampled tokens at most": completions * stage.max_new_tokens}


def planned_config(stage: Stage) -> ModelConfig | None:
    """The config of the model that a stage will leave, from settings alone; None for stages that users bring."""
    if is_stage(start := getattr(stage, "start", None)):
        config = planned_config(start)
        return stage.configured(config) if config is not None and isinstance(stage, _ChangesConfig) else config
    if isinstance(stage, Pretrained):
        return stage.config_at_hand()
    model = getattr(stage, "model", None)
    return model if isinstance(model, ModelConfig) else None


@lru_cache(32)
def publishing(model: Model, engine: Engine) -> Callable[[Params, Params], Weights]:
    """The jitted function from a base and adapters on it to the weights of an engine, adapters merged in."""
    plain = without_lora(model)

    def publish(base: Params, adapters: Params) -> Weights:
        return engine.publish(_merged(model, base, adapters))

    places = None if plain.mesh is None else decode_shardings(plain, plain.mesh)
    return jax.jit(publish, out_shardings=places)


@lru_cache(32)
def _merging(model: Model) -> Callable[[Params, Params], Params]:
    plain = without_lora(model)
    places = None if plain.mesh is None else parameter_shardings(plain, plain.mesh)
    return jax.jit(partial(_merged, model), out_shardings=places)


def _merged(model: Model, base: Params, adapters: Params) -> Params:
    return base if model.lora is None else merge_adapters(model.lora, with_adapters(base, adapters))
