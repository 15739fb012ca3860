"""The settings of a decoder: which are refused, how layers become stacks, and the file beside a checkpoint."""

import json

import pytest

from reasoning.core.errors import InputError
from reasoning.models.config import BlockKind, Latent, ModelConfig, MoE, Rope, Stack, from_json, stacks_of, to_json

TINY = ModelConfig(vocabulary=48, width=16, heads=4, kv_heads=2, mlp_width=32, stacks=(Stack(2),), context=32)
DENSE, SPARSE, LOCAL = BlockKind(), BlockKind(moe=MoE(4, 2, 8)), BlockKind(window=8)


@pytest.mark.parametrize(
    ("kinds", "expected"),
    [
        ([DENSE] * 5, [(5, (DENSE,))]),
        ([DENSE] * 3 + [SPARSE] * 58, [(3, (DENSE,)), (58, (SPARSE,))]),
        ([LOCAL, DENSE] * 13, [(13, (LOCAL, DENSE))]),
        (([LOCAL] * 5 + [DENSE]) * 4 + [LOCAL] * 2, [(4, (LOCAL,) * 5 + (DENSE,)), (2, (LOCAL,))]),
        ([LOCAL] * 2 + [DENSE], [(2, (LOCAL,)), (1, (DENSE,))]),
        ([LOCAL, DENSE, SPARSE], [(1, (LOCAL,)), (1, (DENSE,)), (1, (SPARSE,))]),
    ],
)
def test_layers_are_stacked_by_the_pattern_that_repeats(kinds, expected):
    assert stacks_of(kinds) == tuple(Stack(count, pattern) for count, pattern in expected)


def test_layers_are_numbered_along_the_leading_axis_of_their_run():
    config = ModelConfig(**{**vars(TINY), "stacks": (Stack(2, (LOCAL, LOCAL, DENSE)), Stack(1, (SPARSE,)))})
    assert [(layer.stack, layer.block, layer.index) for layer in config.each_layer()] == [
        *(("stack_0", "block_0", 0), ("stack_0", "block_0", 1), ("stack_0", "block_1", 0)),
        *(("stack_0", "block_0", 2), ("stack_0", "block_0", 3), ("stack_0", "block_1", 1)),
        ("stack_1", "block_0", 0),
    ]
    assert [layer.kind for layer in config.each_layer()] == list(config.kinds())


def test_a_config_comes_back_from_its_file():
    latent = Latent(kv_lora_rank=8, q_lora_rank=12, qk_nope_head_dim=6, qk_rope_head_dim=4, v_head_dim=6)
    kinds = (BlockKind(window=4, rope=Rope(100.0)), SPARSE)
    config = ModelConfig(**{**vars(TINY), "kv_heads": 0, "latent": latent, "stacks": (Stack(2, kinds),)})
    assert from_json(json.loads(json.dumps(to_json(config)))) == config


def test_a_file_that_describes_no_model_is_refused():
    with pytest.raises(InputError, match="not the description of a model"):
        from_json({"width": 16})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"heads": 3, "kv_heads": 3}, "width 16 is not a multiple of heads 3"),
        ({"kv_heads": 3}, "heads 4 is not a multiple of kv_heads 3"),
        ({"head_dim": 3}, "head_dim 3 is odd"),
        ({"stacks": ()}, "stacks is empty"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(change: dict, message: str):
    with pytest.raises(InputError, match=message):
        ModelConfig(**{**vars(TINY), **change})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"experts": 4, "active": 5}, "more than there are"),
        ({"experts": 6, "active": 1, "groups": 4, "router": "sigmoid"}, "divisor"),
        ({"experts": 8, "active": 3, "groups": 4, "router": "sigmoid"}, "hold fewer"),
        ({"experts": 8, "active": 2, "bias_rate": 0.1}, "sigmoid"),
    ],
)
def test_experts_that_can_not_be_chosen_so_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        MoE(mlp_width=4, **settings)


def test_rotary_channels_of_latent_attention_come_in_pairs():
    with pytest.raises(InputError, match="qk_rope_head_dim 3 is odd"):
        Latent(kv_lora_rank=8, qk_rope_head_dim=3)


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (("width",), 0, "width is 0, and must be at least 1"),
        (("width",), "16", "width is '16', and must be a whole number"),
        (("heads",), True, "heads is True, and must be a whole number"),
        (("norm_epsilon",), float("nan"), "norm_epsilon is nan, and must be a number"),
        (("norm_epsilon",), 0.0, "norm_epsilon is 0.0, and must be above 0"),
        (("tied",), 1, "tied is 1, and must be one of"),
        (("compute_dtype",), ["a"], "compute_dtype is .*must be one of"),
        (("rope", "base"), -1.0, "base is -1.0"),
        (("rope",), [1], "not the description of a model"),
        (("stacks", 0, "count"), 0, "count is 0"),
        (("stacks", 0, "count"), 10**9, "count is 1000000000, and must be at most 16777216"),
        (("stacks", 0, "count"), 10**7, "10,000,000 blocks; at most"),
        (("multi_token",), 10**9, "1,000,000,002 blocks; at most"),
        (("stacks", 0, "pattern", 0, "window"), -1, "window is -1"),
        (("stacks", 0, "pattern", 0, "rope"), 5, "not the description of a model"),
        (("stacks",), 5, "not the description of a model"),
    ],
)
def test_values_of_a_file_that_no_model_has_are_refused_by_their_name(place, value, message):
    written = json.loads(json.dumps(to_json(TINY)))
    *above, last = place
    inner = written
    for step in above:
        inner = inner[step]
    inner[last] = value
    with pytest.raises(InputError, match=message):
        from_json(written)
