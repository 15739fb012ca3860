"""Weights in FP8 and MXFP4 against float64, from the formats' descriptions."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors_folder import read_all, write_file, write_index

from reasoning.core.errors import InputError
from reasoning.core.mesh import MeshShape, build_mesh
from reasoning.models.formats.checkpoint_reader import import_checkpoint
from reasoning.models.formats.families import read_config
from reasoning.models.formats.quantised import dequantised, values_of
from reasoning.models.formats.safetensors import read_folder

GOLDEN = Path(__file__).parents[1] / "parity"
BLOCK = 128


def fp8(shape, seed=0):
    """Random float8 numbers, and a scale for each block of them."""
    random = np.random.default_rng(seed)
    numbers = (100 * random.normal(size=shape)).astype(jnp.float8_e4m3fn)
    return numbers, random.uniform(1e-3, 1e-2, size=[-(-size // BLOCK) for size in shape]).astype(np.float32)


def by_hand(numbers, scales):
    """Each number times the scale of its block, float64."""
    out = numbers.astype(np.float64)
    for row, column in np.ndindex(*out.shape):
        out[row, column] *= np.float64(scales[row // BLOCK, column // BLOCK])
    return out


def four_bits(code):
    """A sign, two bits of exponent and one of mantissa (Microscaling Formats 1.0, section 5.3.3)."""
    exponent, mantissa = code >> 1 & 3, code & 1
    size = mantissa / 2 if exponent == 0 else 2.0 ** (exponent - 1) * (1 + mantissa / 2)
    return -size if code & 8 else size


def mxfp4_by_hand(blocks, scales):
    """[E, R, G, 16] and [E, R, G] as [E, 32 G, R], float64."""
    experts, rows, groups, _ = blocks.shape
    out = np.empty((experts, 32 * groups, rows))
    for expert, row, group, place in np.ndindex(*blocks.shape):
        both = int(blocks[expert, row, group, place])
        for half, code in enumerate((both & 15, both >> 4)):
            exponent = int(scales[expert, row, group]) - 127
            out[expert, 32 * group + 2 * place + half, row] = four_bits(code) * 2.0**exponent
    return out


def read(folder, name, step):
    """A whole tensor, so many rows at a time."""
    tensor = dequantised(folder, read_folder(folder))[name]
    count = tensor.shape[0]
    pieces = [
        np.array(values_of(tensor, range(start, min(start + step, count)), np.empty(2**21, np.uint8)))
        for start in range(0, count, step)
    ]
    return np.concatenate(pieces)


@pytest.mark.parametrize("shape", [(300, 200), (128, 256), (1, 1), (129, 127)])
@pytest.mark.parametrize("step", [1000, 100])
def test_float8_times_the_scale_of_its_block_also_at_the_edges_and_by_parts(tmp_path, shape, step):
    numbers, scales = fp8(shape)
    write_file(tmp_path / "model.safetensors", {"a.weight": numbers, "a.weight_scale_inv": scales})
    np.testing.assert_allclose(read(tmp_path, "a.weight", step), by_hand(numbers, scales), rtol=1e-7)


def test_numbers_and_scales_may_lie_in_two_files(tmp_path):
    numbers, scales = fp8((130, 40))
    write_file(tmp_path / "x.safetensors", {"a.weight": numbers})
    write_file(tmp_path / "y.safetensors", {"a.weight_scale_inv": scales.astype(jnp.bfloat16)})
    write_index(tmp_path, {"a.weight": "x.safetensors", "a.weight_scale_inv": "y.safetensors"})
    wanted = by_hand(numbers, scales.astype(jnp.bfloat16).astype(np.float64))
    np.testing.assert_allclose(read(tmp_path, "a.weight", 50), wanted, rtol=1e-7)


def test_four_bits_times_a_power_of_two(tmp_path):
    random = np.random.default_rng(0)
    blocks = random.integers(0, 256, size=(3, 6, 2, 16), dtype=np.uint8)
    scales = random.integers(0, 255, size=(3, 6, 2), dtype=np.uint8)
    write_file(tmp_path / "model.safetensors", {"a_blocks": blocks, "a_scales": scales})
    np.testing.assert_array_equal(read(tmp_path, "a", 2), mxfp4_by_hand(blocks, scales).astype(np.float32))


def without_scale(tensors):
    del tensors["a.weight_scale_inv"]


def without_numbers(tensors):
    del tensors["a.weight"]


def plain_numbers(tensors):
    tensors["a.weight"] = tensors["a.weight"].astype(np.float32)


def one_scale_short(tensors):
    tensors["a.weight_scale_inv"] = tensors["a.weight_scale_inv"][:, :1]


def whole_scales(tensors):
    tensors["a.weight_scale_inv"] = tensors["a.weight_scale_inv"].astype(np.uint8)


def bytes_alone(tensors):
    tensors["b_blocks"] = np.zeros((1, 1, 1, 16), np.uint8)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (without_scale, "float8 without their scales: a.weight"),
        (without_numbers, "scales without their float8: a.weight_scale_inv"),
        (plain_numbers, "scales without their float8: a.weight_scale_inv"),
        (one_scale_short, r"with scales that don't fit: a.weight \(\[130, 140\] and \[2, 1\]"),
        (whole_scales, r"with scales that don't fit: a.weight .* uint8"),
        (bytes_alone, "U8 and not both blocks and scales: b_blocks"),
    ],
)
def test_what_does_not_belong_together_is_one_error_before_anything_is_read(tmp_path, change, words):
    numbers, scales = fp8((130, 140))
    tensors = {"a.weight": numbers, "a.weight_scale_inv": scales}
    change(tensors)
    write_file(tmp_path / "model.safetensors", tensors)
    with pytest.raises(InputError, match=words):
        dequantised(tmp_path, read_folder(tmp_path))


@pytest.mark.parametrize("value", [np.nan, np.inf, -1.0])
def test_scales_that_are_none_are_refused_by_name(tmp_path, value):
    numbers, scales = fp8((130, 140))
    scales[1, 1] = value
    write_file(tmp_path / "model.safetensors", {"a.weight": numbers, "a.weight_scale_inv": scales})
    with pytest.raises(InputError, match="scales of a.weight are not all finite"):
        read(tmp_path, "a.weight", 200)


def imported(folder, config):
    mesh = build_mesh(MeshShape(), jax.devices()[:1])
    return import_checkpoint(folder, config, mesh, "float32")


def quantised_copy(folder, name, quantise):
    """A golden checkpoint with some tensors quantised, and the same with their exact values."""
    tensors, exact = read_all(GOLDEN / name), {}
    for key in [key for key in tensors if quantise.applies(key)]:
        parts, exact[key] = quantise(key, tensors.pop(key))
        tensors |= parts
    for where, written in (("narrow", tensors), ("wide", {**read_all(GOLDEN / name), **exact})):
        (folder / where).mkdir()
        write_file(folder / where / "model.safetensors", written)
        values = json.loads((GOLDEN / name / "config.json").read_text())
        settings = {"quantization_config": quantise.settings} if where == "narrow" else {}
        (folder / where / "config.json").write_text(json.dumps({**values, **settings}))


class InFloat8:
    """As DeepSeek's releases: matrices of attention, MLPs and experts."""

    settings = {"quant_method": "fp8", "fmt": "e4m3", "weight_block_size": [128, 128], "activation_scheme": "dynamic"}

    @staticmethod
    def applies(key):
        return key.endswith("_proj.weight")

    def __call__(self, key, value):
        scale = np.full((1, 1), np.abs(value).max() / 448, np.float32)
        numbers = (value / scale).astype(jnp.float8_e4m3fn)
        return {key: numbers, f"{key}_scale_inv": scale}, by_hand(numbers, scale).astype(np.float32)


