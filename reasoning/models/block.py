"""One residual block of a decoder.

Shapes: B batch, T time, D model width.
"""

import jax
from flax import nnx

from reasoning.models.attention import Attention, KeysValues, LatentAttention, View
from reasoning.models.config import BlockKind, ModelConfig
from reasoning.models.mlp import MLP
from reasoning.models.moe import MixtureOfExperts
from reasoning.models.parameters import Place, RMSNorm

Measured = dict[str, jax.Array]


class Block(nnx.Module):
    """Attention, then MLP or experts, each added to what came in; norms stand before or after each, or both."""

    def __init__(self, config: ModelConfig, kind: BlockKind, rngs: nnx.Rngs):
        self.kind = kind
        self.before, self.after = config.norms != "after", config.norms != "before"
        if self.before:
            self.attention_norm = RMSNorm(config)
            self.mlp_norm = RMSNorm(config)
        if self.after:
            self.attention_post_norm = RMSNorm(config)
            self.mlp_post_norm = RMSNorm(config)
        if config.latent is None:
            self.attention = Attention(config, rngs)
        else:
            self.attention = LatentAttention(config, config.latent, rngs)
        if kind.moe is None:
            self.mlp = MLP(config, kind.activation, config.mlp, rngs)
        else:
            self.moe = MixtureOfExperts(config, kind.moe, kind.activation, rngs)

    def __call__(self, x_BTD: jax.Array, view: View, counted_BT: jax.Array, place: Place) -> tuple[jax.Array, Measured]:
        """Over whole sequences; beside the hidden states what a mixture of experts measured."""
        mixed = self.attention(self.attention_norm(x_BTD) if self.before else x_BTD, view)
        x_BTD = place.pin_states(x_BTD + (self.attention_post_norm(mixed) if self.after else mixed))
        change, measured = self._positionwise(x_BTD, counted_BT, place)
        return place.pin_states(x_BTD + change), measured

    def extend(
        self, x_BTD: jax.Array, view: View, cache: KeysValues, start_B: jax.Array, place: Place
    ) -> tuple[jax.Array, KeysValues]:
        """Over T new tokens that follow what the cache holds, each row from its own index ``start_B`` on."""
        mixed, cache = self.attention.extend(self.attention_norm(x_BTD) if self.before else x_BTD, view, cache, start_B)
        x_BTD = x_BTD + (self.attention_post_norm(mixed) if self.after else mixed)
        return x_BTD + self._positionwise(x_BTD, None, place)[0], cache

    def _positionwise(self, x_BTD: jax.Array, counted_BT: jax.Array | None, place: Place) -> tuple[jax.Array, Measured]:
        normed, measured = self.mlp_norm(x_BTD) if self.before else x_BTD, {}
        if self.kind.moe is None:
            change = self.mlp(normed)
        else:
            change, measured = self.moe(normed, counted_BT, place)
        return (self.mlp_post_norm(change) if self.after else change), measured
