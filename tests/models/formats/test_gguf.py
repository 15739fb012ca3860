"""GGUF files written here with the gguf package's own writer, read back as parameters."""

from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from gguf_file import HEADS, KEY_HEADS, MLP, WIDTH, write

from reasoning.core.errors import InputError
from reasoning.core.mesh import MeshShape, build_mesh
from reasoning.models.config import Rope
from reasoning.models.formats.gguf import GGUF, config_of, half_split, import_gguf, open_gguf, their_name


def read(path: Path) -> tuple[GGUF, Any]:
    file = open_gguf(path)
    return file, import_gguf(file, config_of(file), build_mesh(MeshShape(), jax.devices()[:1]))


@pytest.mark.parametrize("kind", ["F32", "F16", "Q8_0", "Q4_1"])
def test_weights_are_what_the_file_stands_for_laid_out_as_ours(tmp_path, kind):
    held = write(tmp_path / "model.gguf", kind)
    file, params = read(tmp_path / "model.gguf")
    config = config_of(file)
    assert (config.width, config.heads, config.kv_heads, config.mlp_width, config.tied) == (
        WIDTH,
        HEADS,
        KEY_HEADS,
        MLP,
        True,
    )
    assert (config.rope.base, config.norm_epsilon, config.context) == (5000.0, 1e-5, 32)
    block = params["stack_0"]["block_0"]
    np.testing.assert_array_equal(params["embedding"], held["token_embd.weight"])
    np.testing.assert_array_equal(block["mlp"]["down"][1], held["blk.1.ffn_down.weight"].T)
    value = held["blk.1.attn_v.weight"].reshape(KEY_HEADS, -1, WIDTH)
    np.testing.assert_array_equal(block["attention"]["value"][1], value.transpose(2, 0, 1))
    # Row 2 i of a head turns with row 2 i + 1 in the file, row i with row i + half here.
    query = held["blk.0.attn_q.weight"].reshape(HEADS, WIDTH // HEADS, WIDTH)
    halves = np.concatenate([query[:, 0::2], query[:, 1::2]], axis=1)
    np.testing.assert_array_equal(block["attention"]["query"][0], halves.transpose(2, 0, 1))


def test_half_split_undoes_the_interleaving_of_llama_cpps_converter():
    rows = np.arange(24).reshape(12, 2)
    interleaved = rows.reshape(2, 2, 3, 2).swapaxes(1, 2).reshape(12, 2)  # as llama.cpp's converter permutes
    np.testing.assert_array_equal(half_split(interleaved, 2), rows)


def test_names_become_hugging_faces():
    assert their_name("blk.7.ffn_gate.weight") == "model.layers.7.mlp.gate_proj.weight"
    assert their_name("output.weight") == "lm_head.weight"


def test_missing_and_misshapen_tensors_are_listed_before_anything_is_read(tmp_path):
    write(tmp_path / "model.gguf", blk_0_ffn_up_weight=None, blk_1_ffn_up_weight=np.zeros((MLP, 32), np.float32))
    with pytest.raises(InputError, match=r"missing: model.layers.0.mlp.up_proj.weight.*shape: model.layers.1.mlp.up"):
        read(tmp_path / "model.gguf")


def test_values_that_are_not_finite_are_refused(tmp_path):
    write(tmp_path / "model.gguf", blk_1_ffn_up_weight=np.full((MLP, WIDTH), np.nan, np.float32))
    with pytest.raises(InputError, match=r"blk.1.ffn_up.weight holds NaN"):
        read(tmp_path / "model.gguf")


def test_what_is_no_gguf_file_of_a_known_model_is_refused(tmp_path):
    (tmp_path / "text.gguf").write_text("hello, this is no model")
    with pytest.raises(InputError, match="no GGUF file"):
        open_gguf(tmp_path / "text.gguf")
    write(tmp_path / "odd.gguf", architecture="mamba")
    with pytest.raises(InputError, match="architecture 'mamba'"):
        open_gguf(tmp_path / "odd.gguf")
    with pytest.raises(InputError, match="could not read"):
        open_gguf(tmp_path / "absent.gguf")


def test_a_file_that_was_cut_off_is_refused(tmp_path):
    write(tmp_path / "model.gguf")
    whole = (tmp_path / "model.gguf").read_bytes()
    for share in (0.02, 0.6, 0.99):
        (tmp_path / "cut.gguf").write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(InputError, match="cut off or damaged"):
            read(tmp_path / "cut.gguf")


def config_with(tmp_path: Path, **fields: Any):
    """The config of a file whose metadata have these values; ``__`` stands for a point."""
    write(tmp_path / "odd.gguf", fields={f"llama.{name.replace('__', '.')}": value for name, value in fields.items()})
    return config_of(open_gguf(tmp_path / "odd.gguf"))


@pytest.mark.parametrize("fields", [{"rope__scaling__factor": 4.0}, {"rope__scale_linear": 4.0}])
def test_a_factor_without_a_type_divides_positions_as_in_llama_cpp(tmp_path, fields):
    assert config_with(tmp_path, **fields).rope == Rope(5000.0, "linear", 4.0)
    assert config_with(tmp_path, **fields, rope__scaling__type="linear").rope == Rope(5000.0, "linear", 4.0)


def test_settings_that_change_nothing_are_read(tmp_path):
    plain = {
        "rope__scaling__type": "none",
        "rope__scaling__factor": 1.0,
        "rope__dimension_count": WIDTH // HEADS,
        "attention__sliding_window": 32,
        "attention__value_length": WIDTH // HEADS,
        "expert_count": 0,
    }
    assert config_with(tmp_path, **plain) == config_with(tmp_path)


@pytest.mark.parametrize(
    ("name", "value", "match"),
    [
        ("rope.scaling.type", "yarn", "only linear scaling"),
        ("rope.scaling.attn_factor", 2.0, "rope.scaling.attn_factor is 2.0"),
        ("rope.scaling.factor", float("nan"), "rope.scaling.factor is nan, expected a number above 0"),
        ("rope.dimension_count", WIDTH // HEADS // 2, "rope.dimension_count is 8, and only 16"),
        ("rope.freq_base", 0.0, "rope.freq_base is 0.0, expected a number"),
        ("rope.freq_base", float("nan"), "rope.freq_base is nan"),
        ("attention.sliding_window", 16, "sliding_window is 16, below the context of 32"),
        ("attention.value_length", 8, "value_length is 8"),
        ("attention.layer_norm_rms_epsilon", float("nan"), "layer_norm_rms_epsilon is nan"),
        ("attention.layer_norm_rms_epsilon", float("inf"), "layer_norm_rms_epsilon is inf"),
        ("attention.layer_norm_rms_epsilon", None, "no field llama.attention.layer_norm_rms_epsilon"),
        ("attention.head_count", 0, "head_count is 0, expected a whole number"),
        ("attention.head_count", [4, 4], r"head_count is \[4, 4\], expected a whole number"),
        ("attention.head_count_kv", 0, "head_count_kv is 0"),
        ("block_count", 0, "block_count is 0"),
        ("block_count", 10**6, "1,000,000 blocks; at most"),
        ("embedding_length", 0, "embedding_length is 0"),
        ("feed_forward_length", 0, "feed_forward_length is 0"),
        ("context_length", 0, "context_length is 0"),
        ("context_length", 2**32 - 1, "context_length is 4294967295"),
        ("context_length", "32", "context_length is '32'"),
        ("expert_count", 8, "expert_count is 8, and only 0"),
        ("rope.scaling.type", b"\xff\xfe", "rope.scaling.type is damaged"),
    ],
)
def test_settings_that_make_no_sense_or_would_be_ignored_are_refused_by_name(tmp_path, name, value, match):
    with pytest.raises(InputError, match=match) as refused:
        config_with(tmp_path, **{name.replace(".", "__"): value})
    assert str(refused.value).startswith(str(tmp_path / "odd.gguf")) and "\n" not in str(refused.value)


def test_a_file_without_an_embedding_and_names_without_a_point_are_refused(tmp_path):
    write(tmp_path / "model.gguf", token_embd_weight=None)
    with pytest.raises(InputError, match=r"no token_embd.weight of two axes"):
        config_of(open_gguf(tmp_path / "model.gguf"))
    for name in ("token_embd", "blk.attn_q.weight", "blk.00.attn_q.weight", "", "...", "output.weight.weight"):
        assert their_name(name) == name
