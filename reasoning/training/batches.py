"""The records that go into a train step, and how token rows become them.

Shapes: B rows, T time.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Annotated, TypeVar

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float, Int

from reasoning.core.signatures import Takes
from reasoning.core.user_code import check_shape
from reasoning.data.documents import WHOLE

Aggregation = Annotated[Callable[..., jax.Array], Takes(("mask_BT", "length"), offered=("segments_BT",))]
"""``(mask_BT, length)``, of the global batch and the longest possible completion, to weights that carry their
denominator; one with a parameter ``segments_BT`` gets the number of each token's document in its row."""

_SEGMENTS = "segments_BT"


@struct.dataclass
class TokenBatch:
    """Rows of packed tokens with the token to be predicted at each place, and what that prediction weighs.

    ``mask`` is 1 where a prediction counts, or how much of 1 it counts; ``weights`` is an aggregation of the *global*
    batch's tokens that count, times ``mask``, so that sums over microbatches or devices of ``weights * loss`` add up to
    the loss itself. ``replies`` is 1 where a token is one of a sampled reply; None in other rows. Replies to the same
    prompt that are computed together have at most ``room`` tokens on average (None: as many as they may), which makes
    a program's shape.
    """

    tokens: Int[Array, "B T"]
    positions: Int[Array, "B T"]
    segments: Int[Array, "B T"]
    targets: Int[Array, "B T"]
    mask: Float[Array, "B T"]
    weights: Float[Array, "B T"]
    replies: Int[Array, "B T"] | None = None
    room: int | None = struct.field(pytree_node=False, default=None)


@struct.dataclass
class LabelledBatch:
    """Rows with a label in 0..1 at some places: how right, or how often right, what ends there is.

    The mask of ``rows`` is 1 at those places; nothing is predicted of the next token, so targets mean nothing.
    """

    rows: TokenBatch
    labels: Float[Array, "B T"]

    @property
    def mask(self) -> Float[Array, "B T"]:
        """1 where there is a label."""
        return self.rows.mask


@struct.dataclass
class Corrected:
    """What a correction for the sampler made of a batch: what each token's loss is multiplied by (0: rejected).

    ``drawn`` is the mask before tokens were rejected, over which sampler and trainer are compared.
    """

    weights: Float[Array, "B T"]
    drawn: Float[Array, "B T"]


@struct.dataclass
class PolicyTokens:
    """What a policy loss takes of each token beside its log-probability: parts of a ``PolicyBatch`` and of its rows.

    ``correction`` is what the loss is multiplied by; None without one.
    """

    mask: Float[Array, "B T"]
    weights: Float[Array, "B T"]
    advantages: Float[Array, "B T"]
    sampler_log_probs: Float[Array, "B T"]
    old_log_probs: Float[Array, "B T"] | None
    reference_log_probs: Float[Array, "B T"] | None
    kl_weights: Float[Array, "B T"] | None
    correction: Float[Array, "B T"] | None


@struct.dataclass
class PolicyBatch:
    """Token rows of sampled completions with what the policy-gradient losses need beside them.

    ``old_log_probs`` are the trainer's under the parameters that sampled; None means strictly on-policy, one update
    a batch, where they equal the new ones. ``sampler_log_probs`` are those that the sampler itself gave, 0 where the
    mask is. ``reference_log_probs`` are the frozen reference's; None means no KL term. ``kl_weights`` are what tokens
    weigh in the KL term; None means what they weigh in the loss. ``corrected`` is None without a correction.
    """

    rows: TokenBatch
    advantages: Float[Array, "B T"]
    sampler_log_probs: Float[Array, "B T"]
    old_log_probs: Float[Array, "B T"] | None
    reference_log_probs: Float[Array, "B T"] | None
    kl_weights: Float[Array, "B T"] | None = None
    corrected: Corrected | None = None

    @property
    def of_tokens(self) -> PolicyTokens:
        """What the loss takes of each token."""
        return PolicyTokens(
            mask=self.rows.mask,
            weights=self.rows.weights,
            advantages=self.advantages,
            sampler_log_probs=self.sampler_log_probs,
            old_log_probs=self.old_log_probs,
            reference_log_probs=self.reference_log_probs,
            kl_weights=self.kl_weights,
            correction=None if self.corrected is None else self.corrected.weights,
        )


