import json
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors_folder import read_all

from reasoning.core.errors import InputError
from reasoning.core.mesh import MeshShape, build_mesh
from reasoning.models.formats.checkpoint_reader import import_checkpoint
from reasoning.models.formats.checkpoint_writer import export_checkpoint, write_weights
from reasoning.models.formats.families import read_config
from reasoning.models.formats.tensor_names import parts

GOLDEN = Path(__file__).parents[1] / "parity"
NAMES = sorted(path.parent.name for path in GOLDEN.glob("*/config.json"))


def one_device():
    return build_mesh(MeshShape(), jax.devices()[:1])


def loaded(name):
    config = read_config(GOLDEN / name)
    return config, import_checkpoint(GOLDEN / name, config, one_device(), "float32")


def random_params(config):
    """Parameters of any model, by the places and shapes of what they are read from."""
    random, params = np.random.default_rng(0), {}
    for path, several in parts(config).items():
        counts = tuple(np.max([part.place for part in several], axis=0).astype(int) + 1)
        at = params
        for name in path[:-1]:
            at = at.setdefault(name, {})
        at[path[-1]] = jnp.asarray(random.standard_normal(counts + several[0].tensor.part_shape, np.float32))
    return params


def same(ours, theirs):
    jax.tree.map(np.testing.assert_array_equal, ours, theirs)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_exported_is_tensor_by_tensor_what_transformers_saved(tmp_path, name):
    config, params = loaded(name)
    export_checkpoint(tmp_path / "out", config, params, "float32", {})
    written, saved = read_all(tmp_path / "out"), read_all(GOLDEN / name)
    assert written.keys() == saved.keys()
    for tensor, values in saved.items():
        np.testing.assert_array_equal(written[tensor], values, err_msg=tensor)


def test_an_export_is_read_back_to_the_last_bit_in_several_files(tmp_path):
    config, params = loaded("deepseek_v3")
    write_weights(tmp_path, config, params, "float32", 60_000)
    sizes = [path.stat().st_size for path in tmp_path.glob("*.safetensors")]
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    assert len(sizes) == 6 and max(sizes) < 60_000 + 10_000
    assert index["metadata"]["total_size"] == 4 * sum(leaf.size for leaf in jax.tree.leaves(params))
    same(import_checkpoint(tmp_path, config, one_device(), "float32"), params)


def test_weights_are_rounded_to_the_dtype_asked_for_except_the_routers_bias(tmp_path):
    config, params = loaded("deepseek_v3")
    params = jax.tree.map(lambda leaf: leaf + 1e-4, params)
    export_checkpoint(tmp_path / "out", config, params, "bfloat16", {})
    again = import_checkpoint(tmp_path / "out", config, one_device(), "float32")
    bias = params["stack_1"]["block_0"]["moe"].pop("router_bias")
    np.testing.assert_array_equal(again["stack_1"]["block_0"]["moe"].pop("router_bias"), bias)
    same(again, jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16).astype(jnp.float32), params))


def test_the_multi_token_layer_is_written_with_its_copies_and_passed_over_where_unwanted(tmp_path):
    config = replace(read_config(GOLDEN / "deepseek_v3"), multi_token=1)
    params = random_params(config)
    export_checkpoint(tmp_path / "out", config, params, "float32", {})
    written = read_all(tmp_path / "out")
    np.testing.assert_array_equal(written["model.layers.4.eh_proj.weight"].T, params["multi_token_0"]["projection"])
    np.testing.assert_array_equal(written["model.layers.4.embed_tokens.weight"], params["embedding"])
    np.testing.assert_array_equal(written["model.layers.4.shared_head.head.weight"].T, params["head"])
    same(import_checkpoint(tmp_path / "out", config, one_device(), "float32"), params)
    plain = replace(config, multi_token=0)
    del params["multi_token_0"]
    same(import_checkpoint(tmp_path / "out", plain, one_device(), "float32"), params)


def test_sharded_parameters_are_written_as_those_of_one_device(tmp_path):
    config = read_config(GOLDEN / "deepseek_v3")
    mesh = build_mesh(MeshShape(data=1, fsdp=2, tensor=2, expert=2))
    params = import_checkpoint(GOLDEN / "deepseek_v3", config, mesh, "float32")
    export_checkpoint(tmp_path / "out", config, params, "float32", {})
    written = read_all(tmp_path / "out")
    for tensor, values in read_all(GOLDEN / "deepseek_v3").items():
        np.testing.assert_array_equal(written[tensor], values, err_msg=tensor)


def test_config_holds_what_is_added_and_progress_ends_at_the_whole(tmp_path):
    config, params = loaded("qwen2")
    reports = []
    export_checkpoint(
        tmp_path / "out", config, params, "float32", {"eos_token_id": 7}, lambda *one: reports.append(one)
    )
    assert json.loads((tmp_path / "out" / "config.json").read_text())["eos_token_id"] == 7
    assert reports[-1][0] == reports[-1][1] == sum(leaf.size for leaf in jax.tree.leaves(params))
    assert [done for done, _ in reports] == sorted(done for done, _ in reports)


def test_an_export_that_fails_leaves_nothing_and_one_that_is_there_is_kept(tmp_path):
    config, params = loaded("qwen2")
    with pytest.raises(RuntimeError):
        export_checkpoint(tmp_path / "out", config, params, "float32", {}, lambda done, total: fail())
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "out").mkdir()
    with pytest.raises(InputError, match="exists already"):
        export_checkpoint(tmp_path / "out", config, params, "float32", {})


def fail():
    raise RuntimeError
