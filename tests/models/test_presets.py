"""Presets against what their makers published: parameter counts and config.json files."""

from dataclasses import replace
from math import prod

import jax
import pytest

from reasoning.core.mesh import partition
from reasoning.experiment.reader import read_experiment
from reasoning.models import presets
from reasoning.models.config import ModelConfig
from reasoning.models.formats.families import from_hf
from reasoning.models.formats.families_export import to_hf
from reasoning.models.model import build_model, parameter_count

# Totals of the safetensors files on the Hub (a tied unembedding counted once); DeepSeek-V3 without its MTP module.
COUNTS = {
    "QWEN2_5_0_5B": 494_032_768,
    "QWEN2_5_1_5B": 1_543_714_304,
    "QWEN2_5_7B": 7_615_616_512,
    "QWEN2_5_14B": 14_770_033_664,
    "QWEN2_5_32B": 32_763_876_352,
    "QWEN3_0_6B": 596_049_920,
    "QWEN3_1_7B": 1_720_574_976,
    "QWEN3_4B": 4_022_468_096,
    "QWEN3_8B": 8_190_735_360,
    "QWEN3_14B": 14_768_307_200,
    "QWEN3_32B": 32_762_123_264,
    "QWEN3_30B_A3B": 30_532_122_624,
    "LLAMA_3_1_8B": 8_030_261_248,
    "LLAMA_3_3_70B": 70_553_706_496,
    "LLAMA_3_2_1B": 1_235_814_400,
    "LLAMA_3_2_3B": 3_212_749_824,
    "SMOLLM2_135M": 134_515_008,
    "SMOLLM2_360M": 361_821_120,
    "SMOLLM2_1_7B": 1_711_376_384,
    "DEEPSEEK_V3": 671_026_419_200,
    "GEMMA3_1B": 999_885_952,
    "GEMMA3_4B": 4_300_079_472,
    "GEMMA3_12B": 12_187_325_040,
    "GEMMA3_27B": 27_432_406_640,
}


def preset(name):
    return getattr(presets, name)


def vision(width):
    """What Gemma 3's larger models hold beside the decoder: SigLIP (27 layers of width 1152) and the projection."""
    inner, hidden, patches = 1152, 4304, (896 // 14) ** 2
    layer = 4 * (inner * inner + inner) + 2 * 2 * inner + inner * hidden + hidden + hidden * inner + inner
    tower = 3 * 14 * 14 * inner + inner + patches * inner + 27 * layer + 2 * inner
    return tower + inner * width + inner


@pytest.mark.parametrize(("name", "count"), COUNTS.items())
def test_a_preset_has_the_published_number_of_parameters(name, count):
    config = preset(name)
    beside = vision(config.width) if name.startswith("GEMMA3") and name != "GEMMA3_1B" else 0
    assert parameter_count(build_model(config)) + beside == count


@pytest.mark.parametrize("name", ["DEEPSEEK_V3", "QWEN3_30B_A3B", "QWEN2_5_7B", "GEMMA3_1B"])
def test_fsdp_leaves_no_matrix_of_a_preset_whole_on_each_device(name):
    model = build_model(replace(preset(name), multi_token=1))
    parts = {"fsdp": 32, "tensor": 1, "expert": 1}
    held = 0
    for shape, axes in zip(jax.tree.leaves(model.shapes), jax.tree.leaves(model.axes), strict=True):
        held += shape.size // prod(parts[names] for names in partition(tuple(axes)) if names)
    assert held <= 1.01 * parameter_count(model) / 32


def test_deepseeks_files_hold_the_multi_token_module_with_copies_of_embedding_and_head():
    with_module = replace(presets.DEEPSEEK_V3, multi_token=1)
    assert parameter_count(build_model(with_module)) + 2 * 129_280 * 7168 == 684_489_845_504


def test_every_preset_is_counted_here():
    assert {name for name, found in vars(presets).items() if isinstance(found, ModelConfig)} == COUNTS.keys()


def test_a_preset_is_a_part_of_an_experiment_whose_fields_can_be_set(tmp_path):
    file = tmp_path / "student.gin"
    file.write_text("student = @models.presets.GEMMA3_1B\nstudent.compute_dtype = 'bfloat16'\n")
    found = read_experiment(file)
    assert found.part("student") == replace(presets.GEMMA3_1B, compute_dtype="bfloat16")
    file.write_text(found.resolved())
    assert read_experiment(file).part("student") == found.part("student")


QWEN2 = {"model_type": "qwen2", "rope_theta": 1000000.0, "use_sliding_window": False, "hidden_act": "silu"}
QWEN3 = {"model_type": "qwen3", "rope_theta": 1000000, "head_dim": 128, "sliding_window": None, "rope_scaling": None}
LLAMA = {"model_type": "llama", "rope_theta": 500000.0, "max_position_embeddings": 131072, "rms_norm_eps": 1e-05}
SMOL = {"model_type": "llama", "rms_norm_eps": 1e-05, "tie_word_embeddings": True, "rope_scaling": None}
GEMMA = {"model_type": "gemma3_text", "rope_scaling": {"factor": 8.0, "rope_type": "linear"}, "sliding_window": 1024}
ORDER = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
)


def llama3_rope(factor):
    return {
        "factor": factor,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
        "rope_type": "llama3",
    }


