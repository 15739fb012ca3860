"""Writes adapters as PEFT stores them, to be loaded onto a model in Hugging Face's format.

Where two matrices of ours are parts of one of theirs (latent attention's keys and values), the adapters of both become
one of the sum of their ranks, of which each half writes its own rows: B A is then what both add.
"""

from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

import jax
import numpy as np

from reasoning.core.errors import InputError
from reasoning.core.files import write_atomic, write_json
from reasoning.core.folders import check_free, folder_in_making
from reasoning.models.config import ModelConfig
from reasoning.models.formats.checkpoint_writer import on_host
from reasoning.models.formats.safetensors import header_bytes
from reasoning.models.formats.tensor_names import LeafPath, Tensor, is_stacked, parts
from reasoning.models.lora import SUFFIX, LoRA
from reasoning.models.parameters import Params

_WEIGHTS, _CONFIG = "adapter_model.safetensors", "adapter_config.json"
_PREFIX = "base_model.model."

_AdapterPart = tuple[Tensor, np.ndarray, np.ndarray]
"""A part of a matrix of theirs with its A and B: down [in, r] and up [r, out, …]."""


def export_adapters(folder: Path, config: ModelConfig, lora: LoRA, adapters: Params, base: str) -> None:
    """Writes adapters as ``folder``, which appears when it is whole; peft and vLLM load it onto the model ``base``.

    ``base`` is a folder or a name at Hugging Face, and the model there is the one that the adapters were trained on.
    Of several processes all must call it, and the first one writes. Raises InputError where ``folder`` exists, and for
    adapters of MLPs in a model with experts: peft takes those names for the experts' own.
    """
    check_free(folder)
    halves = _halves(config, adapters)
    if any(kind.moe for kind in config.kinds()) and any(".mlp." in name for name in halves):
        raise InputError(
            "peft can't hold adapters of MLPs in a model with experts, since it takes them for the experts' own; "
            "export the whole model, or train with attention's matrices as targets"
        )
    if jax.process_index() != 0:
        return
    with folder_in_making(folder) as partial:
        partial.mkdir(parents=True)
        tensors: dict[str, np.ndarray] = {}
        for name, several in halves.items():
            down, up = _theirs(several)
            tensors[f"{_PREFIX}{name}.lora_A.weight"], tensors[f"{_PREFIX}{name}.lora_B.weight"] = down, up
        beginning, _ = header_bytes({name: (np.dtype(np.float32), tensor.shape) for name, tensor in tensors.items()})
        values = (np.ascontiguousarray(tensor, np.float32).tobytes() for tensor in tensors.values())
        write_atomic(partial / _WEIGHTS, beginning + b"".join(values))
        write_json(partial / _CONFIG, _described(lora, halves, base))


def _halves(config: ModelConfig, adapters: Params) -> dict[str, list[_AdapterPart]]:
    """By the names of their modules, the parts of each that have an adapter."""
    halves: dict[str, list[_AdapterPart]] = {}
    for path, several in parts(config).items():
        pair = _pair(adapters, path)
        if pair is None:
            continue
        down, up = on_host(pair["down"]), on_host(pair["up"])
        for part in several:
            at = part.place[0] if is_stacked(path) else ...
            half = (part.tensor, down[at], up[at])
            halves.setdefault(part.tensor.name.removesuffix(".weight"), []).append(half)
    return halves


def _pair(adapters: Mapping[str, Any], path: LeafPath) -> Mapping[str, jax.Array] | None:
    """The adapter beside the matrix at ``path``."""
    inner: Mapping[str, Any] | None = adapters
    for key in (*path[:-1], path[-1] + SUFFIX):
        inner = None if inner is None else inner.get(key)
    return inner


def _theirs(several: list[_AdapterPart]) -> tuple[np.ndarray, np.ndarray]:
    """A [r, in] and B [out, r] of one matrix of theirs [out, in], from the adapters of all its parts."""
    downs, ups = [], []
    for tensor, down, up in several:
        outer = tensor.view[: tensor.flat[0]]
        rank = up.shape[0]
        downs.append(down.reshape(-1, rank).T)
        placed = np.zeros((*outer, rank), np.float32)
        place = slice(None) if tensor.picked is None else np.array(tensor.picked)
        placed[(slice(None),) * tensor.axis + (place,)] = np.moveaxis(up, 0, -1)
        ups.append(placed.reshape(prod(outer), rank))
    return np.concatenate(downs), np.concatenate(ups, axis=1)


def _described(lora: LoRA, halves: Mapping[str, list[_AdapterPart]], base: str) -> dict[str, Any]:
    """The settings that peft reads; modules of another rank than most are in patterns of their own."""
    wider = {name: len(several) for name, several in halves.items() if len(several) > 1}
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "inference_mode": True,
        "r": lora.rank,
        "lora_alpha": _number(lora.alpha),
        "lora_dropout": 0.0,
        "bias": "none",
        "use_rslora": False,
        "use_dora": False,
        "fan_in_fan_out": False,
        "target_modules": sorted({name.rsplit(".", 1)[1] for name in halves}),
        "rank_pattern": {name: count * lora.rank for name, count in wider.items()},
        "alpha_pattern": {name: _number(count * lora.alpha) for name, count in wider.items()},
    }


def _number(value: float) -> int | float:
    """A whole number as one, which some readers insist on."""
    return int(value) if value == int(value) else value
