from dataclasses import replace
from pathlib import Path

import pytest

from reasoning.core.errors import InputError
from reasoning.core.files import read_json
from reasoning.models.config import BlockKind, Rope, Stack
from reasoning.models.formats.families import from_hf, read_config

GOLDEN = Path(__file__).parents[1] / "parity"


def config_json(name, **changes):
    return {**read_json(GOLDEN / name / "config.json"), **changes}


def without(values, *names):
    return {name: value for name, value in values.items() if name not in names}


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        ("llama3", {"model_type": "mamba"}, ("model_type 'mamba'", "llama")),
        ("llama3", {"architectures": ["LlamaForSequenceClassification"]}, ("architectures", "LlamaForCausalLM")),
        ("llama3", {"attention_bias": True}, ("attention_bias",)),
        ("llama3", {"mlp_bias": True}, ("mlp_bias",)),
        ("llama3", {"hidden_act": "gelu"}, ("hidden_act 'gelu'", "silu")),
        ("llama3", {"quantization_config": {"quant_method": "fp8"}}, ("quantization_config", "[128, 128]")),
        ("llama3", {"quantization_config": {"quant_method": "gptq"}}, ("quantization_config", "mxfp4")),
        ("gpt_oss", {"attention_bias": False}, ("attention_bias",)),
        ("gpt_oss", {"swiglu_limit": 5.0}, ("swiglu_limit",)),
        ("llama3", {"rope_parameters": {"rope_type": "dynamic", "factor": 2.0}}, ("rope_type 'dynamic'", "yarn")),
        ("llama3", {"rope_parameters": {"rope_type": "llama3", "factor": 2.0}}, ("low_freq_factor",)),
        ("llama3", {"rope_parameters": {"partial_rotary_factor": 0.5}}, ("partial_rotary_factor",)),
        ("llama3", {"rope_scaling": "yarn"}, ("rope_parameters is 'yarn'",)),
        ("llama3", {"num_hidden_layers": "three"}, ("num_hidden_layers is 'three'", "whole number")),
        ("gemma2", {"use_bidirectional_attention": True}, ("use_bidirectional_attention",)),
        ("gemma2", {"layer_types": ["chunked_attention"] * 4}, ("layer_types", "chunked_attention")),
        ("gemma2", {"layer_types": ["full_attention"]}, ("1 entries for 4 layers",)),
        ("deepseek_v3", {"rope_interleave": False}, ("rope_interleave",)),
        ("deepseek_v3", {"topk_method": "greedy"}, ("topk_method",)),
        ("deepseek_v3", {"rms_norm_eps": 1e-5}, ("rms_norm_eps",)),
        ("deepseek_v3", {"num_key_value_heads": 2}, ("num_key_value_heads",)),
        ("gemma3", {"model_type": "gemma3"}, ("text_config",)),
    ],
)
def test_what_the_decoder_cannot_be_is_refused_by_the_fields_name(name, changes, words):
    with pytest.raises(InputError) as caught:
        from_hf(config_json(name, **changes))
    for word in ("config.json", *words):
        assert word in str(caught.value)


def test_a_missing_size_is_named_with_its_folder(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "llama", "hidden_size": 32}')
    with pytest.raises(InputError, match=f"{tmp_path}.*'(vocab_size|num_hidden_layers)' of a llama model is missing"):
        read_config(tmp_path)


def test_a_multimodal_gemma_is_its_text_decoder():
    text = config_json("gemma3")
    wrapped = {"model_type": "gemma3", "architectures": ["Gemma3ForConditionalGeneration"], "text_config": text}
    assert from_hf(wrapped) == from_hf(text)


def test_gemma_3_takes_from_a_silent_file_what_transformers_does():
    sparse = {"model_type": "gemma3_text", "hidden_size": 2560, "intermediate_size": 10240, "num_hidden_layers": 34}
    found = from_hf({**sparse, "sliding_window": 1024, "rope_scaling": {"rope_type": "linear", "factor": 8.0}})
    assert (found.vocabulary, found.heads, found.key_heads, found.head_size) == (262208, 8, 4, 256)
    assert found.rope == Rope(1e6, "linear", 8.0) and found.tied
    local = BlockKind("geglu", 1024, Rope(10_000.0))
    assert found.stacks == (Stack(5, (*(local,) * 5, BlockKind("geglu"))), Stack(4, (local,)))


def test_windows_of_qwen_begin_at_max_window_layers_and_only_where_they_are_used():
    old = without(config_json("qwen2_window", max_window_layers=2), "layer_types")
    assert [kind.window for kind in from_hf(old).kinds()] == [0, 0, 8]
    assert [kind.window for kind in from_hf({**old, "use_sliding_window": False}).kinds()] == [0, 0, 0]


