"""What a learning stage leaves: the next one finds model, parameters and tokenizer as they were, on any mesh."""

import shutil
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from drawn import drawn, placed
from jax.sharding import PartitionSpec
from tiny_stages import MODEL

from reasoning.core.artifact import Artifact
from reasoning.core.errors import InputError
from reasoning.core.hashes import hash_tree
from reasoning.core.mesh import MeshShape, build_mesh
from reasoning.models.config import BlockKind, Stack
from reasoning.models.model import build_model
from reasoning.stages.checkpoint import check_vocabulary, model_of, params_of, save, tokenizer_of

CONFIG = replace(MODEL, stacks=(Stack(1), Stack(1, (BlockKind("relu2"),))), tied=True)


@pytest.fixture(scope="module")
def saved(base: Artifact, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    folder = tmp_path_factory.mktemp("saved")
    mesh = build_mesh(MeshShape(data=1, fsdp=4, tensor=1), jax.devices()[:4])
    model = build_model(CONFIG, mesh)
    params = placed(model, mesh, 3)
    outcome = save(folder, model, params, tokenizer_of(base), {"loss": 1.5})
    assert outcome.array_hash == hash_tree(params)
    return Artifact(folder, outcome.kind, "made", outcome.array_hash, outcome.results)


def test_model_parameters_and_tokenizer_come_back_on_another_mesh(saved: Artifact, base: Artifact):
    mesh = build_mesh(MeshShape(data=2, fsdp=2, tensor=2))
    model = model_of(saved, mesh)
    params = params_of(saved, model, mesh)
    assert (saved.kind, saved.results) == ("checkpoint", {"loss": 1.5})
    assert model.config == CONFIG
    assert hash_tree(params) == saved.hash
    assert params["embedding"].sharding.spec == PartitionSpec("tensor", "fsdp")
    assert tokenizer_of(saved).model == tokenizer_of(base).model


def test_a_damaged_checkpoint_is_refused_with_the_file(saved: Artifact, tmp_path: Path):
    mesh, copy = build_mesh(MeshShape()), replace(saved, path=tmp_path / "copy")
    shutil.copytree(saved.path, copy.path)
    file = max(copy.checkpoint.rglob("*"), key=lambda path: path.stat().st_size if path.is_file() else 0)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(InputError, match=f"damaged checkpoint: .*{file.name} has other content than was written"):
        params_of(copy, model_of(copy, mesh), mesh)


def test_another_models_description_is_refused_by_the_leaves_that_differ(saved: Artifact):
    mesh = build_mesh(MeshShape())
    with pytest.raises(InputError, match=r"embedding: saved float32\[80, 16\], asked for float32\[81, 16\]"):
        params_of(saved, build_model(replace(CONFIG, vocabulary=81), mesh), mesh)


def test_a_tokenizer_may_have_fewer_ids_than_the_model_but_not_more(base: Artifact):
    tokenizer = tokenizer_of(base)
    check_vocabulary(replace(MODEL, vocabulary=tokenizer.vocabulary_size), tokenizer, "zero")
    with pytest.raises(InputError, match="stage zero: .* raise it to at least"):
        check_vocabulary(replace(MODEL, vocabulary=tokenizer.vocabulary_size - 1), tokenizer, "zero")


def test_records_are_no_checkpoint(corpus: Artifact):
    with pytest.raises(InputError, match="stage corpus left records, no checkpoint; name a stage that trains"):
        model_of(corpus, build_mesh(MeshShape()))


@pytest.mark.slow
def test_a_checkpoint_computes_what_was_saved(saved: Artifact):
    mesh = build_mesh(MeshShape(), jax.devices()[:1])
    model = model_of(saved, mesh)
    places = jnp.arange(8)[None]
    rows = (places + 2, places, jnp.ones_like(places))
    other = build_model(CONFIG)
    ours, _ = jax.jit(model.hidden_states)(params_of(saved, model, mesh), *rows)
    expected, _ = jax.jit(other.hidden_states)(drawn(other.shapes, 3, 0.2), *rows)
    np.testing.assert_allclose(ours, expected, atol=1e-5)
