"""What a model says of the tokens of rows, whole ones and replies that are read together with their prompt.

Shapes: B rows, T time.
"""

from typing import Any

import jax
import numpy as np
from policy_batches import GROUP, MODEL, NEW, rollouts

from reasoning.objectives.aggregation import token_mean
from reasoning.training.shared_prompts import ReplyGroups
from reasoning.training.token_scores import score


def test_scores_of_replies_that_are_read_together_are_those_of_whole_rows_and_0_elsewhere():
    params: Any = jax.jit(MODEL.init)(jax.random.key(0))
    rows = rollouts(token_mean).rows
    whole = jax.jit(lambda params: score(MODEL, params, rows, 0.7))(params)
    together = jax.jit(lambda params: score(MODEL, params, rows, 0.7, groups=ReplyGroups(GROUP, 9, NEW)))(params)
    inside_BT = np.asarray(rows.mask) > 0
    for expected, found in zip(whole, together, strict=True):
        np.testing.assert_allclose(found[inside_BT], expected[inside_BT], atol=1e-5)
    assert rows.replies is not None
    before_BT = np.roll(rows.replies, -1, axis=1).cumsum(axis=1) == 0
    assert before_BT.any() and not np.asarray(together.log_prob_BT)[before_BT].any()
