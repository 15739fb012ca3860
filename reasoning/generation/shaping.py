"""Changing what a model would say: tokens made likelier, or impossible, and those that were said already unlikelier.

Shapes: B slots, S states, V vocabulary.
"""

import math
from dataclasses import dataclass, field
from types import MappingProxyType

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Float, Int

from reasoning.core.errors import InputError
from reasoning.generation.grammar import NEVER, TokenTable


@struct.dataclass
class TracedShaping:
    """A ``Shaping`` inside a program, which is then the same for all values."""

    repetition_penalty: Float[Array, ""]
    bias: Float[Array, " V"]
    allowed: Float[Array, " V"]  # 0 or -inf
    table: Int[Array, "S V"] | None


@dataclass(frozen=True)
class Shaping:
    """What is done to logits, before temperature and truncation, in this order; by default nothing.

    ``bias`` is added to the logits of the tokens that it names. ``repetition_penalty`` divides a logit above 0, and
    multiplies one below, of every token that prompt and completion hold so far (CTRL, arXiv 1909.05858, section 4.1, in
    the form of transformers' ``generate``, which also has the order). Only ``allowed`` tokens are said (None: all), or
    at each place of a completion those that ``table`` allows there (``generation.grammar``).
    """

    repetition_penalty: float = 1.0
    bias: MappingProxyType[int, float] = field(default_factory=lambda: MappingProxyType({}))
    allowed: tuple[int, ...] | None = None
    table: TokenTable | None = None

    def __post_init__(self) -> None:
        """Raises InputError for a penalty not above 0, a bias that is no number, and where nothing is allowed."""
        if not 0 < self.repetition_penalty < math.inf:
            raise InputError(f"repetition_penalty is {self.repetition_penalty}; give a number above 0, 1 for none")
        wrong = [token for token, bias in self.bias.items() if not math.isfinite(bias)]
        if wrong:
            raise InputError(f"the bias of token {wrong[0]} is {self.bias[wrong[0]]}; give a finite number")
        if self.allowed is not None and not self.allowed:
            raise InputError("no token is allowed, so nothing can be said; allow some, or None for all")
        if self.allowed is not None and self.table is not None:
            raise InputError("there are allowed tokens and a table of them, which may have none in common; give one")

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
        table = None if self.table is None else jnp.asarray(_widened(self.table.next_SV, vocabulary))
        return TracedShaping(jnp.float32(self.repetition_penalty), jnp.asarray(bias_V), jnp.asarray(allowed_V), table)


def _widened(next_SV: np.ndarray, vocabulary: int) -> np.ndarray:
    """The table for a model that may have more rows than its tokenizer has tokens.

    Its states are filled up to a power of two, so that tables of nearly as many share one program.
    """
    states, tokens = next_SV.shape
    if tokens > vocabulary:
        raise InputError(f"the table is of {tokens} tokens, and this model has {vocabulary}")
    more = max(16, 1 << (states - 1).bit_length()) - states
    return np.pad(next_SV, ((0, more), (0, vocabulary - tokens)), constant_values=NEVER)


def shaped(logits_BV: jax.Array, seen_BV: jax.Array, place_B: jax.Array, shaping: TracedShaping) -> jax.Array:
    """Logits [B, V] as ``shaping`` wants them.

    ``seen_BV`` says which tokens each slot's text holds, ``place_B`` in which state of the table its completion is.
    """
    biased_BV = logits_BV + shaping.bias
    penalty = shaping.repetition_penalty
    punished_BV = jnp.where(biased_BV > 0, biased_BV / penalty, biased_BV * penalty)
    changed_BV = jnp.where(seen_BV, punished_BV, biased_BV) + shaping.allowed
    return changed_BV if shaping.table is None else jnp.where(shaping.table[place_B] == NEVER, -jnp.inf, changed_BV)


def placed(place_B: jax.Array, chosen_B: jax.Array, shaping: TracedShaping | None) -> jax.Array:
    """The states of the table behind the tokens that were chosen."""
    return place_B if shaping is None or shaping.table is None else shaping.table[place_B, chosen_B]
