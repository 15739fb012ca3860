"""From a ``ModelConfig`` to a ``config.json`` that transformers (4.4x and 5) and vLLM read."""

import math
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from reasoning.core.errors import InputError
from reasoning.models.config import BlockKind, ModelConfig, MoE
from reasoning.models.formats.families import from_hf
from reasoning.models.formats.family_settings import ARCHITECTURES, DEFAULTS, Json
from reasoning.models.formats.rope_settings import from_rope


def to_hf(config: ModelConfig, dtype: str) -> Json:
    """The ``config.json`` of a model whose weights are stored in ``dtype``.

    Rotary settings are written as transformers 4 did, which transformers 5 reads too. What only training knows (dtype
    of computing, remat, initialisation, the balance of experts) isn't written. Raises InputError that names the
    settings for a model that none of the families can be.
    """
    family = _family_of(config)
    values: Json = {
        "architectures": [ARCHITECTURES[family]],
        "model_type": family,
        "torch_dtype": dtype,
        "vocab_size": config.vocabulary,
        "hidden_size": config.width,
        "intermediate_size": config.mlp_width,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.key_heads,
        "max_position_embeddings": config.context,
        "rms_norm_eps": config.norm_epsilon,
        "tie_word_embeddings": config.tied,
        "rope_theta": config.rope.base,
        "rope_scaling": from_rope(config, config.rope),
        "attention_bias": False,
        "hidden_act": "silu",
        **_of_family(family, config),
    }
    try:
        wrong = _differences(_comparable(config), _comparable(from_hf(values)), "")
    except InputError as error:
        raise InputError(f"no family of Hugging Face's is like this model; the nearest, {family}: {error}") from None
    if wrong:
        raise InputError(
            f"no family of Hugging Face's is like this model; the nearest is {family}, which can't have "
            f"{', '.join(_grouped(wrong))}; other programs can't load such a model: train one without, or use this one "
            "here"
        )
    return values


def _family_of(config: ModelConfig) -> str:
    """The family that is most like this model; whether it is equal is another question."""
    if config.latent is not None:
        return "deepseek_v3"
    if config.norm_offset:
        if config.norms == "before":
            return "gemma"
        return "gemma2" if config.query_key_norm == "none" else "gemma3_text"
    if config.sinks:
        return "gpt_oss"
    if config.norms == "after":
        return "olmo3" if any(kind.window for kind in config.kinds()) else "olmo2"
    if any(kind.moe for kind in config.kinds()):
        return "qwen3_moe"
    if config.query_key_norm == "head":
        return "qwen3"
    if config.qkv_bias:
        return "qwen2"
    return "mistral" if any(kind.window for kind in config.kinds()) else "llama"


def _of_family(family: str, config: ModelConfig) -> Json:
    kinds = list(config.kinds())
    window = max(kind.window for kind in kinds)
    if family == "deepseek_v3":
        return _deepseek(config, kinds)
    values: Json = {"head_dim": config.head_size} if config.head_dim or "head_dim" in DEFAULTS[family] else {}
    if family == "mistral":
        return values | {"sliding_window": window or None}
    if family.startswith("qwen"):
        return values | _qwen(family, kinds, window)
    if family == "olmo3":
        return values | _windows(kinds, window) | _olmo_ropes(config)
    if family == "gpt_oss":
        return values | _windows(kinds, window) | _gpt_oss(kinds)
    if family.startswith("gemma"):
        values |= {"hidden_act": "gelu_pytorch_tanh", "hidden_activation": "gelu_pytorch_tanh"}
    if family in ("gemma2", "gemma3_text"):
        scalar = config.score_scale**-2
        values |= {
            "query_pre_attn_scalar": round(scalar) if math.isclose(scalar, round(scalar)) else scalar,
            "attn_logit_softcapping": config.attention_soft_cap or None,
            "final_logit_softcapping": config.logit_soft_cap or None,
            **_windows(kinds, window),
        }
    if family == "gemma3_text":
        local = next((kind.rope for kind in kinds if kind.window and kind.rope), config.rope)
        # The older dialect's word for layer types: every such layer sees everything.
        period = next((index + 1 for index, kind in enumerate(kinds) if not kind.window), len(kinds) + 1)
        values |= {"rope_local_base_freq": local.base, "sliding_window_pattern": period}
    return values


def _layer_types(kinds: list[BlockKind]) -> list[str]:
    return ["sliding_attention" if kind.window else "full_attention" for kind in kinds]


def _windows(kinds: list[BlockKind], window: int) -> Json:
    return {"sliding_window": window or None, "layer_types": _layer_types(kinds)}


