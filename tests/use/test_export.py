"""An exported folder holds the model that it was made from, whole, or isn't there."""

import json
from dataclasses import replace
from pathlib import Path

import gguf_file
import jax
import numpy as np
import pytest
from tiny_run import write_tiny_run

from reasoning.core.errors import InputError
from reasoning.core.mesh import MeshShape, build_mesh
from reasoning.data.tokenizers.transformers_files import transformers_files
from reasoning.models.formats.checkpoint_reader import silent
from reasoning.models.model import build_model
from reasoning.stages.pretrained import find
from reasoning.use.export import _CARD, export, plan_export
from reasoning.use.find_model import locate_model

FILES = {
    "artifact.json",
    "chat_template.jinja",
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "tokenizer.json",
}


@pytest.fixture
def gguf(tmp_path: Path) -> Path:
    gguf_file.write(tmp_path / "model.gguf")
    return tmp_path / "model.gguf"


def leaves(path: Path):
    found, mesh = find(path), build_mesh(MeshShape())
    return jax.tree.leaves(found.load(build_model(found.config, mesh), mesh, silent))


def test_what_is_exported_is_read_back_equal_with_everything_beside(gguf: Path, tmp_path: Path):
    out = tmp_path / "out"
    exported = plan_export(locate_model(str(gguf), "smollm_2"), out, "float32")
    export(exported, out, "# a card", build_mesh(MeshShape()), silent)
    assert {path.name for path in out.iterdir()} == FILES | {_CARD, "tokenizer_config.json"}
    assert find(out).config == find(gguf).config and (out / _CARD).read_text() == "# a card"
    for ours, theirs in zip(leaves(gguf), leaves(out), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    config = json.loads((out / "config.json").read_text())
    assert config["eos_token_id"] == [2, 0] and config["pad_token_id"] == 2 and config["torch_dtype"] == "float32"


def test_an_export_that_breaks_off_leaves_nothing(gguf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    out = tmp_path / "out"
    exported = plan_export(locate_model(str(gguf), "smollm_2"), out, "bfloat16")

    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device", "README.md")

    monkeypatch.setattr("reasoning.use.export.write_atomic", full)
    with pytest.raises(InputError, match="could not write .*out: .*No space left"):
        export(exported, out, "# a card", build_mesh(MeshShape()), silent)
    assert [path.name for path in tmp_path.iterdir()] == ["model.gguf"]


def test_what_can_not_be_exported_is_refused_before_anything_is_read(gguf: Path, corpus, base, tmp_path: Path):
    with pytest.raises(InputError, match="exists already"):
        plan_export(locate_model(str(gguf), "smollm_2"), tmp_path, "float32")
    with pytest.raises(InputError, match="no single id for '<bos>'"):
        plan_export(locate_model(str(gguf), "gemma"), tmp_path / "out", "float32")
    run = write_tiny_run(tmp_path / "run", corpus, base)
    with pytest.raises(InputError, match="learned_positions = True"):
        plan_export(locate_model(f"{run}/base"), tmp_path / "out", "float32")


def test_a_model_that_the_devices_can_not_hold_is_refused_before_it_is_read(gguf: Path, tmp_path: Path, monkeypatch):
    exported = plan_export(locate_model(str(gguf), "smollm_2"), tmp_path / "out", "float32")
    monkeypatch.setattr("reasoning.core.mesh.memory_bytes", lambda mesh: 1000)
    with pytest.raises(InputError, match=r"model.gguf: the model has [0-9,]+ parameters, .*the devices hold"):
        export(exported, tmp_path / "out", "# a card", build_mesh(MeshShape()), silent)
    assert not (tmp_path / "out").exists()


def test_templates_of_several_names_are_files_of_the_export(gguf: Path, tmp_path: Path):
    config = json.dumps({"chat_template": [{"name": name, "template": name} for name in ("default", "tool_use")]})
    planned = plan_export(locate_model(str(gguf)), tmp_path / "out", "float32")
    tokenizer = replace(planned.pretrained.tokenizer, config=config)
    planned = replace(planned, beside=transformers_files(tokenizer, None, 32))
    export(planned, tmp_path / "out", "# a card", build_mesh(MeshShape()), silent)
    assert (tmp_path / "out/additional_chat_templates/tool_use.jinja").read_text() == "tool_use"
    assert json.loads(find(tmp_path / "out").tokenizer.config)["chat_template"] == json.loads(config)["chat_template"]
