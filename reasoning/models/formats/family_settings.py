"""What a Hugging Face ``config.json`` may say: what a silent file means, which values make sense, which are refused."""

from collections.abc import Mapping
from typing import Any

from reasoning.core.errors import InputError

Json = dict[str, Any]

EVERYWHERE: Json = {
    "tie_word_embeddings": False,
    "num_key_value_heads": None,
    "head_dim": None,
    "hidden_act": "silu",
    "rms_norm_eps": 1e-6,
    "rope_theta": 10_000.0,
}
"""What transformers assumes where a file is silent; families differ as below."""

_GEMMA: Json = {
    "tie_word_embeddings": True,
    "head_dim": 256,
    "hidden_act": "gelu_pytorch_tanh",
    "max_position_embeddings": 8192,
}
_GEMMA_2: Json = {
    **_GEMMA,
    "hidden_activation": "gelu_pytorch_tanh",
    "query_pre_attn_scalar": 256,
    "sliding_window": 4096,
    "attn_logit_softcapping": 50.0,
    "final_logit_softcapping": 30.0,
}
_QWEN: Json = {
    "num_key_value_heads": 32,
    "max_position_embeddings": 32_768,
    "use_sliding_window": False,
    "sliding_window": 4096,
    "max_window_layers": 28,
}
DEFAULTS: Mapping[str, Json] = {
    "llama": {"max_position_embeddings": 2048},
    "mistral": {"num_key_value_heads": 8, "max_position_embeddings": 131_072, "sliding_window": 4096},
    "qwen2": _QWEN,
    "qwen3": {**_QWEN, "head_dim": 128},
    "qwen3_moe": {**_QWEN, "num_key_value_heads": 4, "norm_topk_prob": False, "decoder_sparse_step": 1},
    "olmo2": {"rms_norm_eps": 1e-5, "max_position_embeddings": 2048},
    "olmo3": {
        "rms_norm_eps": 1e-5,
        "max_position_embeddings": 2048,
        "sliding_window": 4096,
        "rope_theta": 500_000.0,
    },
    "gpt_oss": {
        "head_dim": 64,
        "num_key_value_heads": 8,
        "max_position_embeddings": 131_072,
        "rms_norm_eps": 1e-5,
        "sliding_window": 128,
        "attention_bias": True,
        "swiglu_alpha": 1.702,
        "swiglu_limit": 7.0,
        "rope_theta": 150_000.0,
        "rope_parameters": {
            "rope_type": "yarn",
            "factor": 32.0,
            "original_max_position_embeddings": 4096,
            "truncate": False,
        },
    },
    "gemma": _GEMMA,
    "gemma2": {**_GEMMA_2, "num_attention_heads": 8, "num_key_value_heads": 4},
    "gemma3_text": {
        **_GEMMA_2,
        "vocab_size": 262_208,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "max_position_embeddings": 131_072,
        "attn_logit_softcapping": None,
        "final_logit_softcapping": None,
        "rope_theta": 1_000_000.0,
        "rope_local_base_freq": 10_000.0,
        "sliding_window_pattern": 6,
    },
    "deepseek_v3": {
        "max_position_embeddings": 4096,
        "q_lora_rank": 1536,
        "moe_layer_freq": 1,
        "n_shared_experts": 1,
        "n_group": 8,
        "topk_group": 4,
        "norm_topk_prob": True,
        "routed_scaling_factor": 2.5,
        "first_k_dense_replace": 3,
    },
}
"""Of each ``model_type`` that is known, what a silent file means (transformers' own defaults)."""

_REFUSED: Mapping[str, tuple[Any, ...]] = {
    "mlp_bias": (False,),
    "use_bidirectional_attention": (False,),
    "rope_interleave": (True,),
    "scoring_func": ("sigmoid",),
    "topk_method": ("noaux_tc",),
    "swiglu_alpha": (1.702,),
    "swiglu_limit": (7.0,),
    "dual_chunk_attention_config": (),
}
"""Settings that the decoder has in one form only, and which that is; absent or null is right too."""

