"""Pretraining: it learns, it leaves what it learnt, and it does so again to the last bit."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny_stages import BASE, MODEL, Surroundings, work

from reasoning.core.artifact import Artifact
from reasoning.core.errors import InputError
from reasoning.core.hashes import hash_tree
from reasoning.core.mesh import MeshShape, build_mesh
from reasoning.models.model import build_model, parameter_count
from reasoning.stages.checkpoint import model_of, params_of, tokenizer_of


def test_the_loss_starts_near_that_of_guessing_and_falls(base: Artifact):
    losses = [row["loss"] for row in base.metrics()]
    assert [row["step"] for row in base.metrics()] == list(range(1, 25))
    assert abs(losses[0] - math.log(MODEL.vocabulary)) < 1
    assert np.mean(losses[-4:]) < losses[0] - 1.5


def test_the_checkpoint_loads_to_the_parameters_that_training_ended_with(base: Artifact, corpus: Artifact):
    mesh = Surroundings().context().mesh
    model = model_of(base, mesh)
    params = params_of(base, model, mesh)
    assert base.kind == "checkpoint" and model.config == MODEL
    assert hash_tree(params) == base.hash
    assert sum(leaf.size for leaf in _leaves(params)) == parameter_count(build_model(MODEL))
    assert tokenizer_of(base).model == tokenizer_of(corpus).model


def test_the_same_seed_gives_the_same_bits_and_another_seed_others(base: Artifact, corpus: Artifact, tmp_path: Path):
    again = work(BASE, tmp_path / "again", {"data": corpus})
    assert again.hash == base.hash
    assert (again.path / "metrics.jsonl").read_bytes() == (base.path / "metrics.jsonl").read_bytes()
    other = work(replace(BASE, steps=1), tmp_path / "other", {"data": corpus}, Surroundings(seed=1))
    assert other.metrics()[0]["loss"] != base.metrics()[0]["loss"]


def test_the_seed_draws_the_first_parameters(corpus: Artifact, tmp_path: Path):
    still = replace(BASE, steps=1, optimizer=replace(BASE.optimizer, learning_rate=1e-12))
    mesh = Surroundings().context().mesh
    starts = []
    for seed in (0, 1):
        made = work(still, tmp_path / str(seed), {"data": corpus}, Surroundings(seed=seed))
        starts.append(np.asarray(params_of(made, model_of(made, mesh), mesh)["embedding"]))
    assert abs(starts[0].std() - MODEL.embedding_std) < 0.01
    assert abs(np.corrcoef(starts[0].ravel(), starts[1].ravel())[0, 1]) < 0.2


def test_a_vocabulary_smaller_than_the_tokenizers_is_refused_with_both_numbers(corpus: Artifact, tmp_path: Path):
    size = tokenizer_of(corpus).vocabulary_size
    small = replace(BASE, model=replace(MODEL, vocabulary=size - 1))
    with pytest.raises(InputError, match=f"stage base: the tokenizer has {size} ids .* vocabulary is {size - 1}"):
        work(small, tmp_path, {"data": corpus})


def test_rows_longer_than_the_models_context_are_refused_with_both_numbers(corpus: Artifact, tmp_path: Path):
    with pytest.raises(InputError, match="stage base: rows of 32 tokens exceed the model's context of 31"):
        work(replace(BASE, model=replace(MODEL, context=31)), tmp_path, {"data": corpus})


def test_a_batch_or_a_model_that_the_mesh_does_not_divide_is_refused_before_any_work():
    mesh = build_mesh(MeshShape(data=4, tensor=2))
    replace(BASE, batch=8, microbatches=2).check(mesh)
    with pytest.raises(InputError, match="stage base: 6 rows can't be shared evenly by 4 data-parallel devices"):
        replace(BASE, batch=6).check(mesh)
    with pytest.raises(InputError, match="8 rows can't be shared evenly by 4 microbatches on 4 data-parallel devices"):
        replace(BASE, batch=8, microbatches=4).check(mesh)
    with pytest.raises(InputError, match=r"\['embedding'\]: its vocabulary axis has size 81, which mesh axes tensor"):
        replace(BASE, model=replace(MODEL, vocabulary=81)).check(mesh)


def test_the_plan_counts_parameters_without_making_them():
    plan = BASE.plan()
    assert plan["steps"] == 24 and plan["tokens at most"] == 24 * 8 * 32
    width, mlp, vocabulary = MODEL.width, MODEL.mlp_width, MODEL.vocabulary
    blocks = 4 * width * width + 2 * width * mlp + 2 * width
    assert plan["parameters"] == 2 * vocabulary * width + 32 * width + blocks + width


def _leaves(tree: dict) -> list[np.ndarray]:
    return [leaf for value in tree.values() for leaf in (_leaves(value) if isinstance(value, dict) else [value])]
