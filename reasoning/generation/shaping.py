"""Changing what a model would say: tokens made likelier, or impossible, and those that were said already unlikelier.

Shapes: B slots, V vocabulary.
"""

import math
from dataclasses import dataclass, field
from types import MappingProxyType

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Float

from reasoning.core.errors import InputError


@struct.dataclass
class TracedShaping:
    """A ``Shaping`` inside a program, which is then the same for all values."""

    repetition_penalty: Float[Array, ""]
    bias: Float[Array, " V"]
    allowed: Float[Array, " V"]  # 0 or -inf


@dataclass(frozen=True)
class Shaping:
    """What is done to logits, before temperature and truncation, in this order; by default nothing.

    ``bias`` is added to the logits of the tokens that it names. ``repetition_penalty`` divides a logit above 0, and
    multiplies one below, of every token that prompt and completion hold so far (CTRL, arXiv 1909.05858, section 4.1, in
    the form of transformers' ``generate``, which also has the order). Only ``allowed`` tokens are said (None: all).
    """

    repetition_penalty: float = 1.0
    bias: MappingProxyType[int, float] = field(default_factory=lambda: MappingProxyType({}))
    allowed: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        """Raises InputError for a penalty not above 0, a bias that is no number, and where nothing is allowed."""
        if not 0 < self.repetition_penalty < math.inf:
            raise InputError(f"repetition_penalty is {self.repetition_penalty}; give a number above 0, 1 for none")
        wrong = [token for token, bias in self.bias.items() if not math.isfinite(bias)]
        if wrong:
            raise InputError(f"the bias of token {wrong[0]} is {self.bias[wrong[0]]}; give a finite number")
        if self.allowed is not None and not self.allowed:
            raise InputError("no token is allowed, so nothing can be said; allow some, or None for all")

    def traced(self, vocabulary: int) -> TracedShaping:
        """The values as arrays. Raises InputError for a token beyond the ``vocabulary``."""
        bias_V, allowed_V = np.zeros(vocabulary, np.float32), np.zeros(vocabulary, np.float32)
        for token in (*self.bias, *(self.allowed or ())):
            if not 0 <= token < vocabulary:
                raise InputError(f"there is no token {token}; this model's are 0 to {vocabulary - 1}")
        bias_V[list(self.bias)] = list(self.bias.values())
        if self.allowed is not None:
            allowed_V[:] = -np.inf
            allowed_V[list(self.allowed)] = 0.0
        return TracedShaping(jnp.float32(self.repetition_penalty), jnp.asarray(bias_V), jnp.asarray(allowed_V))


def shaped(logits_BV: jax.Array, seen_BV: jax.Array, shaping: TracedShaping) -> jax.Array:
    """Logits [B, V] as ``shaping`` wants them; ``seen_BV`` says which tokens each slot's text holds."""
    biased_BV = logits_BV + shaping.bias
    penalty = shaping.repetition_penalty
    punished_BV = jnp.where(biased_BV > 0, biased_BV / penalty, biased_BV * penalty)
    return jnp.where(seen_BV, punished_BV, biased_BV) + shaping.allowed
