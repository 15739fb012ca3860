"""Low-rank adapters (LoRA, arXiv 2106.09685): beside a frozen matrix W two narrow ones that train, x W + (x A) B α / r.

An adapted matrix ``query`` has a neighbour ``query_lora`` with ``down`` (A) and ``up`` (B); nothing else of the tree of
parameters changes. Up starts at zero, so an adapted model begins as the model that it adapts. The sum of W and A B is
made only where a model is sampled or saved, never in training, so no gradient of W's size exists.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from reasoning.core.errors import InputError
from reasoning.core.ranges import Positive, Size
from reasoning.models.linear import linear
from reasoning.models.parameters import Params, parameter, zeros

SUFFIX = "_lora"

_INPUT_AXES: Mapping[str, int] = {
    **dict.fromkeys(("query", "key", "value", "gate", "up", "down"), 1),
    "output": 2,  # heads and their channels
    **dict.fromkeys(("query_down", "query_up", "latent_down", "rotary_key", "key_up", "value_up"), 1),
}
"""The matrices that can be adapted, and over how many of their first axes each is multiplied with its input."""


@dataclass(frozen=True)
class LoRA:
    """Which matrices of a model get an adapter, and of which rank.

    ``targets`` are names of parameters: ``query``, ``key``, ``value``, ``output`` of attention, ``gate``, ``up``,
    ``down`` of MLPs, in latent attention also ``query_down``, ``query_up``, ``latent_down``, ``rotary_key``,
    ``key_up``, ``value_up``. The experts that a router chooses from stay as they are.
    """

    rank: Size
    alpha: Positive  # what adapters add is multiplied by alpha / rank
    targets: tuple[str, ...] = ()  # none named: all of them

    def __post_init__(self) -> None:
        unknown = [name for name in self.targets if name not in _INPUT_AXES]
        if unknown:
            raise InputError(f"LoRA can't adapt {', '.join(unknown)}; its targets are among {', '.join(_INPUT_AXES)}")
        if len(set(self.targets)) < len(self.targets):
            raise InputError(f"LoRA's targets {', '.join(self.targets)} name one twice; name each once")

    @property
    def scale(self) -> float:
        """What adapters add is multiplied by this."""
        return self.alpha / self.rank


class _Adapter(nnx.Module):
    """The two narrow matrices beside one wide one, which split its axes; the rank is whole on every device."""

    def __init__(self, matrix: nnx.Param, inputs: int, lora: LoRA, rngs: nnx.Rngs):
        into, out_of = matrix.shape[:inputs], matrix.shape[inputs:]
        axes = matrix.get_metadata("out_sharding")
        self.inputs, self.scale = inputs, lora.scale
        self.down = parameter(rngs, (*into, lora.rank), prod(into) ** -0.5, (*axes[:inputs], "none"))
        self.up = zeros((lora.rank, *out_of), ("none", *axes[inputs:]))

    def __call__(self, x: jax.Array) -> jax.Array:
        return linear(linear(x, self.down[...], self.inputs), self.up[...]) * self.scale


def multiply(module: nnx.Module, name: str, x: jax.Array) -> jax.Array:
    """The product of ``x`` [B, T, …] and a module's matrix of this name, with what an adapter beside it adds."""
    product = linear(x, getattr(module, name)[...], _INPUT_AXES[name])
    adapter = getattr(module, name + SUFFIX, None)
    return product if adapter is None else product + adapter(x)


def adapt(part: nnx.Module, lora: LoRA, rngs: nnx.Rngs) -> None:
    """Puts adapters into all modules of a part of a model that hold a target; a router's experts are passed over."""
    for _, module in list(nnx.iter_modules(part)):
        for name in lora.targets or _INPUT_AXES:
            matrix = getattr(module, name, None)
            if isinstance(matrix, nnx.Param) and "experts" not in matrix.get_metadata("out_sharding"):
                setattr(module, name + SUFFIX, _Adapter(matrix, _INPUT_AXES[name], lora, rngs))


def check_targets(lora: LoRA, params: Mapping[str, Any]) -> None:
    """InputError where an adapted model lacks a matrix that ``lora`` names, or has none that could be adapted."""
    paths = [path for path, _ in jax.tree.leaves_with_path(adapters_of(params))]
    adapted = {key.key.removesuffix(SUFFIX) for path in paths for key in path}
    missing = [name for name in lora.targets if name not in adapted]
    if missing or not adapted:
        raise InputError(
            f"LoRA finds no {', no '.join(missing) or 'matrix'} to adapt in this model (a router's experts aren't "
            "adapted); change its targets"
        )


def adapters_of(params: Mapping[str, Any]) -> Params:
    """The adapters alone: the leaves of an adapted model that train."""
    return _filtered(params, True)


def base_of(params: Mapping[str, Any]) -> Params:
    """An adapted model's parameters without its adapters: the model that it adapts."""
    return _filtered(params, False)


def _filtered(tree: Mapping[str, Any], adapters: bool) -> Params:
    kept: Params = {}
    for name, value in tree.items():
        if name.endswith(SUFFIX) or not isinstance(value, dict):
            if name.endswith(SUFFIX) == adapters:
                kept[name] = value
        elif inner := _filtered(value, adapters):
            kept[name] = inner
    return kept


def with_adapters(base: Mapping[str, Any], adapters: Mapping[str, Any]) -> Params:
    """The parameters of an adapted model, from both of its parts; no array is copied."""
    both = dict(base)
    for name, value in adapters.items():
        both[name] = with_adapters(base[name], value) if name in base else value
    return both


def merge_adapters(lora: LoRA, params: Mapping[str, Any]) -> Params:
    """The parameters of a plain model that computes what the adapted one does: W + A B α / r, in float32."""
    plain: Params = {}
    for name, value in params.items():
        if name.endswith(SUFFIX):
            continue
        adapter = params.get(name + SUFFIX)
        if adapter is not None:
            plain[name] = value + lora.scale * _low_rank_product(name, adapter)
        else:
            plain[name] = merge_adapters(lora, value) if isinstance(value, dict) else value
    return plain


def _low_rank_product(name: str, adapter: Mapping[str, jax.Array]) -> jax.Array:
    """A B of one matrix, with the leading axes that its stack gives it."""

    def one(down: jax.Array, up: jax.Array) -> jax.Array:
        return jnp.tensordot(down, up, 1, precision=jax.lax.Precision.HIGHEST)

    for _ in range(adapter["down"].ndim - 1 - _INPUT_AXES[name]):
        one = jax.vmap(one)
    return one(adapter["down"], adapter["up"])