# What the official config.json files say, by part; the first six numbers in the order above.
OFFICIAL = {
    "QWEN2_5_0_5B": (
        (151936, 896, 4864, 24, 14, 2),
        {**QWEN2, "max_position_embeddings": 32768, "rms_norm_eps": 1e-06, "tie_word_embeddings": True},
    ),
    "QWEN2_5_1_5B": (
        (151936, 1536, 8960, 28, 12, 2),
        {**QWEN2, "max_position_embeddings": 131072, "rms_norm_eps": 1e-06, "tie_word_embeddings": True},
    ),
    "QWEN2_5_7B": (
        (152064, 3584, 18944, 28, 28, 4),
        {**QWEN2, "max_position_embeddings": 131072, "rms_norm_eps": 1e-06, "max_window_layers": 28},
    ),
    "QWEN2_5_14B": (
        (152064, 5120, 13824, 48, 40, 8),
        {**QWEN2, "max_position_embeddings": 131072, "rms_norm_eps": 1e-05, "max_window_layers": 48},
    ),
    "QWEN2_5_32B": (
        (152064, 5120, 27648, 64, 40, 8),
        {**QWEN2, "max_position_embeddings": 131072, "rms_norm_eps": 1e-05, "max_window_layers": 64},
    ),
    "QWEN3_4B": (
        (151936, 2560, 9728, 36, 32, 8),
        {**QWEN3, "max_position_embeddings": 40960, "tie_word_embeddings": True},
    ),
    "QWEN3_8B": ((151936, 4096, 12288, 36, 32, 8), {**QWEN3, "max_position_embeddings": 40960}),
    "QWEN3_14B": ((151936, 5120, 17408, 40, 40, 8), {**QWEN3, "max_position_embeddings": 40960}),
    "QWEN3_32B": ((151936, 5120, 25600, 64, 64, 8), {**QWEN3, "max_position_embeddings": 40960}),
    "QWEN3_30B_A3B": (
        (151936, 2048, 6144, 48, 32, 4),
        {
            **QWEN3,
            "model_type": "qwen3_moe",
            "max_position_embeddings": 40960,
            "moe_intermediate_size": 768,
            "num_experts": 128,
            "num_experts_per_tok": 8,
            "norm_topk_prob": True,
            "mlp_only_layers": [],
        },
    ),
    "LLAMA_3_1_8B": ((128256, 4096, 14336, 32, 32, 8), {**LLAMA, "rope_scaling": llama3_rope(8.0)}),
    "LLAMA_3_3_70B": ((128256, 8192, 28672, 80, 64, 8), {**LLAMA, "rope_scaling": llama3_rope(8.0)}),
    "LLAMA_3_2_1B": (
        (128256, 2048, 8192, 16, 32, 8),
        {**LLAMA, "rope_scaling": llama3_rope(32.0), "head_dim": 64, "tie_word_embeddings": True},
    ),
    "LLAMA_3_2_3B": (
        (128256, 3072, 8192, 28, 24, 8),
        {**LLAMA, "rope_scaling": llama3_rope(32.0), "head_dim": 128, "tie_word_embeddings": True},
    ),
    "SMOLLM2_135M": (
        (49152, 576, 1536, 30, 9, 3),
        {**SMOL, "rope_theta": 100000, "max_position_embeddings": 8192},
    ),
    "DEEPSEEK_V3": (
        (129280, 7168, 18432, 61, 128, 128),
        {
            "model_type": "deepseek_v3",
            "architectures": ["DeepseekV3ForCausalLM"],
            "first_k_dense_replace": 3,
            "kv_lora_rank": 512,
            "max_position_embeddings": 163840,
            "moe_intermediate_size": 2048,
            "moe_layer_freq": 1,
            "n_group": 8,
            "n_routed_experts": 256,
            "n_shared_experts": 1,
            "norm_topk_prob": True,
            "num_experts_per_tok": 8,
            "num_nextn_predict_layers": 1,
            "q_lora_rank": 1536,
            "qk_nope_head_dim": 128,
            "qk_rope_head_dim": 64,
            "rms_norm_eps": 1e-06,
            "rope_scaling": {
                "beta_fast": 32,
                "beta_slow": 1,
                "factor": 40,
                "mscale": 1.0,
                "mscale_all_dim": 1.0,
                "original_max_position_embeddings": 4096,
                "type": "yarn",
            },
            "rope_theta": 10000,
            "routed_scaling_factor": 2.5,
            "scoring_func": "sigmoid",
            "topk_group": 4,
            "topk_method": "noaux_tc",
            "v_head_dim": 128,
        },
    ),
    "GEMMA3_1B": (
        (262144, 1152, 6912, 26, 4, 1),
        {**GEMMA, "sliding_window": 512, "rope_scaling": None, "max_position_embeddings": 32768},
    ),
    "GEMMA3_12B": ((262208, 3840, 15360, 48, 16, 8), GEMMA),
    "GEMMA3_27B": ((262208, 5376, 21504, 62, 32, 16), {**GEMMA, "head_dim": 128, "query_pre_attn_scalar": 168}),
}


def plain(config):
    """Equal sizes spelled alike."""
    return replace(config, kv_heads=config.key_heads, head_dim=config.head_size, attention_scale=config.score_scale)


@pytest.mark.parametrize("name", OFFICIAL)
def test_an_official_config_describes_the_preset(name):
    sizes, rest = OFFICIAL[name]
    assert plain(from_hf({**dict(zip(ORDER, sizes, strict=True)), **rest})) == plain(preset(name))


@pytest.mark.parametrize("name", COUNTS)
def test_a_preset_can_be_exported(name):
    values = to_hf(preset(name), "bfloat16")
    assert plain(from_hf(values)) == plain(preset(name))