_WHOLE: Mapping[str, int] = {
    **dict.fromkeys(("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers"), 1),
    **dict.fromkeys(("num_attention_heads", "num_key_value_heads", "head_dim", "max_position_embeddings"), 1),
    **dict.fromkeys(("kv_lora_rank", "q_lora_rank", "qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim"), 1),
    **dict.fromkeys(("num_experts", "num_local_experts", "n_routed_experts", "num_experts_per_tok"), 1),
    **dict.fromkeys(("moe_intermediate_size", "n_group", "topk_group", "moe_layer_freq", "decoder_sparse_step"), 1),
    **dict.fromkeys(("sliding_window", "sliding_window_pattern", "_sliding_window_pattern"), 1),
    **dict.fromkeys(("max_window_layers", "first_k_dense_replace", "n_shared_experts"), 0),
}
"""Settings that are whole numbers, where they aren't null, and the least that each can be."""

ARCHITECTURES: Mapping[str, str] = {
    "llama": "LlamaForCausalLM",
    "mistral": "MistralForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
    "qwen3_moe": "Qwen3MoeForCausalLM",
    "olmo2": "Olmo2ForCausalLM",
    "olmo3": "Olmo3ForCausalLM",
    "gpt_oss": "GptOssForCausalLM",
    "gemma": "GemmaForCausalLM",
    "gemma2": "Gemma2ForCausalLM",
    "gemma3_text": "Gemma3ForCausalLM",
    "deepseek_v3": "DeepseekV3ForCausalLM",
}
MULTIMODAL = "Gemma3ForConditionalGeneration"

WINDOW_PERIODS = {"olmo3": 4, "gpt_oss": 2}
"""Every which layer sees everything where a file doesn't list its layers."""

_POSITIVE = (
    *("rms_norm_eps", "rope_theta", "rope_local_base_freq", "routed_scaling_factor", "query_pre_attn_scalar"),
    *("attn_logit_softcapping", "final_logit_softcapping"),
    *("factor", "attention_factor", "beta_fast", "beta_slow", "low_freq_factor", "high_freq_factor"),
    *("original_max_position_embeddings", "partial_rotary_factor"),
)
"""Settings that are numbers above zero, where they aren't null."""

_MAY_BE_ZERO = ("mscale", "mscale_all_dim")
"""Such that may be zero too, which means null."""

_NEVER_NULL = (
    *("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"),
    *("max_position_embeddings", "rms_norm_eps", "rope_theta"),
)


def check_settings(family: str, values: Mapping[str, Any]) -> None:
    """Raises InputError for a setting that isn't a number where it must be, is out of range, or isn't supported."""
    _check_quantisation(values.get("quantization_config"))
    for name, allowed in {**_REFUSED, "attention_bias": (family == "gpt_oss",)}.items():
        if values.get(name) not in (None, *allowed):
            raise InputError(f"config.json: {name} is {values[name]!r}, which isn't supported")
    for name, least in _WHOLE.items():
        value = values.get(name)
        if value is not None and (type(value) is not int or not least <= value < 2**31):
            raise InputError(f"config.json: {name} is {value!r}, expected a whole number from {least} up")
    for name in ("torch_dtype", "dtype"):
        if not isinstance(values.get(name), str | None):
            raise InputError(f"config.json: {name} is {values[name]!r:.60}, expected a text; fetch the file again")
    check_positive(values)
    null = [name for name in _NEVER_NULL if name in values and values[name] is None]
    if null:
        raise InputError(f"config.json: {null[0]} is null; fetch the file again")


def _check_quantisation(given: Any) -> None:
    """Raises InputError for weights in another form than those that ``quantised`` reads."""
    if given is None:
        return
    told = given if isinstance(given, dict) else {}
    method, block, numbers = (told.get(name) for name in ("quant_method", "weight_block_size", "fmt"))
    if method == "mxfp4" or (method == "fp8" and block == [128, 128] and numbers in (None, "e4m3")):
        return
    raise InputError(
        f"config.json: quantization_config is {given!r:.200}, which isn't supported; fp8 with weight_block_size "
        "[128, 128] and fmt e4m3, and mxfp4, are"
    )


def check_positive(values: Mapping[str, Any]) -> None:
    """Raises InputError for a setting that must be a positive number, or null, and isn't."""
    for name in (*_POSITIVE, *_MAY_BE_ZERO):
        value = values.get(name)
        if value is None or (name in _MAY_BE_ZERO and value == 0):
            continue
        if type(value) not in (int, float) or not 0 < value < 1e12:
            raise InputError(f"config.json: {name} is {value!r}, expected a number above 0")
