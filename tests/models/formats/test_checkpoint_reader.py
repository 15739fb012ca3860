import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors_folder import read_all, write_file

from reasoning.core.errors import InputError
from reasoning.core.mesh import MeshShape, build_mesh
from reasoning.models.config import BlockKind, MoE, Stack
from reasoning.models.formats.checkpoint_reader import import_checkpoint, open_checkpoint
from reasoning.models.formats.families import read_config
from reasoning.models.formats.tensor_names import parts
from reasoning.models.model import build_model, parameter_shardings

GOLDEN = Path(__file__).parents[1] / "parity"


def one_device():
    return build_mesh(MeshShape(), jax.devices()[:1])


def changed(tmp_path, name, change):
    """A copy of a golden checkpoint in one file, of whose tensors ``change`` makes others; and its config."""
    tensors = read_all(GOLDEN / name)
    change(tensors)
    write_file(tmp_path / "model.safetensors", tensors)
    return tmp_path, read_config(GOLDEN / name)


@pytest.mark.parametrize("name", ["deepseek_v3", "gemma3", "qwen3_moe", "olmo2"])
@pytest.mark.parametrize("shape", [{"fsdp": 2, "tensor": 2, "expert": 2}, {"data": 2, "fsdp": 4}])
def test_shards_on_eight_devices_hold_the_single_devices_values_by_the_models_rules(name, shape):
    config = read_config(GOLDEN / name)
    mesh = build_mesh(MeshShape(**{"data": 1, **shape}))
    sharded = import_checkpoint(GOLDEN / name, config, mesh, "float32")
    jax.tree.map(
        lambda ours, place: np.testing.assert_equal(ours.sharding, place),
        sharded,
        parameter_shardings(build_model(config), mesh),
    )
    jax.tree.map(
        np.testing.assert_array_equal, sharded, import_checkpoint(GOLDEN / name, config, one_device(), "float32")
    )


def test_weights_are_cast():
    config = read_config(GOLDEN / "olmo2")
    wide = import_checkpoint(GOLDEN / "olmo2", config, one_device(), "float32")
    narrow = import_checkpoint(GOLDEN / "olmo2", config, one_device(), "bfloat16")
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a.astype(jnp.bfloat16), b), wide, narrow)


def test_progress_rises_to_the_whole():
    reports = []
    config = read_config(GOLDEN / "llama3")
    params = import_checkpoint(GOLDEN / "llama3", config, one_device(), "float32", lambda *one: reports.append(one))
    assert reports[-1] == (sum(leaf.nbytes for leaf in jax.tree.leaves(params)),) * 2
    assert len(reports) == len(jax.tree.leaves(params))


def test_all_that_is_wrong_with_names_and_shapes_is_listed_before_anything_is_read(tmp_path):
    def change(tensors):
        tensors["model.layers.0.mlp.gate_proj.bias"] = tensors.pop("model.layers.1.mlp.up_proj.weight")
        tensors["model.norm.weight"] = np.full((31,), np.nan, np.float32)

    with pytest.raises(InputError) as caught:
        open_checkpoint(*changed(tmp_path, "llama3", change))
    assert "missing: model.layers.1.mlp.up_proj.weight" in str(caught.value)
    assert "not of this model: model.layers.0.mlp.gate_proj.bias" in str(caught.value)
    assert "of another shape: model.norm.weight ([31], expected [32])" in str(caught.value)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite_are_refused_by_name(tmp_path, value):
    def change(tensors):
        tensors["model.layers.2.mlp.down_proj.weight"][5, 7] = value

    folder, config = changed(tmp_path, "qwen3", change)
    with pytest.raises(InputError, match=r"model\.layers\.2\.mlp\.down_proj\.weight holds NaN or infinity"):
        import_checkpoint(folder, config, one_device(), "float32")


def test_a_head_beside_a_tied_embedding_must_equal_it(tmp_path):
    def repeat(tensors):
        tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].copy()

    def differ(tensors):
        repeat(tensors)
        tensors["lm_head.weight"][3, 3] += 1

    assert "head" not in import_checkpoint(*changed(tmp_path, "qwen2", repeat), one_device(), "float32")
    with pytest.raises(InputError, match="unlike the embedding"):
        open_checkpoint(*changed(tmp_path, "qwen2", differ))


