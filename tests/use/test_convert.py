"""Models from elsewhere: found in a folder or on the Hub, and written as a folder that is whole or absent."""

from dataclasses import replace

import jax
import numpy as np
import pytest
import tiny_stages
from gguf_file import LAYERS, VOCABULARY, WIDTH, write

from reasoning.core.errors import InputError
from reasoning.core.hashes import hash_tree
from reasoning.core.mesh import MeshShape, build_mesh
from reasoning.models.model import build_model
from reasoning.pipeline.folder import Entry, write_run
from reasoning.stages.checkpoint import read_model, read_params, tokenizer_of
from reasoning.stages.pretrained import find
from reasoning.training.preemption import Interrupted
from reasoning.use.convert import convert_model, convert_step, fetch_model


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


def test_a_step_that_a_stage_keeps_comes_out_alone_whether_it_is_at_work_or_has_finished(corpus, tmp_path):
    def entry(finished):
        write_run(run, [Entry("base", "artifacts/base-1", "1", finished)])

    run, stage, mesh = tmp_path / "run", replace(tiny_stages.BASE, steps=4), build_mesh(MeshShape(), jax.devices()[:1])
    at_work = run / "artifacts" / ".base-1.partial"
    at_work.mkdir(parents=True)
    entry(finished=False)
    with pytest.raises(Interrupted):
        stage.run({"data": corpus}, at_work, tiny_stages.Surroundings(stop_at=2).context())
    convert_step(f"{run}/base@2", tmp_path / "two", mesh)
    left = stage.run({"data": corpus}, at_work, tiny_stages.Surroundings().context())
    at_work.rename(run / "artifacts" / "base-1")
    entry(finished=True)
    count = convert_step(f"{run}/base@4", tmp_path / "four", mesh)
    two, four = (find(tmp_path / name) for name in ("two", "four"))
    params = [found.load(build_model(found.config, mesh), mesh, lambda done, total: None) for found in (two, four)]
    assert hash_tree(params[1]) == left.array_hash != hash_tree(params[0])
    assert count == sum(leaf.size for leaf in jax.tree.leaves(params[1]))
    assert two.tokenizer.encode("1+1") == tokenizer_of(corpus).encode("1+1")
    arrays = max((run / "artifacts/base-1/checkpoints/step_00000002").rglob("*"), key=lambda path: path.stat().st_size)
    arrays.write_bytes(arrays.read_bytes()[:-1])
    for name, told in {
        f"{run}/base@3": "doesn't keep step 3; kept are 2, 4",
        f"{run}/base@2": "damaged checkpoint: .* has .* bytes, .* were written",
        f"{run}/zero@2": "has no stage 'zero'; there are base",
        f"{run}/base": "names no step; write RUN/STAGE@STEP",
    }.items():
        with pytest.raises(InputError, match=told):
            convert_step(name, tmp_path / "none", mesh)
    assert not (tmp_path / "none").exists()


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
