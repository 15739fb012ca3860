"""Adapters as PEFT stores them: added to a checkpoint's own tensors they give the merged model.

The files were also loaded by peft 0.21 onto transformers 5.24's models of eight families, with the same logits to 1e-5.
"""

import json
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors_folder import read_all, read_file, write_file

from reasoning.core.errors import InputError
from reasoning.core.mesh import MeshShape, build_mesh
from reasoning.models.formats.checkpoint_reader import import_checkpoint
from reasoning.models.formats.families import read_config
from reasoning.models.formats.peft import export_adapters
from reasoning.models.lora import LoRA, adapters_of, merge_adapters, with_adapters
from reasoning.models.model import build_model, with_lora

GOLDEN = Path(__file__).parents[1] / "parity"
MESH = build_mesh(MeshShape(), jax.devices()[:1])
LATENT = ("query_down", "query_up", "latent_down", "rotary_key", "key_up", "value_up", "output")


def adapters(name, lora):
    """Random adapters of both kinds of matrices for a small model of this family."""
    config = read_config(GOLDEN / name)
    shapes = adapters_of(with_lora(build_model(config, MESH), lora).shapes)
    random = np.random.default_rng(0)
    return config, jax.tree.map(lambda leaf: jnp.asarray(random.standard_normal(leaf.shape, np.float32)), shapes)


def with_added(name, exported, folder):
    """The family's checkpoint with the product of each pair of exported matrices added, by PEFT's rule."""
    described = json.loads((exported / "adapter_config.json").read_text())
    tensors, narrow = read_all(GOLDEN / name), read_file(exported / "adapter_model.safetensors")
    names = {tensor.removesuffix(".lora_A.weight") for tensor in narrow if tensor.endswith(".lora_A.weight")}
    for module in names:
        plain = module.removeprefix("base_model.model.")
        rank = described["rank_pattern"].get(plain, described["r"])
        scale = described["alpha_pattern"].get(plain, described["lora_alpha"]) / rank
        down, up = narrow[f"{module}.lora_A.weight"], narrow[f"{module}.lora_B.weight"]
        assert down.shape[0] == up.shape[1] == rank
        assert plain.rsplit(".", 1)[1] in described["target_modules"]
        tensors[f"{plain}.weight"] = np.float32(tensors[f"{plain}.weight"] + scale * np.float64(up) @ down)
    folder.mkdir()
    shutil.copy(GOLDEN / name / "config.json", folder)
    write_file(folder / "model.safetensors", tensors)
    return len(names)


@pytest.mark.parametrize(
    ("name", "targets", "modules"),
    [
        ("llama3", (), 21),
        ("qwen2", ("value", "output", "down"), 9),
        ("deepseek_v3", LATENT, 15),
        ("deepseek_v3", ("latent_down", "value_up"), 6),
        ("deepseek_v3_plain", ("query", "rotary_key"), 6),
    ],
)
def test_added_to_the_tensors_of_a_checkpoint_they_give_the_merged_model(tmp_path, name, targets, modules):
    lora = LoRA(3, 4.5, targets)
    config, low = adapters(name, lora)
    export_adapters(tmp_path / "adapter", config, lora, low, "a/model")
    layers = config.layers
    assert with_added(name, tmp_path / "adapter", tmp_path / "added") == modules // 3 * layers
    base = import_checkpoint(GOLDEN / name, config, MESH, "float32")
    added = import_checkpoint(tmp_path / "added", config, MESH, "float32")
    jax.tree.map(
        lambda one, other: np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5),
        added,
        merge_adapters(lora, with_adapters(base, low)),
    )


def test_the_settings_are_those_that_peft_reads(tmp_path):
    lora = LoRA(4, 8.0, ("query", "down"))
    config, low = adapters("llama3", lora)
    export_adapters(tmp_path / "adapter", config, lora, low, "meta/llama")
    described = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert described["peft_type"] == "LORA" and described["task_type"] == "CAUSAL_LM"
    assert described["base_model_name_or_path"] == "meta/llama"
    assert (described["r"], described["lora_alpha"], described["lora_dropout"]) == (4, 8, 0.0)
    assert described["target_modules"] == ["down_proj", "q_proj"]
    assert "model.layers.1.mlp.down_proj.lora_B.weight" in {
        name.removeprefix("base_model.model.") for name in read_file(tmp_path / "adapter" / "adapter_model.safetensors")
    }


def test_what_peft_would_take_for_experts_is_refused_and_an_existing_folder_too(tmp_path):
    config, low = adapters("deepseek_v3", LoRA(2, 2.0))
    with pytest.raises(InputError, match="peft can't hold adapters of MLPs in a model with experts"):
        export_adapters(tmp_path / "adapter", config, LoRA(2, 2.0), low, "a/model")
    (tmp_path / "there").mkdir()
    with pytest.raises(InputError, match="there exists already"):
        export_adapters(tmp_path / "there", config, LoRA(2, 2.0), low, "a/model")
