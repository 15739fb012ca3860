"""Blocks that predict the tokens after the next one, as a further objective of training.

Shapes: B batch, T time, D model width.
"""

import jax
import jax.numpy as jnp
from flax import nnx

from reasoning.models.attention import SequenceInputs
from reasoning.models.block import Aux, Block
from reasoning.models.config import ModelConfig
from reasoning.models.linear import linear
from reasoning.models.parameters import Placement, RMSNorm, parameter


class MultiToken(nnx.Module):
    """One depth of multi-token prediction (DeepSeek-V3, arXiv 2412.19437, eq. 21 to 23)."""

    def __init__(self, config: ModelConfig, rngs: nnx.Rngs):
        width = config.width
        self.hidden_norm = RMSNorm(config)
        self.embedding_norm = RMSNorm(config)
        self.projection = parameter(rngs, (2 * width, width), (2 * width) ** -0.5, ("none", "embed"))
        self.block = Block(config, config.stacks[-1].pattern[-1], rngs)
        self.final_norm = RMSNorm(config)

    def __call__(
        self, hidden_BTD: jax.Array, next_BTD: jax.Array, inputs: SequenceInputs, mask_BT: jax.Array, on: Placement
    ) -> tuple[jax.Array, Aux]:
        """States from those of the depth before and the embeddings of the next tokens; the head is shared."""
        both = jnp.concatenate([self.embedding_norm(next_BTD), self.hidden_norm(hidden_BTD)], axis=-1)
        return self.block(on.constrain_hidden(linear(both, self.projection[...])), inputs, mask_BT, on)


def multi_token_name(depth: int) -> str:
    """What a decoder's parameters call the block of this depth, from 0."""
    return f"multi_token_{depth}"


def shifted(values_BT: jax.Array, segments_BT: jax.Array, steps: int, fill: int = 0) -> jax.Array:
    """The value ``steps`` places later in the same segment, and ``fill`` where that is another or none."""
    same = segments_BT == jnp.roll(segments_BT, -steps, axis=1)
    inside = jnp.arange(values_BT.shape[1]) < values_BT.shape[1] - steps
    return jnp.where(same & inside & (segments_BT > 0), jnp.roll(values_BT, -steps, axis=1), fill)
