"""A head on a decoder's hidden states that gives one logit a token instead of a distribution over the next one.

Shapes: B rows, T time, D model width, H width of the head's own layer, C outputs.
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec
from jaxtyping import Array, Float

from reasoning.core.ranges import Index
from reasoning.models.model import Model
from reasoning.models.parameters import Params

DECODER, HEAD = "decoder", "head"
"""Where a headed model's parameters hold the decoder's and its head's."""


@dataclass(frozen=True)
class Head:
    """A linear layer, or two with a ReLU between, of ``classes`` outputs: one logit, or those of wrong and right."""

    hidden: Index = 0  # width of the layer between (0: none)
    classes: Literal[1, 2] = 1

    def layers(self, width: int) -> dict[str, tuple[int, int]]:
        """The shape [in, out] of each layer's kernel, in order, on states of ``width``."""
        if not self.hidden:
            return {"out": (width, self.classes)}
        return {"hidden": (width, self.hidden), "out": (self.hidden, self.classes)}

    def zeros(self, width: int) -> Params:
        """A head without a layer between that says ½ of everything: where training starts."""
        return {
            name: {"kernel": jnp.zeros(shape, jnp.float32), "bias": jnp.zeros(shape[1:], jnp.float32)}
            for name, shape in self.layers(width).items()
        }


@lru_cache(32)
def with_head(model: Model, head: Head) -> Model:
    """The decoder with a head's parameters beside its own: ``{"decoder": …, "head": …}``; all else is the decoder's."""
    width = model.config.width
    shapes = jax.eval_shape(lambda: head.zeros(width))
    # Kernels lie as the rows of the embedding do; what comes out is a few numbers, whole on each device.
    kernel, bias = PartitionSpec("embed", "none"), PartitionSpec("none")
    axes = {
        name: {"kernel": kernel if name == next(iter(shapes)) else PartitionSpec("none", "none"), "bias": bias}
        for name in shapes
    }
    return replace(
        model,
        shapes={DECODER: model.shapes, HEAD: shapes},
        axes={DECODER: model.axes, HEAD: axes},
        init=lambda key: {DECODER: model.init(key), HEAD: head.zeros(width)},
        hidden_states=lambda params, *rows: model.hidden_states(params[DECODER], *rows),
        unembedding=lambda params: model.unembedding(params[DECODER]),
        rebalance=lambda params, load: params | {DECODER: model.rebalance(params[DECODER], load)},
        multi_token_states=lambda params, *rows: model.multi_token_states(params[DECODER], *rows),
        publish=lambda params: model.publish(params[DECODER]),
    )


def head_logits(head: Head, params: Params, hidden_BTD: Float[Array, "B T D"]) -> Float[Array, "B T"]:
    """The logit of "right" at each token, in float32: of two classes the difference of right and wrong.

    The sigmoid of it is the probability, of two classes their softmax's.
    """
    states = hidden_BTD.astype(jnp.float32)
    for number, layer in enumerate(head.layers(hidden_BTD.shape[-1])):
        states = jax.nn.relu(states) if number else states
        own = params[HEAD][layer]
        states = jnp.matmul(states, own["kernel"], precision="highest") + own["bias"]
    return states[..., -1] - states[..., 0] if head.classes == 2 else states[..., 0]