class InFourBits:
    """As gpt-oss's releases: the experts' matrices, of random numbers."""

    settings = {"quant_method": "mxfp4"}

    @staticmethod
    def applies(key):
        return key.endswith("down_proj")

    def __call__(self, key, value):
        experts, hidden, width = value.shape
        random = np.random.default_rng(experts)
        blocks = random.integers(0, 256, size=(experts, width, hidden // 32, 16), dtype=np.uint8)
        scales = random.integers(120, 126, size=(experts, width, hidden // 32), dtype=np.uint8)
        return {f"{key}_blocks": blocks, f"{key}_scales": scales}, mxfp4_by_hand(blocks, scales).astype(np.float32)


@pytest.mark.parametrize(("name", "quantise"), [("deepseek_v3", InFloat8()), ("gpt_oss", InFourBits())])
def test_a_checkpoint_becomes_the_parameters_of_its_exact_values(tmp_path, name, quantise):
    quantised_copy(tmp_path, name, quantise)
    config = read_config(tmp_path / "narrow")
    assert config == read_config(GOLDEN / name)
    found, wanted = imported(tmp_path / "narrow", config), imported(tmp_path / "wide", config)
    jax.tree.map(lambda one, other: np.testing.assert_allclose(one, other, rtol=1e-6), found, wanted)
