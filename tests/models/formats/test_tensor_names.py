from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest
from safetensors_folder import read_all

from reasoning.models.formats.families import read_config
from reasoning.models.formats.tensor_names import copies, parts
from reasoning.models.model import build_model

GOLDEN = Path(__file__).parents[1] / "parity"
NAMES = sorted(path.parent.name for path in GOLDEN.glob("*/config.json"))


def tensors(config):
    return {part.tensor.name: part.tensor for several in parts(config).values() for part in several}


@pytest.mark.parametrize("name", NAMES)
def test_names_and_shapes_are_those_that_transformers_saved(name):
    saved = {tensor: array.shape for tensor, array in read_all(GOLDEN / name).items()}
    assert {one.name: one.shape for one in tensors(read_config(GOLDEN / name)).values()} == saved


@pytest.mark.parametrize("name", NAMES)
def test_every_leaf_is_filled_exactly_once(name):
    config = read_config(GOLDEN / name)
    found = parts(config)
    for path, shape in jax.tree.leaves_with_path(build_model(config).shapes):
        times = np.zeros(shape.shape, int)
        for part in found.pop(tuple(key.key for key in path)):
            assert times[part.place].shape == part.tensor.part_shape
            times[part.place] += 1
        assert (times == 1).all()
    assert not found


def test_parts_that_share_a_tensor_divide_it_among_them():
    config = read_config(GOLDEN / "deepseek_v3")
    taken = {}
    for several in parts(config).values():
        for part in several:
            if part.tensor.picked is not None:
                count = taken.setdefault(part.tensor.name, np.zeros(part.tensor.view[part.tensor.axis], int))
                np.add.at(count, np.array(part.tensor.picked), 1)
    assert len(taken) == 3 * config.layers
    assert all((count == 1).all() for count in taken.values())


def test_rotary_channels_of_deepseek_are_taken_from_pairs_to_halves():
    config = read_config(GOLDEN / "deepseek_v3")
    [first, *_] = parts(config)["stack_0", "block_0", "attention", "query_up"]
    assert first.tensor.picked[:12] == tuple(range(12))
    assert first.tensor.picked[12:] == (*range(12, 28, 2), *range(13, 28, 2))


def test_the_multi_token_layer_follows_the_last_and_repeats_embedding_and_head():
    config = replace(read_config(GOLDEN / "deepseek_v3"), multi_token=1)
    names = {name.removeprefix("model.layers.4.") for name in tensors(config) if name.startswith("model.layers.4.")}
    beside = {"enorm.weight", "hnorm.weight", "eh_proj.weight", "shared_head.norm.weight"}
    layer_3 = {name.removeprefix("model.layers.3.") for name in tensors(config) if name.startswith("model.layers.3.")}
    assert names == layer_3 | beside
    assert copies(config) == {
        "model.layers.4.embed_tokens.weight": "model.embed_tokens.weight",
        "model.layers.4.shared_head.head.weight": "lm_head.weight",
    }
