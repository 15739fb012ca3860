"""One residual block of a decoder.

Shapes: B batch, T time, D model width.
"""

import jax
from flax import nnx

from reasoning.models.attention import Attention, AttentionInputs, KeysValues, LatentAttention, SequenceInputs
from reasoning.models.config import BlockKind, ModelConfig
from reasoning.models.mlp import MLP
from reasoning.models.moe import MixtureOfExperts
from reasoning.models.parameters import Placement, RMSNorm

Aux = dict[str, jax.Array]
"""Auxiliary outputs of a block: of experts their ``load`` [E] and the ``balance`` loss [B], of an MLP none."""


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
            self.mlp = MLP(config, kind.activation, config.mlp_width, rngs)
        else:
            self.moe = MixtureOfExperts(config, kind.moe, kind.activation, rngs)

    def __call__(
        self, x_BTD: jax.Array, inputs: SequenceInputs, token_mask_BT: jax.Array, placement: Placement
    ) -> tuple[jax.Array, Aux]:
        """Over whole sequences; beside the hidden states the experts' load and balance loss, if any."""
        mixed = self.attention(self.attention_norm(x_BTD) if self.before else x_BTD, inputs)
        x_BTD = placement.constrain_hidden(x_BTD + (self.attention_post_norm(mixed) if self.after else mixed))
        change, aux = self._mlp(x_BTD, token_mask_BT, placement)
        return placement.constrain_hidden(x_BTD + change), aux

    def extend(
        self, x_BTD: jax.Array, inputs: AttentionInputs, cache: KeysValues, start_B: jax.Array, placement: Placement
    ) -> tuple[jax.Array, KeysValues]:
        """Over T new tokens that follow what the cache holds, each row from its own index ``start_B`` on."""
        normed = self.attention_norm(x_BTD) if self.before else x_BTD
        mixed, cache = self.attention.extend(normed, inputs, cache, start_B)
        x_BTD = x_BTD + (self.attention_post_norm(mixed) if self.after else mixed)
        return x_BTD + self._mlp(x_BTD, None, placement)[0], cache

    def _mlp(self, x_BTD: jax.Array, mask_BT: jax.Array | None, placement: Placement) -> tuple[jax.Array, Aux]:
        normed, aux = self.mlp_norm(x_BTD) if self.before else x_BTD, {}
        if self.kind.moe is None:
            change = self.mlp(normed)
        else:
            change, aux = self.moe(normed, mask_BT, placement)
        return (self.mlp_post_norm(change) if self.after else change), aux
