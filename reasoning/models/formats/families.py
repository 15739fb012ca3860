"""From a Hugging Face ``config.json`` to a ``ModelConfig``: what a family takes for granted, and what it may vary."""

from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from reasoning.core.errors import InputError
from reasoning.core.files import read_json
from reasoning.models.config import Activation, BlockKind, Latent, ModelConfig, MoE, check_layers, stacks_of
from reasoning.models.formats.family_settings import (
    ARCHITECTURES,
    DEFAULTS,
    EVERYWHERE,
    MULTIMODAL,
    WINDOW_PERIODS,
    Json,
    check_settings,
)
from reasoning.models.formats.rope_settings import read_ropes, score_growth, to_rope


def read_config(folder: Path) -> ModelConfig:
    """The model that the ``config.json`` in ``folder`` describes. Raises InputError as ``from_hf`` does."""
    values = read_json(folder / "config.json")
    if not isinstance(values, dict):
        raise InputError(f"{folder / 'config.json'} is not a table of settings; fetch the file again")
    try:
        return from_hf(values)
    except InputError as error:
        raise InputError(f"{folder}: {error}") from None


def from_hf(given: Mapping[str, Any]) -> ModelConfig:
    """The model that a ``config.json`` describes, in the dialect of transformers 5 or of 4.

    DeepSeek's layers for multi-token prediction are left out: set ``multi_token`` to import them too. Raises
    InputError that names the field, for architectures and settings that the decoder can't be.
    """
    family, values = _family(given)
    check_settings(family, values)
    try:
        return _config(family, values)
    except KeyError as missing:
        raise InputError(f"config.json: {missing} of a {family} model is missing; fetch the file again") from None
    except (TypeError, ValueError, ArithmeticError) as error:
        raise InputError(f"config.json: a setting has a wrong type or value: {error}; fetch the file again") from None


def _family(given: Mapping[str, Any]) -> tuple[str, Json]:
    """The ``model_type`` and the settings with its defaults."""
    kind, architectures = given.get("model_type"), given.get("architectures") or []
    if not isinstance(architectures, list):
        raise InputError(f"config.json: architectures is {architectures!r}, expected a list; fetch the file again")
    if MULTIMODAL in architectures or kind == "gemma3":
        if not isinstance(given.get("text_config"), dict):
            raise InputError("config.json: a gemma3 model without text_config; fetch the file again")
        text = {"tie_word_embeddings": given.get("tie_word_embeddings", True), **given["text_config"]}
        return "gemma3_text", {**EVERYWHERE, **DEFAULTS["gemma3_text"], **text}
    if not isinstance(kind, str) or kind not in DEFAULTS:
        raise InputError(f"config.json: model_type {kind!r} isn't supported; {', '.join(sorted(DEFAULTS))} are")
    if architectures and ARCHITECTURES[kind] not in architectures:
        raise InputError(
            f"config.json: architectures {list(architectures)} isn't supported; {ARCHITECTURES[kind]} is, a plain "
            "decoder with its unembedding"
        )
    values = {**EVERYWHERE, **DEFAULTS[kind], **given}
    if kind == "olmo3":  # whose layers with a window aren't stretched
        values.setdefault("rope_local_base_freq", values["rope_theta"])
    return kind, values


def _config(family: str, values: Json) -> ModelConfig:
    gemma, olmo = family.startswith("gemma"), family.startswith("olmo")
    ropes = read_ropes(values)
    latent = _latent(values) if family == "deepseek_v3" else None
    if family == "deepseek_v3" and values["rms_norm_eps"] != 1e-6:
        raise InputError(f"config.json: rms_norm_eps is {values['rms_norm_eps']}, the norms within are bound to 1e-6")
    return ModelConfig(
        vocabulary=values["vocab_size"],
        width=values["hidden_size"],
        heads=values["num_attention_heads"],
        mlp_width=values["intermediate_size"],
        stacks=stacks_of(_kinds(family, values, _activation(family, values))),
        context=values["max_position_embeddings"],
        kv_heads=0 if latent else values["num_key_value_heads"] or 0,
        head_dim=0 if latent else values["head_dim"] or 0,
        latent=latent,
        qkv_bias=family in ("qwen2", "gpt_oss"),
        output_bias=family == "gpt_oss",
        sinks=family == "gpt_oss",
        query_key_norm="all" if olmo else "head" if family.startswith(("qwen3", "gemma3")) else "none",
        attention_scale=_attention_scale(family, values, ropes["full_attention"], latent),
        attention_soft_cap=float(values.get("attn_logit_softcapping") or 0.0) if gemma else 0.0,
        logit_soft_cap=float(values.get("final_logit_softcapping") or 0.0) if gemma else 0.0,
        norms="after" if olmo else "both" if family in ("gemma2", "gemma3_text") else "before",
        norm_offset=gemma,
        norm_epsilon=float(values["rms_norm_eps"]),
        tied=bool(values["tie_word_embeddings"]),
        scaled_embedding=gemma,
        rope=to_rope(ropes["full_attention"]),
    )


