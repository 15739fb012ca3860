"""Weights that turn per-token losses into one loss: functions from the global batch's mask to weights.

The weights carry the global denominator, so the loss is a plain weighted sum, and sums over microbatches or devices add
up to it exactly. ``mask`` [B, T] is 1 (or true) where a token counts. ``length`` is the longest possible completion.
A row, or a batch, in which nothing counts gets weights of 0.

Legend: B rows (completions), T time.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float, Shaped

from reasoning.core.errors import InputError


def token_mean(mask_BT: Shaped[Array, "B T"], length: int) -> Float[Array, "B T"]:
    """Every token of the batch counts the same: 1 / (tokens that count). ``length`` isn't used.

    DAPO, arXiv 2503.14476, eq. 12. Also the usual mean of supervised fine-tuning.
    """
    mask_BT = mask_BT.astype(jnp.float32)
    return mask_BT / jnp.maximum(mask_BT.sum(), 1)


def sequence_mean(mask_BT: Shaped[Array, "B T"], length: int) -> Float[Array, "B T"]:
    """Every completion counts the same, whatever its length: 1 / (rows with tokens * tokens of the row).

    So a token of a long answer weighs less than one of a short answer. ``length`` isn't used.
    GRPO, arXiv 2402.03300, eq. 3.
    """
    mask_BT = mask_BT.astype(jnp.float32)
    tokens_B1 = mask_BT.sum(axis=1, keepdims=True)
    rows = (tokens_B1 > 0).sum().astype(jnp.float32)
    return mask_BT / (jnp.maximum(tokens_B1, 1) * jnp.maximum(rows, 1))


def constant_length(mask_BT: Shaped[Array, "B T"], length: int) -> Float[Array, "B T"]:
    """Every token counts the same in every batch: 1 / (rows * length), with no bias towards any length.

    All rows count, also those without tokens, as in TRL: pad rows in time, and don't add empty rows.
    Dr. GRPO, arXiv 2503.20783, section 3.2 and its code listing. Raises InputError for a length below 1.
    """
    if length < 1:
        raise InputError(f"length is {length}; it is the longest possible completion in tokens, at least 1")
    return mask_BT.astype(jnp.float32) / (mask_BT.shape[0] * length)
