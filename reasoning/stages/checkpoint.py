"""What a learning stage leaves behind and the next one starts from: parameters, the model's config, the tokenizer."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import jax
from jax.sharding import Mesh

from reasoning.core.artifact import Artifact, Outcome
from reasoning.core.errors import InputError
from reasoning.core.files import read_json, write_atomic
from reasoning.core.hashes import hash_tree
from reasoning.core.mesh import with_shardings
from reasoning.data.tokenizers.comparison import tokenizer_difference
from reasoning.data.tokenizers.files import load_tokenizer
from reasoning.data.tokenizers.tokenizer import Tokenizer
from reasoning.kernels.backends import Choice
from reasoning.models.config import ModelConfig, from_json, to_json
from reasoning.models.lora import LoRA
from reasoning.models.model import Model, build_model, parameter_shardings, trained, with_lora
from reasoning.models.parameters import Params
from reasoning.training.checkpoints import Checkpointer, load_params, save_params

CONFIG, _CHECKPOINT, RECORDS = "model.json", "checkpoint", "records"
CHECKPOINTS, BEST, REFERENCES, FAILED = ON_THE_WAY = "checkpoints", "best", "references", "failed"
"""Folders that a stage in training goes on from, or keeps a failed step in; once it has finished, nobody needs them."""

_LORA, _ADAPTERS = "adapter.json", "adapter"


@contextmanager
def intact(artifact: Artifact) -> Iterator[None]:
    """Adds to an InputError about an artifact's files how to get them back."""
    try:
        yield
    except InputError as error:
        stage = artifact.stage
        way = f"move {artifact.path} away and run the same command (--from {stage} makes stage {stage} anew)"
        raise InputError(f"{error}; or {way}") from None


def tokenizer_of(artifact: Artifact) -> Tokenizer:
    """The tokenizer that lies in an artifact of records or of a checkpoint."""
    with intact(artifact):
        return load_tokenizer(artifact.path)


def check_data(inputs: Mapping[str, Artifact], tokenizer: Tokenizer, stage: str) -> None:
    """InputError where the records of input ``data`` are of other tokens than ``tokenizer``'s, that of ``start``."""
    difference = tokenizer_difference(tokenizer_of(inputs["data"]), tokenizer)
    if difference is not None:
        raise InputError(
            f"stage {stage}: its data {inputs['data'].stage} was tokenized otherwise than its start "
            f"{inputs['start'].stage} was trained ({difference}); prepare the data with the tokenizer of that stage"
        )


def model_of(artifact: Artifact, mesh: Mesh, kernels: Choice = "auto") -> Model:
    """The architecture of a checkpoint's artifact, on ``mesh``; InputError where the artifact holds no checkpoint."""
    if artifact.kind != "checkpoint":
        raise InputError(f"stage {artifact.stage} left {artifact.kind}, no checkpoint; name a stage that trains")
    with intact(artifact):
        return build_model(read_model(artifact.path), mesh, kernels)


def params_of(artifact: Artifact, model: Model, mesh: Mesh) -> Params:
    """The parameters of a checkpoint's artifact, verified and laid out on ``mesh``."""
    with intact(artifact):
        return read_params(artifact.path, model, mesh)


def read_model(folder: Path) -> ModelConfig:
    """The config that ``save`` wrote into a folder; InputError where it isn't there, or isn't one."""
    file = folder / CONFIG
    values = read_json(file)
    if not isinstance(values, dict):
        raise InputError(f"{file} holds {values!r:.40}, expected the description of a model; write it anew")
    try:
        return from_json(values)
    except InputError as error:
        raise InputError(f"{file}: {error}") from None


def read_params(folder: Path, model: Model, mesh: Mesh) -> Params:
    """The parameters that ``save`` wrote into a folder, verified and laid out on ``mesh``."""
    return load_params(folder / _CHECKPOINT, with_shardings(model.shapes, parameter_shardings(model, mesh)))


def read_step(folder: Path, step: int, model: Model, mesh: Mesh) -> Params:
    """The parameters alone of a step that a stage has saved while it trained, verified and laid out on ``mesh``.

    Raises InputError where that step isn't there, and for one of a stage that trained adapters alone.
    """
    steps = Checkpointer(folder / CHECKPOINTS)
    if step not in steps.steps():
        kept = ", ".join(map(str, steps.steps())) or "none"
        raise InputError(f"{steps.folder} doesn't keep step {step}; kept are {kept} (run.keep, run.keep_every)")
    wanted = with_shardings(model.shapes, parameter_shardings(model, mesh))
    return load_params(steps.path(step), wanted, inside="params")


def check_vocabulary(config: ModelConfig, tokenizer: Tokenizer, stage: str) -> None:
    """InputError where the tokenizer has ids that the model has no row for."""
    if tokenizer.vocabulary_size > config.vocabulary:
        raise InputError(
            f"stage {stage}: the tokenizer has {tokenizer.vocabulary_size} ids but the model's vocabulary is "
            f"{config.vocabulary}; raise it to at least {tokenizer.vocabulary_size}"
        )


def save(out: Path, model: Model, params: Params, tokenizer: Tokenizer, results: Mapping[str, float]) -> Outcome:
    """Writes a finished checkpoint into ``out`` and describes it."""
    describe(out, model, tokenizer)
    save_params(out / _CHECKPOINT, params)
    return Outcome("checkpoint", dict(results), hash_tree(params))


def describe(out: Path, model: Model, tokenizer: Tokenizer) -> None:
    """Writes config and tokenizer into ``out``, by which its parameters, or those of a step saved there, are read."""
    if jax.process_index() == 0:
        write_atomic(out / CONFIG, json.dumps(to_json(model.config), indent=1) + "\n")
        tokenizer.save(out)


def save_adapters(out: Path, lora: LoRA, adapters: Params, base: str) -> None:
    """Writes what a stage has trained by LoRA beside the checkpoint, into which it is merged, for export.

    ``base`` names the artifact that the adapters belong on.
    """
    if jax.process_index() == 0:
        write_atomic(out / _LORA, json.dumps({**asdict(lora), "base": base}, indent=1) + "\n")
    save_params(out / _ADAPTERS, adapters)


def read_adapters(folder: Path, mesh: Mesh) -> tuple[LoRA, Params]:
    """What ``save_adapters`` wrote into a folder; InputError where the stage didn't train by LoRA."""
    file = folder / _LORA
    if not file.exists():
        raise InputError(f"there is no {_LORA} in {folder}; name an artifact of a stage that trained by LoRA")
    values = read_json(file)
    try:
        lora = LoRA(values["rank"], values["alpha"], tuple(values["targets"]))
    except (KeyError, TypeError) as error:
        raise InputError(f"{file} doesn't describe adapters: {error}; make the artifact anew") from error
    model = with_lora(build_model(read_model(folder), mesh), lora)
    return lora, load_params(
        folder / _ADAPTERS,
        with_shardings(trained(model, model.shapes), trained(model, parameter_shardings(model, mesh))),
    )
