"""How a batch is corrected for a sampler that isn't quite the trainer, by a function that may be a user's own.

Shapes: B rows, T time.
"""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp

from reasoning.core.errors import InputError
from reasoning.core.signatures import function_words
from reasoning.core.user_code import check_shape
from reasoning.objectives.correction import Correction, Importance
from reasoning.training.batches import Aggregation, Corrected, PolicyBatch, weigh


def correct(
    batch: PolicyBatch, old_BT: jax.Array, *, correction: Correction, aggregate: Aggregation, length: int
) -> PolicyBatch:
    """The batch with the trainer's log-probabilities of what was drawn, and corrected by them.

    Run it inside jit on all rows of an update, before any split into microbatches: tokens that are rejected lose their
    mask, and so their part in every denominator. Raises InputError where ``correction`` gives something else than an
    ``Importance`` of one number a token.
    """
    rows, mask_BT = batch.rows, batch.rows.mask
    log_ratio_BT = jnp.where(mask_BT > 0, old_BT - batch.sampler_log_probs, 0.0)
    given: Any = correction(log_ratio_BT, mask_BT)
    if not isinstance(given, Importance):
        raise InputError(
            f"the correction {function_words(correction)} gave {type(given).__name__}; it must return "
            "Importance(weights_BT, kept_BT) of reasoning.objectives.correction"
        )
    for values_BT in given:
        check_shape("correction", correction, values_BT, mask_BT.shape)
    kept_BT = mask_BT * (given.kept_BT > 0)
    return replace(
        batch,
        rows=replace(rows, mask=kept_BT, weights=weigh(aggregate, kept_BT, rows.segments, length)),
        old_log_probs=old_BT,
        corrected=Corrected(jnp.where(kept_BT > 0, given.weights_BT, 0.0), drawn=mask_BT),
    )
