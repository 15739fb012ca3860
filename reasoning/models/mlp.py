"""The position-wise part of a block."""

import jax
import jax.numpy as jnp
from flax import nnx

from reasoning.models.config import Activation, ModelConfig
from reasoning.models.lora import multiply
from reasoning.models.parameters import parameter


def gated(activation: Activation) -> bool:
    """Whether this activation has a gate beside the branch that it multiplies."""
    return activation != "relu2"


_SLOPE, _LIMIT = 1.702, 7.0  # of gpt-oss


def activate(activation: Activation, up: jax.Array, gate: jax.Array | None) -> jax.Array:
    """SwiGLU and GeGLU (arXiv 2002.05202, the GELU by its tanh formula), or squared ReLU (arXiv 2109.08668).

    gpt-oss's clamped SwiGLU (arXiv 2508.10925, section 2) bounds both branches by 7, adds 1 to the one without gate,
    and has the steeper sigmoid that approximates GELU.
    """
    if gate is None:
        return jnp.square(jax.nn.relu(up))
    if activation == "clamped_swiglu":
        gate, up = jnp.minimum(gate, _LIMIT), jnp.clip(up, -_LIMIT, _LIMIT)
        return gate * jax.nn.sigmoid(_SLOPE * gate) * (up + 1)
    return (jax.nn.silu(gate) if activation == "swiglu" else jax.nn.gelu(gate, approximate=True)) * up


class MLP(nnx.Module):
    """Up to ``hidden`` numbers a token, through the activation, and down again."""

    def __init__(self, config: ModelConfig, activation: Activation, hidden: int, rngs: nnx.Rngs):
        width = config.width
        self.activation: Activation = activation
        if gated(activation):
            self.gate = parameter(rngs, (width, hidden), width**-0.5, ("embed", "mlp"))
        self.up = parameter(rngs, (width, hidden), width**-0.5, ("embed", "mlp"))
        self.down = parameter(rngs, (hidden, width), (hidden * 2 * config.layers) ** -0.5, ("mlp", "embed"))

    def __call__(self, x_BTD: jax.Array) -> jax.Array:
        up = multiply(self, "up", x_BTD)
        gate = multiply(self, "gate", x_BTD) if gated(self.activation) else None

        def down(up: jax.Array, gate: jax.Array | None) -> jax.Array:
            return multiply(self, "down", activate(self.activation, up, gate))

        # The backward pass makes the activation again: else it would keep four arrays as large as these two, all that
        # lies between the products. Within the scan over layers nothing could merge both.
        return jax.checkpoint(down, prevent_cse=False)(up, gate)
