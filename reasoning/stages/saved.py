"""What a learning stage leaves behind and the next one starts from: parameters, the model's config, the tokenizer."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import jax
from jax.sharding import Mesh

from reasoning.core.artifact import Artifact, Outcome
from reasoning.core.errors import InputError
from reasoning.core.files import read_json, write_atomic
from reasoning.core.hashes import hash_tree
from reasoning.data.tokenizer import Tokenizer
from reasoning.data.tokenizer_files import load_tokenizer
from reasoning.models.config import ModelConfig, from_json, to_json
from reasoning.models.decoder import Params
from reasoning.models.model import Model, build_model, parameter_shardings
from reasoning.training.checkpoints import load_params, save_params

CONFIG, RECORDS = "model.json", "records"


@contextmanager
def intact(artifact: Artifact) -> Iterator[None]:
    """Adds to an InputError about an artifact's files how to get them back."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{error} (--from {artifact.stage} makes stage {artifact.stage} anew)") from None


def tokenizer_of(artifact: Artifact) -> Tokenizer:
    """The tokenizer that lies in an artifact of records or of a checkpoint."""
    with intact(artifact):
        return load_tokenizer(artifact.path)


def model_of(artifact: Artifact, mesh: Mesh) -> Model:
    """The architecture of a checkpoint's artifact, on ``mesh``; InputError where the artifact holds no checkpoint."""
    if artifact.kind != "checkpoint":
        raise InputError(f"stage {artifact.stage} left {artifact.kind}, no checkpoint; name a stage that trains")
    file = artifact.path / CONFIG
    with intact(artifact):
        values = read_json(file)
        try:
            config = from_json(values)
        except InputError as error:
            raise InputError(f"{file}: {error}") from None
    return build_model(config, mesh)


def params_of(artifact: Artifact, model: Model, mesh: Mesh) -> Params:
    """The parameters of a checkpoint's artifact, verified and laid out on ``mesh``."""
    abstract = jax.tree.map(
        lambda leaf, place: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place),
        model.shapes,
        parameter_shardings(model, mesh),
    )
    with intact(artifact):
        return load_params(artifact.checkpoint, abstract)


def check_vocabulary(config: ModelConfig, tokenizer: Tokenizer, stage: str) -> None:
    """InputError where the tokenizer has ids that the model has no row for."""
    if tokenizer.vocabulary_size > config.vocabulary:
        raise InputError(
            f"stage {stage}: the tokenizer has {tokenizer.vocabulary_size} ids but the model's vocabulary is "
            f"{config.vocabulary}; raise it to at least {tokenizer.vocabulary_size}"
        )


def save(out: Path, model: Model, params: Params, tokenizer: Tokenizer, results: Mapping[str, float]) -> Outcome:
    """Writes a finished checkpoint into ``out`` and describes it."""
    if jax.process_index() == 0:
        write_atomic(out / CONFIG, json.dumps(to_json(model.config), indent=1) + "\n")
        tokenizer.save(out)
    save_params(out / "checkpoint", params)
    return Outcome("checkpoint", dict(results), hash_tree(params))