def _activation(family: str, values: Json) -> Activation:
    name = values.get("hidden_activation") or values["hidden_act"]
    # Gemma 1's releases say gelu and mean its approximation by tanh.
    allowed = {"gelu_pytorch_tanh", *(("gelu",) if family == "gemma" else ())} if "gemma" in family else {"silu"}
    if name not in allowed:
        raise InputError(f"config.json: hidden_act {name!r} isn't what a {family} model has, {sorted(allowed)[-1]}")
    return "geglu" if "gemma" in family else "clamped_swiglu" if family == "gpt_oss" else "swiglu"


def _latent(values: Json) -> Latent:
    if values["num_key_value_heads"] not in (None, values["num_attention_heads"]):
        raise InputError("config.json: num_key_value_heads differs from num_attention_heads; latent attention has one")
    sizes = {field.name: values[field.name] for field in fields(Latent)}
    return Latent(**{**sizes, "q_lora_rank": sizes["q_lora_rank"] or 0})


def _attention_scale(family: str, values: Json, rope: Json, latent: Latent | None) -> float:
    if family in ("gemma2", "gemma3_text"):
        scalar, size = values["query_pre_attn_scalar"], values["head_dim"]
        return 0.0 if scalar == size else float(scalar) ** -0.5
    growth = 1.0 if latent is None else score_growth(rope)
    return 0.0 if latent is None or growth == 1.0 else latent.qk_head_dim**-0.5 * growth


def _kinds(family: str, values: Json, activation: Activation) -> list[BlockKind]:
    """What each layer is, first to last."""
    ropes = {name: to_rope(rope) for name, rope in read_ropes(values).items()}
    local = ropes["sliding_attention"] if ropes["sliding_attention"] != ropes["full_attention"] else None
    moe = _moe(family, values)
    return [
        BlockKind(
            activation, window, local if window else None, moe if moe and _is_sparse(family, values, layer) else None
        )
        for layer, window in enumerate(_windows(family, values))
    ]


def _windows(family: str, values: Json) -> list[int]:
    """The sliding window of each layer, 0 where it sees everything."""
    count = values["num_hidden_layers"]
    check_layers(count)
    window = values.get("sliding_window") or 0
    if family.startswith("qwen") and not values["use_sliding_window"]:
        window = 0
    if family in ("llama", "olmo2", "gemma", "deepseek_v3") or not window:
        return [0] * count
    if family in ("mistral", "qwen3_moe"):
        return [window] * count
    types = values.get("layer_types")
    if types is None and family == "gemma2":
        types = ["full_attention" if layer % 2 else "sliding_attention" for layer in range(count)]
    elif types is None and family == "gemma3_text":
        period = values.get("_sliding_window_pattern") or values["sliding_window_pattern"]
        types = ["sliding_attention" if (layer + 1) % period else "full_attention" for layer in range(count)]
    elif types is None and family in WINDOW_PERIODS:
        period = WINDOW_PERIODS[family]
        types = ["sliding_attention" if (layer + 1) % period else "full_attention" for layer in range(count)]
    elif types is None:
        first = values["max_window_layers"]
        types = ["sliding_attention" if layer >= first else "full_attention" for layer in range(count)]
    unknown = set(types) - {"full_attention", "sliding_attention"}
    if unknown or len(types) != count:
        raise InputError(f"config.json: layer_types has {len(types)} entries for {count} layers, unknown {unknown}")
    return [window if kind == "sliding_attention" else 0 for kind in types]


def _moe(family: str, values: Json) -> MoE | None:
    if family == "gpt_oss":
        experts, active = values["num_local_experts"], values["num_experts_per_tok"]
        return MoE(experts, active, values["intermediate_size"], biases=True)
    name_of_count = {"qwen3_moe": "num_experts", "deepseek_v3": "n_routed_experts"}.get(family)
    if name_of_count is None:
        return None
    moe = MoE(
        experts=values[name_of_count if name_of_count in values else "num_local_experts"],
        active=values["num_experts_per_tok"],
        mlp_width=values["moe_intermediate_size"],
        renormalise=bool(values["norm_topk_prob"]),
    )
    if family == "qwen3_moe":
        return moe
    return replace(
        moe,
        shared=values["n_shared_experts"] or 0,
        router="sigmoid",
        scale=float(values["routed_scaling_factor"]),
        groups=values["n_group"] or 1,
        active_groups=values["topk_group"] or 1,
    )


def _is_sparse(family: str, values: Json, layer: int) -> bool:
    if family == "gpt_oss":
        return True
    if family == "deepseek_v3":
        return layer >= (values["first_k_dense_replace"] or 0) and layer % (values["moe_layer_freq"] or 1) == 0
    return layer not in (values.get("mlp_only_layers") or ()) and (layer + 1) % values["decoder_sparse_step"] == 0
