"""Weights that turn per-token losses into one loss: functions from the global batch's mask to weights.

The weights carry the global denominator, so the loss is a plain weighted sum, and sums over microbatches or devices add
up to it exactly. ``mask`` [B, T] is 1 (or true) where a token counts. ``length`` is the longest possible completion.
A row, or a batch, in which nothing counts gets weights of 0. A function with a parameter ``segments_BT`` gets the
number of each token's document in its row, from 1 (0: padding); packed rows hold several, those of GRPO one.

Legend: B rows, T time.
"""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int, Shaped

from reasoning.core.errors import InputError


def token_mean(mask_BT: Shaped[Array, "B T"], length: int) -> Float[Array, "B T"]:
    """Every token of the batch counts the same: 1 / (tokens that count). ``length`` isn't used.

    DAPO, arXiv 2503.14476, eq. 12. Also the usual mean of supervised fine-tuning.
    """
    mask_BT = mask_BT.astype(jnp.float32)
    return mask_BT / jnp.maximum(mask_BT.sum(), 1)


def sequence_mean(mask_BT: Shaped[Array, "B T"], length: int, segments_BT: Int[Array, "B T"]) -> Float[Array, "B T"]:
    """Every completion counts the same, whatever its length: 1 / (completions * tokens of the completion).

    So a token of a long answer weighs less than one of a short answer. A completion is what counts of one segment: a
    packed row holds several, each of which weighs as much as one that has a row to itself. ``length`` isn't used.
    GRPO, arXiv 2402.03300, eq. 3.
    """
    mask_BT = mask_BT.astype(jnp.float32)
    # Tokens up to each place only grow along a row, so the latest start's is the largest so far, and the next end's the
    # smallest from here on: two scans along the row, and no table of tokens by tokens.
    until_BT = jnp.cumsum(mask_BT, axis=1)
    other_B1 = jnp.ones((len(segments_BT), 1), bool)
    changes = segments_BT[:, 1:] != segments_BT[:, :-1]
    starts_BT = jnp.concatenate([other_B1, changes], axis=1)
    ends_BT = jnp.concatenate([changes, other_B1], axis=1)
    before_BT = lax.cummax(jnp.where(starts_BT, until_BT - mask_BT, 0.0), axis=1)
    after_BT = lax.cummin(jnp.where(ends_BT, until_BT, jnp.inf), axis=1, reverse=True)
    tokens_BT = after_BT - before_BT
    completions = (ends_BT & (tokens_BT > 0)).sum().astype(jnp.float32)
    return mask_BT / (jnp.maximum(tokens_BT, 1) * jnp.maximum(completions, 1))


def constant_length(mask_BT: Shaped[Array, "B T"], length: int) -> Float[Array, "B T"]:
    """Every token counts the same in every batch: 1 / (rows * length), with no bias towards any length.

    Of packed rows ``length`` is the row's, so it is 1 / (places of the batch).

    All rows count, also those without tokens, as in TRL: pad rows in time, and don't add empty rows.
    Dr. GRPO, arXiv 2503.20783, section 3.2 and its code listing. Raises InputError for a length below 1.
    """
    if length < 1:
        raise InputError(f"length is {length}; it is the longest possible completion in tokens, at least 1")
    return mask_BT.astype(jnp.float32) / (mask_BT.shape[0] * length)
