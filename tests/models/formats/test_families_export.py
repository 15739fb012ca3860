from dataclasses import replace
from pathlib import Path

import pytest

from reasoning.core.errors import InputError
from reasoning.models.config import BlockKind, Rope, Stack
from reasoning.models.formats.families import from_hf, read_config
from reasoning.models.formats.families_export import to_hf

GOLDEN = Path(__file__).parents[1] / "parity"
NAMES = sorted(path.parent.name for path in GOLDEN.glob("*/config.json"))


@pytest.mark.parametrize("name", NAMES)
def test_a_config_that_is_written_describes_the_model_that_was_read(name):
    config = read_config(GOLDEN / name)
    assert from_hf(to_hf(config, "bfloat16")) == config


def test_the_older_dialect_is_written_since_both_generations_read_it():
    values = to_hf(read_config(GOLDEN / "gemma3"), "float32")
    assert "rope_parameters" not in values
    assert values["rope_scaling"] == {"rope_type": "linear", "factor": 8.0}
    assert (values["rope_theta"], values["rope_local_base_freq"], values["sliding_window_pattern"]) == (1e6, 1e4, 6)
    assert values["torch_dtype"] == "float32"


def test_what_only_training_knows_is_left_out():
    config = read_config(GOLDEN / "deepseek_v3")
    moe = replace(config.stacks[1].pattern[0].moe, balance_loss=0.1, bias_rate=1e-3)
    trained = replace(
        config,
        stacks=(config.stacks[0], Stack(2, (BlockKind(moe=moe),))),
        compute_dtype="bfloat16",
        remat="block",
        embedding_std=0.1,
    )
    assert to_hf(trained, "float32") == to_hf(config, "float32")


def test_multi_token_layers_are_counted():
    config = replace(read_config(GOLDEN / "deepseek_v3"), multi_token=1)
    assert to_hf(config, "float32")["num_nextn_predict_layers"] == 1


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        ("llama3", {"learned_positions": True}, ("llama", "learned_positions = True")),
        ("llama3", {"stacks": (Stack(3, (BlockKind("relu2"),)),)}, ("layer 0.activation = 'relu2'",)),
        ("llama3", {"scaled_embedding": True}, ("scaled_embedding = True",)),
        ("llama3", {"logit_soft_cap": 30.0}, ("logit_soft_cap = 30.0",)),
        ("llama3", {"attention_scale": 0.5}, ("attention_scale = 0.5",)),
        ("qwen3", {"qkv_bias": True}, ("qwen3", "qkv_bias = True")),
        ("mistral", {"stacks": (Stack(2, (BlockKind(window=8),)), Stack(1))}, ("layer 2.window = 0",)),
        ("gemma", {"stacks": (Stack(3, (BlockKind("geglu", rope=Rope(5.0)),)),)}, ("rope.base = 5.0",)),
        ("deepseek_v3", {"stacks": (Stack(4),)}, ("without experts",)),
        ("deepseek_v3", {"norm_epsilon": 1e-5}, ("deepseek_v3", "rms_norm_eps")),
    ],
)
def test_a_model_that_no_family_is_like_is_refused_with_the_settings_that_differ(name, changes, words):
    with pytest.raises(InputError) as caught:
        to_hf(replace(read_config(GOLDEN / name), **changes), "float32")
    for word in words:
        assert word in str(caught.value)


def test_what_is_wrong_in_many_layers_is_said_once():
    config = replace(read_config(GOLDEN / "llama3"), stacks=(Stack(30, (BlockKind("relu2"),)),))
    with pytest.raises(InputError) as refusal:
        to_hf(config, "float32")
    assert "can't have layer 0.activation = 'relu2' (and in 29 other layers); other programs" in str(refusal.value)
