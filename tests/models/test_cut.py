"""A model of some layers of another is that model without the others."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from drawn import drawn

from reasoning.core.errors import InputError
from reasoning.models.config import BlockKind, ModelConfig, MoE, Rope, Stack
from reasoning.models.cut import cut_config, cut_params
from reasoning.models.formats.families import read_config
from reasoning.models.model import build_model

GOLDEN = Path(__file__).parent / "parity"
LOCAL, GLOBAL = BlockKind(window=4, rope=Rope(100.0)), BlockKind()
SPARSE = BlockKind(moe=MoE(experts=4, active=2, mlp_width=8))
PLAIN = ModelConfig(
    vocabulary=48, width=16, heads=2, mlp_width=32, stacks=(Stack(4),), context=32, learned_positions=True
)
MIXED = replace(PLAIN, stacks=(Stack(1), Stack(2, (SPARSE,))))
ALTERNATING = replace(PLAIN, tied=True, stacks=(Stack(2, (LOCAL, GLOBAL)), Stack(1, (LOCAL,))))


@cache
def params_of(config):
    """Random parameters; norms too, so that a norm in a wrong place is seen."""
    return drawn(build_model(config).shapes)


def logits(config, params):
    model = build_model(config)
    tokens = jax.random.randint(jax.random.key(2), (2, 9), 0, config.vocabulary)
    hidden, _ = model.hidden_states(params, tokens, jnp.broadcast_to(jnp.arange(9), (2, 9)), jnp.ones((2, 9), int))
    return hidden @ model.unembedding(params)


@pytest.mark.parametrize("config", [PLAIN, MIXED, ALTERNATING], ids=["plain", "dense then experts", "local and global"])
def test_all_layers_in_order_are_the_model_itself(config):
    params, layers = params_of(config), range(config.layers)
    same = cut_params(config, params, layers)
    assert list(cut_config(config, layers).kinds()) == list(config.kinds())
    np.testing.assert_array_equal(logits(cut_config(config, layers), same), logits(config, params))


@pytest.mark.parametrize("name", ["deepseek_v3", "gemma3", "llama3", "qwen3_moe"])
def test_shapes_of_a_familys_cut_are_those_of_its_config(name):
    config = replace(read_config(GOLDEN / name))
    layers = (0, config.layers - 1)
    found = jax.eval_shape(lambda params: cut_params(config, params, layers), build_model(config).shapes)
    assert found == build_model(cut_config(config, layers)).shapes


@pytest.mark.parametrize(
    ("config", "layer", "stack", "block", "repeat"),
    [
        (PLAIN, 2, "stack_0", "block_0", 2),
        (MIXED, 0, "stack_0", "block_0", 0),
        (MIXED, 2, "stack_1", "block_0", 1),
        (ALTERNATING, 2, "stack_0", "block_0", 1),
        (ALTERNATING, 3, "stack_0", "block_1", 1),
        (ALTERNATING, 4, "stack_1", "block_0", 0),
    ],
)
def test_one_layer_is_a_model_built_of_it_by_hand(config, layer, stack, block, repeat):
    params, kind = params_of(config), list(config.kinds())[layer]
    by_hand = {name: leaf for name, leaf in params.items() if not name.startswith("stack_")}
    by_hand["stack_0"] = {"block_0": jax.tree.map(lambda leaf: leaf[repeat : repeat + 1], params[stack][block])}
    small = replace(config, stacks=(Stack(1, (kind,)),))
    assert cut_config(config, (layer,)) == small
    np.testing.assert_array_equal(logits(small, cut_params(config, params, (layer,))), logits(small, by_hand))


def test_layers_left_out_pass_states_on_unchanged():
    """A layer whose outputs are zero adds nothing, so the whole model without its work is the cut."""
    params, layers = params_of(ALTERNATING), (0, 3, 4)
    silent = {
        name: {block: dict(parts) for block, parts in leaf.items()} if name.startswith("stack_") else leaf
        for name, leaf in params.items()
    }
    for block, repeat in (("block_1", 0), ("block_0", 1)):
        parts = silent["stack_0"][block]
        parts["attention"] = parts["attention"] | {"output": parts["attention"]["output"].at[repeat].set(0.0)}
        parts["mlp"] = parts["mlp"] | {"down": parts["mlp"]["down"].at[repeat].set(0.0)}
    small = cut_config(ALTERNATING, layers)
    assert [kind.window for kind in small.kinds()] == [4, 0, 4]
    np.testing.assert_allclose(
        logits(small, cut_params(ALTERNATING, params, layers)), logits(ALTERNATING, silent), rtol=1e-4, atol=1e-4
    )


def test_runs_of_equal_kinds_become_one_stack():
    assert cut_config(PLAIN, (0, 1, 3)).stacks == (Stack(3),)
    assert cut_config(MIXED, (0, 2)).stacks == (Stack(1), Stack(1, (SPARSE,)))
    assert cut_config(ALTERNATING, (0, 2, 4)).stacks == (Stack(3, (LOCAL,)),)
    assert cut_config(ALTERNATING, (0, 1, 2, 3)).stacks == (Stack(2, (LOCAL, GLOBAL)),)


def test_blocks_of_multi_token_prediction_stay_where_the_last_kind_does():
    config = replace(MIXED, multi_token=1)
    params = params_of(config)
    assert "multi_token_0" in cut_params(config, params, (0, 1)) and cut_config(config, (0, 1)).multi_token == 1
    assert "multi_token_0" not in cut_params(config, params, (0,)) and cut_config(config, (0,)).multi_token == 0


@pytest.mark.parametrize(
    ("layers", "match"),
    [
        ((), r"no layer is named; name some of the model's 4 \(0 to 3\)"),
        ((0, 4), r"layer 4 isn't one of the model's 4 \(0 to 3\)"),
        ((-1,), "layer -1 isn't one"),
        ((1, 0), r"layers \(1, 0\) are out of order"),
        ((1, 1), "name each once"),
    ],
)
def test_layers_that_are_not_there_or_out_of_order_are_refused(layers, match):
    with pytest.raises(InputError, match=match):
        cut_config(PLAIN, layers)