@pytest.mark.parametrize(("name", "period"), [("olmo3", 4), ("gpt_oss", 2)])
def test_a_file_that_lists_no_layers_has_a_window_in_all_but_every_few(name, period):
    found = from_hf(without(config_json(name, num_hidden_layers=8), "layer_types"))
    assert [kind.window > 0 for kind in found.kinds()] == [layer % period != 0 for layer in range(1, 9)]


def test_layers_of_olmo_3_with_a_window_are_not_stretched():
    found = list(read_config(GOLDEN / "olmo3").kinds())
    assert found[0].rope == Rope(500_000.0) and found[3].rope is None
    assert read_config(GOLDEN / "olmo3").rope.scaling == "yarn"


@pytest.mark.parametrize(
    "given",
    [
        {"quant_method": "fp8", "fmt": "e4m3", "activation_scheme": "dynamic", "weight_block_size": [128, 128]},
        {"quant_method": "mxfp4", "modules_to_not_convert": ["model.layers.*.self_attn"]},
    ],
    ids=lambda given: given["quant_method"],
)
def test_weights_in_forms_that_can_be_read_describe_the_same_model(given):
    assert from_hf(config_json("gpt_oss", quantization_config=given)) == read_config(GOLDEN / "gpt_oss")


def test_a_null_window_means_none_for_mistral():
    assert {kind.window for kind in from_hf(config_json("mistral", sliding_window=None)).kinds()} == {0}


def test_experts_come_every_few_layers_as_decoder_sparse_step_says():
    found = from_hf(config_json("qwen3_moe", mlp_only_layers=[], decoder_sparse_step=2, num_hidden_layers=4))
    assert [kind.moe is not None for kind in found.kinds()] == [False, True, False, True]


def test_experts_of_deepseek_come_every_moe_layer_freq_layers():
    found = from_hf(config_json("deepseek_v3", moe_layer_freq=2, first_k_dense_replace=1, num_hidden_layers=5))
    assert [kind.moe is not None for kind in found.kinds()] == [False, False, True, False, True]


def test_experts_are_counted_under_any_of_their_three_names():
    values = without(config_json("qwen3_moe"), "num_local_experts")
    assert from_hf({**values, "num_experts": 8}) == from_hf({**values, "num_local_experts": 8})
    values = without(config_json("deepseek_v3"), "n_routed_experts")
    assert from_hf({**values, "num_local_experts": 8}) == from_hf({**values, "n_routed_experts": 8})


def test_gemma_1_means_tanh_gelu_by_gelu():
    assert from_hf(config_json("gemma", hidden_act="gelu")) == from_hf(config_json("gemma"))


def test_no_config_of_a_golden_checkpoint_is_equal_to_another():
    configs = [replace(read_config(path.parent), context=1) for path in GOLDEN.glob("*/config.json")]
    assert len(set(configs)) == len(configs) == 16


ODD = (None, 0, -1, -0.5, 1.5, True, 10**30, 1e300, "x", [], [1], {}, {"a": 1})


def numbers(config):
    """Every number of a config that must not be negative, with its name."""
    for found in (config, config.rope, config.latent, *config.kinds(), *(kind.moe for kind in config.kinds())):
        for name, value in vars(found).items() if found is not None else ():
            if value is not None and name not in ("stacks", "rope", "latent", "moe"):
                yield name, value


@pytest.mark.parametrize("path", sorted(GOLDEN.rglob("config.json")), ids=lambda path: str(path.relative_to(GOLDEN)))
def test_a_value_of_any_other_kind_is_refused_or_makes_sense(path):
    values = read_json(path)
    changed = [{**values, name: odd} for name in values for odd in ODD]
    tables = {name: table for name, table in values.items() if isinstance(table, dict)}
    changed += [
        {**values, name: {**table, inner: odd}} for name, table in tables.items() for inner in table for odd in ODD
    ]
    for one in changed:
        try:
            config = from_hf(one)
        except InputError:
            continue
        for name, value in numbers(config):
            assert type(value) in (int, float, bool, str) and (isinstance(value, str) or 0 <= value < 1e18), (name, one)
        assert (
            min(config.width, config.vocabulary, config.heads, config.mlp_width, config.context, config.norm_epsilon)
            > 0
        )


def test_a_billion_layers_are_refused_before_any_is_listed():
    with pytest.raises(InputError, match="the stacks have 1,000,000,000 blocks; at most 2,000 can be built"):
        from_hf(config_json("llama3", num_hidden_layers=10**9))