@pytest.mark.parametrize("prefix", ["language_model.", "model.language_model."])
def test_the_text_decoder_of_a_multimodal_gemma_is_found_under_its_prefix(tmp_path, prefix):
    def wrap(tensors):
        for name in list(tensors):
            tensors[prefix + (name if prefix == "language_model." else name.removeprefix("model."))] = tensors.pop(name)
        tensors["vision_tower.vision_model.embeddings.patch_embedding.bias"] = np.zeros(3, np.float32)

    found = import_checkpoint(*changed(tmp_path, "gemma3", wrap), one_device(), "float32")
    plain = import_checkpoint(GOLDEN / "gemma3", read_config(GOLDEN / "gemma3"), one_device(), "float32")
    jax.tree.map(np.testing.assert_array_equal, found, plain)


def test_a_tensor_under_two_prefixes_is_refused(tmp_path):
    def repeat(tensors):
        tensors["language_model.model.norm.weight"] = tensors["model.norm.weight"].copy()

    with pytest.raises(InputError, match="model.norm.weight twice"):
        open_checkpoint(*changed(tmp_path, "gemma3", repeat))


def test_frequencies_that_old_checkpoints_hold_are_passed_over(tmp_path):
    def add(tensors):
        tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = np.zeros(4, np.float32)

    open_checkpoint(*changed(tmp_path, "llama3", add))


def test_a_model_that_no_checkpoint_can_hold_is_refused_by_its_leaf():
    config = replace(read_config(GOLDEN / "llama3"), learned_positions=True)
    with pytest.raises(InputError, match="nothing for positions"):
        import_checkpoint(GOLDEN / "llama3", config, one_device(), "float32")


MEASURE = """
import json, resource, sys, threading, time
from pathlib import Path
import jax
jax.config.update("jax_platforms", "cpu")
import jax.numpy as jnp
from reasoning.core.mesh import MeshShape, build_mesh
from reasoning.models.formats.families import read_config
from reasoning.models.formats.checkpoint_reader import import_checkpoint
from reasoning.models.model import build_model

folder, golden = Path(sys.argv[1]), Path(sys.argv[2])
mesh = build_mesh(MeshShape(), jax.devices()[:1])

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()

import_checkpoint(golden, read_config(golden), mesh, "float32")  # what libraries take at their first use
config, peak, done = read_config(folder), [0], threading.Event()

def watch():
    while not done.is_set():
        peak[0] = max(peak[0], resident())
        time.sleep(0.0005)

watcher = threading.Thread(target=watch)
before = resident()
watcher.start()
params = import_checkpoint(folder, config, mesh, "float32")
final = resident()
done.set()
watcher.join()
print(json.dumps({
    "grown": final - before,
    "over": max(peak[0], final) - final,
    "largest": max(leaf.nbytes for leaf in jax.tree.leaves(params)),
    "total": sum(leaf.nbytes for leaf in jax.tree.leaves(params)),
}))
"""

LARGE = {
    "model_type": "qwen3",
    "vocab_size": 8192,
    "hidden_size": 512,
    "intermediate_size": 2048,
    "num_hidden_layers": 12,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 64,
    "tie_word_embeddings": True,
}


@pytest.mark.slow
def test_no_more_than_the_largest_leaf_is_held_beside_what_stays(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(LARGE))
    config = read_config(tmp_path)
    random = np.random.default_rng(0)
    names = {part.tensor.name: part.tensor.shape for several in parts(config).values() for part in several}
    write_file(
        tmp_path / "model.safetensors",
        {name: random.standard_normal(shape, np.float32).astype(jnp.bfloat16) for name, shape in names.items()},
    )
    command = [sys.executable, "-c", MEASURE, str(tmp_path), str(GOLDEN / "qwen3")]
    measured = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert measured["total"] > 170e6
    assert measured["grown"] > 0.95 * measured["total"], measured
    assert measured["over"] <= 1.1 * measured["largest"], measured


def test_more_experts_than_the_files_hold_tensors_are_refused_before_any_is_listed():
    config = read_config(GOLDEN / "qwen3_moe")
    sparse = BlockKind(moe=MoE(experts=2**30, active=1, mlp_width=1))
    with pytest.raises(InputError, match=r"describes [0-9,]+ experts in all layers, and the files hold"):
        open_checkpoint(GOLDEN / "qwen3_moe", replace(config, stacks=(Stack(1, (sparse,)),)))