def _qwen(family: str, kinds: list[BlockKind], window: int) -> Json:
    values: Json = {"use_sliding_window": window > 0, "sliding_window": window or None}
    if window:
        # What the older dialect says instead of layer types: from here on layers have windows.
        first = next(index for index, kind in enumerate(kinds) if kind.window)
        values |= {"layer_types": _layer_types(kinds), "max_window_layers": first}
    return values | _qwen_moe(kinds) if family == "qwen3_moe" else values


def _qwen_moe(kinds: list[BlockKind]) -> Json:
    moe = _first_moe(kinds)
    return {
        "num_experts": moe.experts,
        "num_experts_per_tok": moe.active,
        "moe_intermediate_size": moe.mlp_width,
        "norm_topk_prob": moe.renormalise,
        "decoder_sparse_step": 1,
        "mlp_only_layers": [index for index, kind in enumerate(kinds) if kind.moe is None],
    }


def _olmo_ropes(config: ModelConfig) -> Json:
    """The rotary settings by kinds of layers: from the older ones transformers 5 takes the base for one kind only."""
    plain = {"rope_type": "default", "rope_theta": config.rope.base}
    stretched = {**plain, **(from_rope(config, config.rope) or {})}
    return {"rope_parameters": {"sliding_attention": plain, "full_attention": stretched}}


def _gpt_oss(kinds: list[BlockKind]) -> Json:
    moe = _first_moe(kinds)
    return {
        "attention_bias": True,
        "intermediate_size": moe.mlp_width,
        "num_local_experts": moe.experts,
        "num_experts_per_tok": moe.active,
        "swiglu_limit": 7.0,
    }


def _deepseek(config: ModelConfig, kinds: list[BlockKind]) -> Json:
    latent, moe = config.latent, _first_moe(kinds)
    if latent is None:
        return {}
    return {
        "num_key_value_heads": config.heads,
        **asdict(latent),
        "q_lora_rank": latent.q_lora_rank or None,
        "moe_intermediate_size": moe.mlp_width,
        "n_routed_experts": moe.experts,
        "n_shared_experts": moe.shared,
        "num_experts_per_tok": moe.active,
        "n_group": moe.groups,
        "topk_group": moe.active_groups,
        "norm_topk_prob": moe.renormalise,
        "routed_scaling_factor": moe.scale,
        "scoring_func": "sigmoid",
        "topk_method": "noaux_tc",
        "first_k_dense_replace": next(index for index, kind in enumerate(kinds) if kind.moe is not None),
        "moe_layer_freq": 1,
        "num_nextn_predict_layers": config.multi_token,
    }


def _first_moe(kinds: list[BlockKind]) -> MoE:
    moe = next((kind.moe for kind in kinds if kind.moe is not None), None)
    if moe is None:
        raise InputError("a model of this family without experts can't be exported; Hugging Face has none")
    return moe


def _comparable(config: ModelConfig) -> Json:
    """The settings that a ``config.json`` must say, spelled out, without those that only training knows."""
    plain = replace(
        config,
        kv_heads=config.key_heads,
        head_dim=config.head_size,
        attention_scale=config.score_scale,
        multi_token=0,
        multi_token_coefficient=0.0,
        embedding_std=1.0,
        head_scale=1.0,
        compute_dtype="float32",
        remat="none",
    )
    kinds = [
        replace(
            kind, rope=kind.rope or config.rope, moe=kind.moe and replace(kind.moe, balance_loss=0.0, bias_rate=0.0)
        )
        for kind in config.kinds()
    ]
    return {**asdict(plain), "stacks": {f"layer {index}": asdict(kind) for index, kind in enumerate(kinds)}}


def _differences(ours: Any, theirs: Any, name: str) -> list[str]:
    """Names of settings that differ by more than rounding, with our value."""
    if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
        return [
            difference
            for key in ours
            for difference in _differences(ours[key], theirs.get(key), f"{name}.{key}".removeprefix("."))
        ]
    if isinstance(ours, float) and isinstance(theirs, float) and math.isclose(ours, theirs, rel_tol=1e-9):
        return []
    return [] if ours == theirs else [f"{name} = {ours!r}"]


def _grouped(wrong: list[str]) -> list[str]:
    """Settings that differ, each once with its first layer and how many other layers have the same."""
    layers_of: dict[str, list[str]] = {}
    for text in wrong:
        layer, dot, setting = (
            text.removeprefix("stacks.").partition(".") if text.startswith("stacks.") else ("", "", text)
        )
        layers_of.setdefault(setting, []).append(layer + dot)
    return [
        f"{layers[0]}{setting}{f' (and in {len(layers) - 1} other layers)' if len(layers) > 1 else ''}"
        for setting, layers in layers_of.items()
    ]
