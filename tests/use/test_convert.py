"""Models from elsewhere: found in a folder or on the Hub, and written as a folder that is whole or absent."""

import jax
import numpy as np
import pytest
from gguf_file import LAYERS, VOCABULARY, WIDTH, write

from reasoning.core.errors import InputError
from reasoning.core.mesh import MeshShape, build_mesh
from reasoning.models.model import build_model
from reasoning.stages.checkpoint import read_model, read_params
from reasoning.stages.pretrained import find
from reasoning.use.convert import convert_model, fetch_model


def convert(source, out):
    told = []
    mesh = build_mesh(MeshShape(), jax.devices()[:1])
    return convert_model(source, out, mesh, lambda done, total: told.append((done, total))), told, mesh


def test_a_converted_model_has_the_parameters_that_were_counted(tmp_path):
    write(tmp_path / "model.gguf")
    count, told, mesh = convert(tmp_path / "model.gguf", tmp_path / "out")
    config = read_model(tmp_path / "out")
    assert (config.layers, config.width, config.vocabulary) == (LAYERS, WIDTH, VOCABULARY)
    params = jax.tree.leaves(read_params(tmp_path / "out", build_model(config, mesh), mesh))
    assert count == sum(leaf.size for leaf in params) and all(leaf.dtype == np.float32 for leaf in params)
    done = [number for number, _ in told]
    assert done == sorted(done) and told[-1][0] == told[-1][1]


def test_a_folder_that_exists_is_left_as_it_is(tmp_path):
    (tmp_path / "out").mkdir()
    with pytest.raises(InputError, match="exists already; move it away"):
        convert(tmp_path / "model.gguf", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_what_fails_leaves_nothing(tmp_path):
    write(tmp_path / "model.gguf")
    (tmp_path / "model.gguf").write_bytes((tmp_path / "model.gguf").read_bytes()[:-999])
    with pytest.raises(InputError, match="cut off or damaged"):
        convert(tmp_path / "model.gguf", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["model.gguf"]


def test_a_folder_goes_before_the_hub(tmp_path):
    assert fetch_model(str(tmp_path)) == tmp_path


@pytest.mark.parametrize("name", ["nowhere", "./owner/model", "../owner", "/owner/model", "~/model", "a/b/c"])
def test_a_name_that_is_neither_folder_nor_repository_is_refused(name):
    with pytest.raises(InputError, match="it is no owner/model of the Hub either"):
        fetch_model(name)


def test_a_model_that_the_devices_can_not_hold_is_refused_before_it_is_read(tmp_path, monkeypatch):
    write(tmp_path / "model.gguf")
    monkeypatch.setattr("reasoning.core.mesh.memory_bytes", lambda mesh: 1000)
    with pytest.raises(InputError, match=r"stage convert: the model has [0-9,]+ parameters, .*the devices hold"):
        convert(tmp_path / "model.gguf", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["model.gguf"]


@pytest.mark.parametrize("name", ["tokenizer.model", "tokenizer.json", "model.json", "checkpoint/manifest.json"])
def test_a_converted_folder_that_lost_a_file_is_refused_with_its_name(tmp_path, name):
    write(tmp_path / "model.gguf")
    convert(tmp_path / "model.gguf", tmp_path / "out")
    if not (tmp_path / "out" / name).exists():
        return
    (tmp_path / "out" / name).unlink()
    with pytest.raises(InputError, match=f"damaged model: .*out/{name} does not exist; make it anew"):
        find(tmp_path / "out")
