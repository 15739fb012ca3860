"""A model from elsewhere as the start of a run, from each form that it may have."""

from pathlib import Path

import jax
import numpy as np
import pytest
from gguf_file import LAYERS, VOCABULARY, WIDTH, write
from tiny_stages import Surroundings, work

from reasoning.core.errors import InputError
from reasoning.core.mesh import MeshShape, build_mesh
from reasoning.models.formats.checkpoint_writer import export_checkpoint
from reasoning.models.model import build_model
from reasoning.stages import Pretrained
from reasoning.stages.checkpoint import model_of, params_of, tokenizer_of
from reasoning.stages.pretrained import find
from reasoning.use.convert import convert_model


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("gguf") / "model.gguf"
    write(path)
    return path


def brought(path: Path, out: Path, **settings):
    artifact = work(Pretrained(name="start", path=str(path), **settings), out)
    mesh = Surroundings().context().mesh
    model = model_of(artifact, mesh)
    return artifact, model, params_of(artifact, model, mesh)


def test_all_forms_of_a_model_give_the_same_parameters(file, tmp_path):
    artifact, model, params = brought(file, tmp_path / "a")
    assert model.config.layers == LAYERS and params["embedding"].shape == (VOCABULARY, WIDTH)
    mesh = build_mesh(MeshShape(), jax.devices()[:1])
    convert_model(file, tmp_path / "converted", mesh, lambda done, total: None)
    export_checkpoint(tmp_path / "hf", model.config, params, "float32", {})
    tokenizer_of(artifact).save(tmp_path / "hf")
    for number, path in enumerate((tmp_path / "converted", tmp_path / "hf")):
        other, _, same = brought(path, tmp_path / f"b{number}")
        jax.tree.map(np.testing.assert_array_equal, same, params)
        assert tokenizer_of(other).model == tokenizer_of(artifact).model
        assert model_of(other, mesh).config == model.config


def test_the_stage_may_set_context_and_types(file, tmp_path):
    _, model, _ = brought(file, tmp_path, context=16, compute_dtype="bfloat16", remat="block")
    assert (model.config.context, model.config.compute_dtype, model.config.remat) == (16, "bfloat16", "block")


def test_the_plan_counts_parameters_without_reading_them(file):
    config = find(file).config
    expected = sum(leaf.size for leaf in jax.tree.leaves(build_model(config).shapes))
    assert Pretrained(name="start", path=str(file)).plan() == {"parameters": expected}


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(InputError, match="there is no model at .*neither model.json"):
        work(Pretrained(name="start", path=str(tmp_path)), tmp_path / "out")


def test_the_files_at_the_top_of_a_folder_from_elsewhere_count_and_all_of_one_of_ours(tmp_path: Path):
    (tmp_path / "config.json").write_text("{}")
    assert Pretrained(path=str(tmp_path)).reads() == (f"{tmp_path}/*",)
    (tmp_path / "additional_chat_templates").mkdir()
    assert Pretrained(path=str(tmp_path)).reads()[1:] == (f"{tmp_path}/additional_chat_templates/*",)
    (tmp_path / "model.json").write_text("{}")
    assert Pretrained(path=str(tmp_path)).reads() == (str(tmp_path),)
    assert Pretrained(path="model.gguf").reads() == ("model.gguf",)
