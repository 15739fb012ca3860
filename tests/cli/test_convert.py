"""The convert command, as it is typed."""

import json

import jax
import pytest
from gguf_file import write

from reasoning.cli.main import main
from reasoning.core.mesh import MeshShape, build_mesh
from reasoning.models.lora import LoRA
from reasoning.models.model import build_model, init_adapters, with_lora
from reasoning.stages.checkpoint import read_model, save_adapters


def test_a_gguf_file_becomes_a_folder_that_is_whole_or_absent(tmp_path, capsys):
    write(tmp_path / "model.gguf")
    out = tmp_path / "out"
    assert main(["convert", "gguf", str(tmp_path / "model.gguf"), str(out)]) == 0
    assert "parameters" in capsys.readouterr().out
    assert {"model.json", "checkpoint", "tokenizer.json"} <= {path.name for path in out.iterdir()}
    assert main(["convert", "gguf", str(tmp_path / "model.gguf"), str(out)]) == 2
    assert "exists already" in capsys.readouterr().err
    (tmp_path / "cut.gguf").write_bytes((tmp_path / "model.gguf").read_bytes()[:-999])
    assert main(["convert", "gguf", str(tmp_path / "cut.gguf"), str(tmp_path / "other")]) == 2
    assert "cut off or damaged" in capsys.readouterr().err
    assert {path.name for path in tmp_path.iterdir()} == {"model.gguf", "cut.gguf", "out"}


@pytest.mark.parametrize(
    ("name", "message"),
    [("no/such/folder", "no owner/model of the Hub"), ("owner/model@main", "could not fetch owner/model@main")],
)
def test_a_source_that_is_not_there_is_refused(tmp_path, capsys, monkeypatch, name, message):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert main(["convert", "hf", name, str(tmp_path / "out")]) == 2
    assert message in capsys.readouterr().err


def test_a_stage_is_exported_with_a_card_of_its_run(tmp_path, capsys):
    """The run starts from a model that was brought in, so that a family is like it."""
    write(tmp_path / "model.gguf")
    file, run, out = tmp_path / "run.gin", tmp_path / "run", tmp_path / "out"
    file.write_text(
        f"base = @stages.Pretrained\nbase.path = '{tmp_path}/model.gguf'\n"
        "run = @pipeline.Run\nrun.stages = (base,)\nrun.cpu_devices = 8\n"
    )
    assert main(["run", str(file), "--out", str(run)]) == 0
    capsys.readouterr()
    assert main(["convert", "export", f"{run}/base", str(out), "--chat", "smollm_2", "--dtype", "bfloat16"]) == 0
    assert "holds a llama model in bfloat16" in capsys.readouterr().out
    card = (out / "README.md").read_text()
    assert "stage base of the run run" in card and "model.gguf" in card
    assert {"model.safetensors", "tokenizer.json", "chat_template.jinja"} <= {path.name for path in out.iterdir()}
    assert main(["convert", "export", f"{run}/base", str(out)]) == 2
    assert "exists already" in capsys.readouterr().err


def test_an_export_in_which_nothing_names_an_end_says_so(tmp_path, capsys):
    write(tmp_path / "model.gguf", fields={"tokenizer.ggml.eos_token_id": None})
    assert main(["convert", "export", str(tmp_path / "model.gguf"), str(tmp_path / "out")]) == 0
    assert "names an end of a text, so replies go on to their limit" in " ".join(capsys.readouterr().out.split())


def test_what_lora_trained_is_exported_as_an_adapter_of_its_base(tmp_path, capsys):
    write(tmp_path / "model.gguf")
    model, out = tmp_path / "model", tmp_path / "adapter"
    assert main(["convert", "gguf", str(tmp_path / "model.gguf"), str(model)]) == 0
    words = ["convert", "export", str(model), str(out), "--adapter-of", "owner/base"]
    assert main(words) == 2
    assert "name an artifact of a stage that trained by LoRA" in capsys.readouterr().err
    lora, mesh = LoRA(rank=2, alpha=4.0, targets=("query", "down")), build_mesh(MeshShape())
    adapted = with_lora(build_model(read_model(model), mesh), lora)
    save_adapters(model, lora, init_adapters(adapted, mesh, jax.random.key(0)), "start")
    assert main(words) == 0
    described = json.loads((out / "adapter_config.json").read_text())
    assert (described["r"], described["base_model_name_or_path"]) == (2, "owner/base")
    assert set(described["target_modules"]) == {"q_proj", "down_proj"}


@pytest.mark.parametrize("flags", [["--dtype", "bfloat16"], ["--chat", "smollm_2"], ["--adapter-of", "a/b"]])
def test_what_belongs_to_exports_is_refused_where_a_model_comes_in(tmp_path, capsys, flags):
    assert main(["convert", "gguf", str(tmp_path / "model.gguf"), str(tmp_path / "out"), *flags]) == 2
    assert "belong to convert export" in capsys.readouterr().err
