"""Rotary positions in ``config.json``: ``rope_parameters`` since transformers 5, several fields before it."""

import math
from collections.abc import Mapping
from typing import Any

from reasoning.core.errors import InputError
from reasoning.models.config import ModelConfig, Rope
from reasoning.models.formats.family_settings import Json, check_positive

_LAYER_TYPES = ("full_attention", "sliding_attention")


def read_ropes(values: Mapping[str, Any]) -> dict[str, Json]:
    """The rotary settings of full and of sliding layers, each flat, with ``rope_type`` and ``rope_theta``.

    ``values`` is a config.json with its family's defaults filled in. Raises InputError for a setting of a wrong kind.
    """
    given = values.get("rope_scaling") or values.get("rope_parameters") or {}
    if not isinstance(given, dict):
        raise InputError(f"config.json: rope_parameters is {given!r}, expected a table; fetch the file again")
    nested = any(name in given for name in _LAYER_TYPES)
    ropes = {name: dict((given.get(name) or {}) if nested else given) for name in _LAYER_TYPES}
    local = values.get("rope_local_base_freq")
    if local is not None and not nested:
        ropes["sliding_attention"] = {}  # Gemma 3 stretches the layers that see everything only
    for name, rope in ropes.items():
        base = local if name == "sliding_attention" and local is not None else values["rope_theta"]
        rope.setdefault("rope_theta", base)
        if rope.get("rope_type") is None:
            rope["rope_type"] = rope.get("type") or _untyped(rope)
        rope.setdefault("partial_rotary_factor", values.get("partial_rotary_factor"))
        original = values.get("original_max_position_embeddings")
        if original is not None:
            rope["original_max_position_embeddings"] = original
        _check_factor(rope)
        rope.setdefault("original_max_position_embeddings", values["max_position_embeddings"])
        check_positive(rope)
        if rope.get("factor") is None:
            rope["factor"] = values["max_position_embeddings"] / rope["original_max_position_embeddings"]
    return ropes


def _untyped(rope: Json) -> str:
    """The kind of positions that name none. Raises InputError where they are stretched, which nobody would do then."""
    if rope.get("factor") not in (None, 1):
        raise InputError(
            f"config.json: rope_scaling has factor {rope['factor']!r:.40} and no rope_type, expected linear, llama3 or "
            "yarn; add it"
        )
    return "default"


def _check_factor(rope: Json) -> None:
    """InputError where nothing says how far positions are stretched; only YaRN takes it from the contexts too."""
    kind, known = rope["rope_type"], rope.get("original_max_position_embeddings") is not None
    if rope.get("factor") is None and (kind in ("linear", "llama3") or (kind == "yarn" and not known)):
        raise InputError(f"config.json: rope_scaling of type {kind} has no factor, expected a number; fetch it again")


def mscale(factor: float, weight: float) -> float:
    """YaRN's growth of attention with the stretch (arXiv 2309.00071, eq. 22), with DeepSeek's weight."""
    return 1.0 if factor <= 1.0 else 0.1 * weight * math.log(factor) + 1.0


def to_rope(values: Mapping[str, Any]) -> Rope:
    """One flat table of rotary settings as ours. Raises InputError for a kind of stretching that we don't have."""
    kind, base, factor = values["rope_type"], float(values["rope_theta"]), float(values["factor"])
    if values.get("partial_rotary_factor") not in (None, 1, 1.0):
        raise InputError("config.json: partial_rotary_factor rotates a part of each head only, which isn't supported")
    if kind == "default":
        return Rope(base)
    if kind == "linear":
        return Rope(base, "linear", factor)
    original = int(values["original_max_position_embeddings"])
    try:
        if kind == "llama3":
            bounds = float(values["low_freq_factor"]), float(values["high_freq_factor"])
            return Rope(base, "llama3", factor, original, *bounds)
        if kind == "yarn":
            return Rope(
                base,
                "yarn",
                factor,
                original,
                beta_fast=float(values.get("beta_fast") or 32.0),
                beta_slow=float(values.get("beta_slow") or 1.0),
                truncate=bool(values.get("truncate", True)),
                attention_factor=_attention_factor(values, factor),
            )
    except KeyError as missing:
        raise InputError(f"config.json: rope type {kind} lacks {missing}; fetch the file again") from None
    raise InputError(f"config.json: rope_type {kind!r} isn't supported; default, linear, llama3 and yarn are")


def _attention_factor(values: Mapping[str, Any], factor: float) -> float:
    given, above, below = (values.get(name) for name in ("attention_factor", "mscale", "mscale_all_dim"))
    if given is not None:
        return float(given)
    if above and below:
        return mscale(factor, float(above)) / mscale(factor, float(below))
    return mscale(factor, 1.0)


def score_growth(values: Mapping[str, Any]) -> float:
    """What DeepSeek multiplies the scale of its scores by, beside one over the root of a query's size."""
    weight = values.get("mscale_all_dim")
    return mscale(float(values["factor"]), float(weight)) ** 2 if values["rope_type"] != "default" and weight else 1.0


def from_rope(config: ModelConfig, rope: Rope) -> Json | None:
    """``rope_scaling`` of the older dialect, which transformers 4 and 5 both read; None for plain positions."""
    if rope.scaling == "none":
        return None
    scaling: Json = {"rope_type": rope.scaling, "factor": rope.factor}
    if rope.scaling == "linear":
        return scaling
    scaling["original_max_position_embeddings"] = rope.original_context
    if rope.scaling == "llama3":
        return scaling | {"low_freq_factor": rope.low_frequency, "high_freq_factor": rope.high_frequency}
    scaling |= {"beta_fast": rope.beta_fast, "beta_slow": rope.beta_slow}
    if not rope.truncate:
        scaling["truncate"] = False
    growth = config.score_scale * config.query_size**0.5
    if config.latent is not None and not math.isclose(growth, 1.0) and rope.factor > 1.0:
        # DeepSeek's own code, and vLLM's, know the factor only as the quotient of these two.
        scaling["mscale_all_dim"] = _weight(math.sqrt(growth), rope.factor)
        scaling["mscale"] = _weight(math.sqrt(growth) * rope.attention_factor, rope.factor)
    elif not math.isclose(rope.attention_factor, mscale(rope.factor, 1.0)):
        scaling["attention_factor"] = rope.attention_factor
    return scaling


def _weight(grown: float, factor: float) -> float:
    return float(f"{(grown - 1.0) / (0.1 * math.log(factor)):.12g}")