Batch = TypeVar("Batch", TokenBatch, LabelledBatch, PolicyBatch)
"""What one update learns from."""


def rows_of(batch: TokenBatch | LabelledBatch | PolicyBatch) -> TokenBatch:
    """A batch's token rows."""
    return batch if isinstance(batch, TokenBatch) else batch.rows


def with_room(batch: Batch, room: int | None) -> Batch:
    """The batch, whose replies have this ``room``."""
    return (
        replace(batch, room=room) if isinstance(batch, TokenBatch) else replace(batch, rows=with_room(batch.rows, room))
    )


def _next_tokens(rows: Mapping[str, jax.Array]) -> tuple[jax.Array, jax.Array]:
    """Targets and mask [B, T] of packed rows: each place predicts the next token of its own segment.

    ``rows`` has ``tokens``, ``segments`` (0: padding) and ``loss_mask`` (1 where a token is to be predicted, or the
    parts of ``data.documents.WHOLE`` that its loss weighs).
    """
    tokens, segments = rows["tokens"], rows["segments"]
    targets = jnp.roll(tokens, -1, axis=1)
    same = (segments == jnp.roll(segments, -1, axis=1)) & (segments > 0)
    mask = jnp.roll(rows["loss_mask"], -1, axis=1) * same
    mask = mask.at[:, -1].set(0).astype(jnp.float32)
    return targets, jnp.where(mask > 1, mask / WHOLE, mask)


def weigh(aggregate: Aggregation, mask_BT: jax.Array, segments_BT: jax.Array, length: int) -> jax.Array:
    """The weights [B, T] that ``aggregate`` gives to the global batch's mask."""
    further = {_SEGMENTS: segments_BT} if _SEGMENTS in inspect.signature(aggregate).parameters else {}
    weights_BT = aggregate(mask_BT, length, **further)
    check_shape("aggregate", aggregate, weights_BT, mask_BT.shape)
    return weights_BT


@jax.jit
def tokens_with_loss(batch: TokenBatch | LabelledBatch) -> Int[Array, ""]:
    """How many tokens of the global batch carry loss."""
    return jnp.sum((batch.mask > 0).astype(jnp.int32))


def token_batch(rows: Mapping[str, jax.Array], aggregate: Aggregation, length: int) -> TokenBatch:
    """A batch from packed rows of the whole global batch; run it inside jit, before any split into microbatches."""
    targets, mask = _next_tokens(rows)
    return TokenBatch(
        tokens=rows["tokens"],
        positions=rows["positions"],
        segments=rows["segments"],
        targets=targets,
        mask=mask,
        weights=mask * weigh(aggregate, (mask > 0).astype(jnp.float32), rows["segments"], length),
        replies=rows.get("replies"),
    )


def labelled_batch(rows: Mapping[str, jax.Array], aggregate: Aggregation, length: int) -> LabelledBatch:
    """As ``token_batch``, of rows with a column ``labels``: numbers in 0..1 at some places, below 0 elsewhere."""
    tokens, segments, labels = rows["tokens"], rows["segments"], rows["labels"]
    mask = ((labels >= 0) & (segments > 0)).astype(jnp.float32)
    weights = mask * weigh(aggregate, mask, segments, length)
    batch = TokenBatch(tokens, rows["positions"], segments, targets=tokens, mask=mask, weights=weights)
    return LabelledBatch(batch, jnp.where(mask > 0, labels, 0.0).astype(jnp.float32))
