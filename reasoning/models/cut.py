"""A smaller model from the layers of a larger one, as the start of a student (arXiv 1910.01108, section 3).

Parameters of equal layers lie stacked; what is left of the stacks is grouped anew.
"""

from collections.abc import Sequence
from dataclasses import replace

import jax
import jax.numpy as jnp

from reasoning.core.errors import InputError
from reasoning.models.config import Layer, ModelConfig, stack_name, stacks_of
from reasoning.models.multi_token import multi_token_name
from reasoning.models.parameters import Params


def cut_config(config: ModelConfig, layers: Sequence[int]) -> ModelConfig:
    """The config of the model that has only these layers, numbered from 0, in their order.

    Blocks of multi-token prediction are of the last layer's kind; they stay only where that stays. Raises InputError
    for no layers, for one that isn't there, and for layers out of order.
    """
    wrong = [layer for layer in layers if not 0 <= layer < config.layers]
    if wrong or not layers:
        there = f"the model's {config.layers} (0 to {config.layers - 1})"
        if wrong:
            raise InputError(f"layer {wrong[0]} isn't one of {there}; name some of these")
        raise InputError(f"no layer is named; name some of {there}")
    if any(later <= earlier for earlier, later in zip(layers, layers[1:], strict=False)):
        raise InputError(f"layers {tuple(layers)} are out of order; name each once, from the first to the last")
    kinds = tuple(config.kinds())
    same = kinds[layers[-1]] == kinds[-1]
    return replace(
        config, stacks=stacks_of([kinds[layer] for layer in layers]), multi_token=config.multi_token if same else 0
    )


def cut_params(config: ModelConfig, params: Params, layers: Sequence[int]) -> Params:
    """The parameters of these layers of a model, as those of ``cut_config``; all that is no layer stays as it is."""
    smaller, old = cut_config(config, layers), tuple(config.each_layer())
    stacks = [stack_name(number) for number in range(len(config.stacks))]
    left_out = [multi_token_name(depth) for depth in range(smaller.multi_token, config.multi_token)]
    kept: Params = {name: leaves for name, leaves in params.items() if name not in (*stacks, *left_out)}
    sources: dict[tuple[str, str], list[Layer]] = {}  # in the order of the leading axis, which is that of layers
    for new, number in zip(smaller.each_layer(), layers, strict=True):
        sources.setdefault((new.stack, new.block), []).append(old[number])
    for (stack, block), from_layers in sources.items():
        kept.setdefault(stack, {})[block] = _restacked(params, from_layers)
    return kept


def _restacked(params: Params, layers: Sequence[Layer]) -> Params:
    """Layers of one kind, one behind the other along a leading axis."""
    each = [jax.tree.map(lambda leaf, at=one.index: leaf[at], params[one.stack][one.block]) for one in layers]
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *each)
